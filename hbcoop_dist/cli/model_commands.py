"""`hbcoop models`: list, show, fetch, verify and check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

from ase.data import chemical_symbols
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from hbcoop_dist.campaigns.loading import load_campaign
from hbcoop_dist.campaigns.spec_fields import ModelEntry
from hbcoop_dist.models import checkpoint_download as downloads
from hbcoop_dist.models import checkpoints, registry
from hbcoop_dist.models.base import ModelCard, ModelError, Potential
from hbcoop_dist.models.checks import contract
from hbcoop_dist.models.checks import speed as measure_speed

_BY_NAME = (
    "and quantum chemistry by what it is: rimp2:BASIS, scs-mp2:BASIS, sos-mp2:BASIS, hf:BASIS, FUNCTIONAL:BASIS, each "
    "with :cp, MP2 with :frozen-core (hbcoop models show rimp2:cc-pvdz)"
)


def show_list(console: Console) -> None:
    """Every registered model, one line each, then why those that cannot run here cannot.

    `reach` is the receptive field, cutoff x layers; `per atom` says whether there are per-atom energies.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("model", "family", "reach", "per atom", "here", "licence"):
        table.add_column(heading, no_wrap=heading != "licence", overflow="fold")
    reasons: list[str] = []
    for name, card in registry.cards().items():
        here = registry.available(card)
        reach = "long range" if card.long_range else _angstrom(card.receptive_field)
        per_atom = "yes" if card.atom_energies else "no"
        table.add_row(name, card.family, reach, per_atom, "yes" if here else "no", card.licence)
        if not here:
            reasons.append(f"{name}: {here.reason}")
    console.print(table)
    console.print(_BY_NAME, highlight=False, markup=False)
    for reason in (*reasons, *registry.broken_families().values()):
        console.print(reason, highlight=False, markup=False)


def _angstrom(value: float | None) -> str:
    return "not limited" if value is None else f"{value:g} A"


def show_card(name: str, console: Console) -> None:
    """All fields of one card, the licence first."""
    card = registry.card(name)
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    # a hash or an address that is cut off is of no use
    table.add_column(overflow="fold")
    order = ["name", "licence", "citation"]
    order += [field.name for field in fields(card) if field.name not in order]
    for field in order:
        value = getattr(card, field)
        if field == "elements":
            value = ", ".join(chemical_symbols[z] for z in value)
        elif isinstance(value, tuple):
            value = ", ".join(value)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        table.add_row(field, "-" if value in (None, "", {}) else str(value))
    here = registry.available(card)
    table.add_row("runs here", "yes" if here else here.reason)
    console.print(table, highlight=False, markup=False)


def fetch(names: Sequence[str], accept: bool, console: Console, ask: Callable[[str], bool]) -> None:
    """Download the checkpoints of models; a licence that restricts use is shown, and accepted once.

    Raises
    ------
    ModelError
        When a licence is not accepted, or a checkpoint cannot be had.
    """
    for card in [registry.card(name) for name in names]:
        console.print(f"{card.name}: licence {card.licence}; cite {card.citation}", highlight=False, markup=False)
        if not downloads.accepted(card):
            if not accept and not ask(f"Accept the licence of {card.name}?"):
                raise ModelError(f"model {card.name}: its licence was not accepted, nothing was fetched")
            downloads.accept(card)
        found = _with_bar(card, console)
        console.print(f"{card.name}: {found.path}, sha256 {found.sha256[:12]}...", highlight=False, markup=False)


def _with_bar(card: ModelCard, console: Console) -> checkpoints.Checkpoint:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        bar = shown.add_task(card.name, total=None)
        return downloads.fetch(card, lambda here, total: shown.update(bar, completed=here, total=total or None))


def verify(console: Console) -> bool:
    """Look for every model's checkpoint and hash it; True when none is wrong."""
    table, wrong = Table("model", "checkpoint", Column("where", overflow="fold"), box=None), []
    for name, card in registry.cards().items():
        if card.checkpoint is None and "embedded" not in card.options:
            continue
        try:
            found = checkpoints.embedded(card) if card.checkpoint is None else checkpoints.find(card)
        except checkpoints.WrongCheckpointError as error:
            wrong.append(str(error))
            table.add_row(name, "WRONG", str(error.path))
        except checkpoints.CheckpointError:
            table.add_row(name, "missing", card.url or "-")
        else:
            known = "verified" if card.sha256 else "unverified: its card has no hash"
            table.add_row(name, known if found else "package not installed", str(found.path) if found else "-")
    console.print(table, highlight=False, markup=False)
    for text in wrong:
        console.print(text, highlight=False, markup=False)
    return not wrong


def check(name: str, device: str, console: Console, *, spec: str | None = None, speed: bool = True) -> bool:
    """Run the contract suite on one model, registered or of a campaign; True when it keeps every promise."""
    card, checkpoint = card_of(name, spec)
    device = device if card.gpu else "cpu"
    potential = registry.load(card, checkpoint, device=device)
    results = contract.check(potential)
    table = Table("promise", "measured", "limit", "kept", "note", title=f"{name} on {device}")
    for one in results:
        limit = "-" if one.limit is None else f"{one.limit:.1e}"
        measured = "-" if one.measured is None else f"{one.measured:.1e}"
        table.add_row(one.name, measured, limit, "yes" if one.passed else "NO", one.note)
    console.print(table)
    if speed:
        _show_speed(potential, checkpoint, console)
    return all(one.passed for one in results)


def card_of(name: str, spec: str | None = None) -> tuple[ModelCard, str | None]:
    """Card and checkpoint of a registered model, or of one of the models of a campaign file.

    Raises
    ------
    ModelError
        When there is no such model, there.
    """
    if spec is None:
        return registry.card(name), None
    # campaigns that train networks have no models
    entries: Sequence[ModelEntry] = getattr(load_campaign(spec), "models", ())
    models = {entry.name: entry for entry in entries}
    if name not in models:
        raise ModelError(f"{spec}: expected one of its models ({', '.join(models)}), found {name!r}")
    return models[name].card(), models[name].checkpoint


def _show_speed(potential: Potential, checkpoint: str | None, console: Console) -> None:
    """Atoms per second against batch size, and memory per atom: what decides where a model is worth running."""
    card = potential.card
    table = Table("dimers a call", "atoms", "s a call", "atoms/s", title=f"speed of {card.name}")
    largest = 0
    try:
        for rate in measure_speed.rates(potential):
            largest = rate.batch
            table.add_row(str(rate.batch), str(rate.atoms), f"{rate.seconds:.2g}", f"{rate.atoms_per_second:.3g}")
        memory = measure_speed.memory(potential, checkpoint, largest)
    except Exception as error:  # noqa: BLE001  a foreign model may raise anything, and the promises are told already
        console.print(f"speed of {card.name}: not measured: {type(error).__name__}: {error}", markup=False)
        return
    console.print(table)
    taken = "memory" if memory.bytes_per_atom is None else f"memory {_bytes(memory.bytes_per_atom)} per atom"
    for line in (
        f"NMA dimers, energy and forces, {card.dtype} on {potential.device}, {measure_speed.threads()}",
        f"{taken}: {memory.how}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _bytes(count: float) -> str:
    return f"{count / 1024:.0f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"
