"""The commands `hbcoop models list`, `show`, `fetch`, `verify`, `check` and `new`."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from hbcoop_dist.campaigns.kind import load_campaign
from hbcoop_dist.core.files import bundled_folder
from hbcoop_dist.models import checkpoints, registry
from hbcoop_dist.models import checkpoints as downloads
from hbcoop_dist.models.base import ModelCard, ModelError, Potential
from hbcoop_dist.models.checks import contract
from hbcoop_dist.models.checks import speed as measure_speed

_BY_NAME = (
    "and quantum chemistry by name: rimp2:BASIS, scs-mp2:BASIS, sos-mp2:BASIS, hf:BASIS, FUNCTIONAL:BASIS, each "
    "with :cp, MP2 with :frozen-core (hbcoop models show rimp2:cc-pvdz)"
)
_MODEL, _MODULE = "my-model", "my_model"
# Names of distributions that pip accepts, without those that start with a digit, as no module's name can.
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def show_list(console: Console) -> None:
    """Print all registered models, and why some of them cannot run here.

    The column `reach` has the receptive field, cutoff x layers; `per atom`, whether there are energies per atom.

    Parameters
    ----------
    console : Console
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("model", "family", "reach", "per atom", "here", "licence"):
        table.add_column(heading, no_wrap=heading != "licence", overflow="fold")
    reasons: list[str] = []
    for name, card in registry.cards().items():
        here = registry.available(card)
        reach = "long range" if card.about.long_range else _angstrom(card.receptive_field)
        per_atom = "yes" if card.abilities.atom_energies else "no"
        table.add_row(name, card.family, reach, per_atom, "yes" if here else "no", card.about.licence)
        if not here:
            reasons.append(f"{name}: {here.reason}")
    console.print(table)
    console.print(_BY_NAME, highlight=False, markup=False)
    for reason in (*reasons, *registry.broken_families().values()):
        console.print(reason, highlight=False, markup=False)


def _angstrom(value: float | None) -> str:
    return "not limited" if value is None else f"{value:g} A"


def show_card(name: str, console: Console) -> None:
    """Print all fields of one card, licence and citation first.

    Parameters
    ----------
    name : str
        Registered model, or a name that describes one.
    console : Console
    """
    card = registry.card(name)
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    values = {"name": card.name, "licence": card.about.licence, "citation": card.about.citation} | _flat_fields(card)
    values["elements"] = tuple(chemical_symbols[z] for z in card.about.elements)
    for field, value in values.items():
        table.add_row(field.replace("_", " "), _text(value))
    here = registry.available(card)
    table.add_row("runs here", "yes" if here else here.reason)
    console.print(table, highlight=False, markup=False)


def _flat_fields(part: Any) -> dict[str, object]:
    """Fields of a card and of its parts by name; the file of its checkpoint is called ``checkpoint``."""
    values: dict[str, object] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            values |= _flat_fields(value)
        else:
            values["checkpoint" if field.name == "file" else field.name] = value
    return values


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        value = ", ".join(value)
    return "-" if value in (None, "", {}) else str(value)


def fetch(names: Sequence[str], accept: bool, console: Console, ask: Callable[[str], bool]) -> None:
    """Download the checkpoints of models; licences that restrict use are shown and must be accepted once.

    Parameters
    ----------
    names : sequence of str
    accept : bool
        Whether to accept licences without asking.
    console : Console
    ask : callable
        Asks the user a question and returns whether the answer is yes.

    Raises
    ------
    ModelError
        When a licence is not accepted, or a checkpoint cannot be downloaded.
    """
    for card in [registry.card(name) for name in names]:
        terms = f"{card.name}: licence {card.about.licence}; cite {card.about.citation}"
        console.print(terms, highlight=False, markup=False)
        if not downloads.accepted(card):
            if not accept and not ask(f"Accept the licence of {card.name}?"):
                raise ModelError(f"model {card.name}: its licence was not accepted, nothing was fetched")
            downloads.accept(card)
        checkpoint = _fetch_with_bar(card, console)
        line = f"{card.name}: {checkpoint.path}, sha256 {checkpoint.sha256[:12]}..."
        console.print(line, highlight=False, markup=False)


def _fetch_with_bar(card: ModelCard, console: Console) -> checkpoints.Checkpoint:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        bar = shown.add_task(card.name, total=None)
        return downloads.fetch(card, lambda done, total: shown.update(bar, completed=done, total=total or None))


def verify(console: Console) -> bool:
    """Find and hash the checkpoints of all registered models.

    Parameters
    ----------
    console : Console

    Returns
    -------
    bool
        False when a checkpoint has the wrong hash.
    """
    table, wrong = Table("model", "checkpoint", Column("where", overflow="fold"), box=None), []
    for name, card in registry.cards().items():
        if card.checkpoint.file is None and "embedded" not in card.options:
            continue
        try:
            checkpoint = checkpoints.embedded(card) if card.checkpoint.file is None else checkpoints.find(card)
        except checkpoints.WrongCheckpointError as error:
            wrong.append(str(error))
            table.add_row(name, "WRONG", str(error.path))
        except checkpoints.CheckpointError:
            table.add_row(name, "missing", card.checkpoint.url or "-")
        else:
            state = "verified" if card.checkpoint.sha256 else "unverified: its card has no hash"
            if checkpoint is None:
                table.add_row(name, "package not installed", "-")
            else:
                table.add_row(name, state, str(checkpoint.path))
    console.print(table, highlight=False, markup=False)
    for text in wrong:
        console.print(text, highlight=False, markup=False)
    return not wrong


def check(name: str, device: str, console: Console, *, spec: str | None = None, speed: bool = True) -> bool:
    """Run the contract suite on one model.

    Parameters
    ----------
    name : str
        Registered model, or model of the campaign file `spec`.
    device : str
        ``cpu`` or a CUDA device; models without GPU code run on the CPU.
    console : Console
    spec : str, optional
        Campaign file that describes the model.
    speed : bool
        Whether to measure speed and memory too.

    Returns
    -------
    bool
        Whether all checks passed.
    """
    card, checkpoint = card_of(name, spec)
    device = device if card.needs.gpu else "cpu"
    potential = registry.load(card, checkpoint, device=device)
    results = contract.check(potential)
    table = Table("check", "measured", "limit", "passed", "note", title=f"{name} on {device}")
    for result in results:
        limit = "-" if result.limit is None else f"{result.limit:.1e}"
        table.add_row(result.name, f"{result.measured:.1e}", limit, "yes" if result.passed else "NO", result.note)
    console.print(table)
    if speed:
        _show_speed(potential, checkpoint, console)
    return all(result.passed for result in results)


def card_of(name: str, spec: str | None = None) -> tuple[ModelCard, str | None]:
    """Find the card and the checkpoint of a model.

    Parameters
    ----------
    name : str
    spec : str, optional
        Campaign file whose models are searched; the registered models by default.

    Returns
    -------
    tuple of ModelCard and (str or None)
        Card, and path of the checkpoint in the spec.

    Raises
    ------
    ModelError
        When there is no such model.
    """
    if spec is None:
        return registry.card(name), None
    models = {entry.name: entry for entry in getattr(load_campaign(spec), "models", ())}
    if name not in models:
        raise ModelError(f"{spec}: expected one of its models ({', '.join(models)}), found {name!r}")
    return models[name].card(), models[name].checkpoint


def _show_speed(potential: Potential, checkpoint: str | None, console: Console) -> None:
    """Print atoms per second against batch size, and memory per atom."""
    card = potential.card
    table = Table("dimers per call", "atoms", "s per call", "atoms/s", title=f"speed of {card.name}")
    largest = 0
    try:
        for rate in measure_speed.rates(potential):
            largest = rate.batch
            table.add_row(str(rate.batch), str(rate.atoms), f"{rate.seconds:.2g}", f"{rate.atoms_per_second:.3g}")
        memory = measure_speed.memory(potential, checkpoint, largest)
    except Exception as error:  # noqa: BLE001  models of other packages may raise anything
        console.print(f"speed of {card.name}: not measured: {type(error).__name__}: {error}", markup=False)
        return
    console.print(table)
    amount = "memory" if memory.bytes_per_atom is None else f"memory {_bytes(memory.bytes_per_atom)} per atom"
    for line in (
        f"NMA dimers, energy and forces, {card.abilities.dtype} on {potential.device}, {measure_speed.threads()}",
        f"{amount}: {memory.how}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _bytes(count: float) -> str:
    return f"{count / 1024:.0f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"


@dataclass(frozen=True, slots=True)
class NewModel:
    """A distribution copied from the template.

    Attributes
    ----------
    name : str
        Name of its model.
    module : str
        Name of its module, which is that of the family too.
    folder : Path
    files : tuple of str
        Names of the files in the folder.
    """

    name: str
    module: str
    folder: Path
    files: tuple[str, ...]

    def __str__(self) -> str:
        # pip would look up a bare name in a registry. The path of Python makes sure that this environment is used.
        folder = shlex.quote(str(self.folder if self.folder.is_absolute() else f"./{self.folder}"))
        return (
            f"{self.folder}: {', '.join(self.files)}\n"
            f"install and check it:\n"
            f"  {shlex.quote(sys.executable)} -m pip install --editable {folder}\n"
            f"  hbcoop models check {self.name}\n"
            f"then replace the parts marked REPLACE"
        )


def new_model(name: str, folder: Path | None = None) -> NewModel:
    """Make a distribution with one model.

    Parameters
    ----------
    name : str
        Name of the model, e.g. ``my-model``, which makes a module ``my_model``.
    folder : Path, optional
        New or empty folder; one of the model's name in the working directory by default.

    Raises
    ------
    ModelError
        When the name cannot be made a name of a module or is in use, or the folder is not empty or cannot be written.
    """
    module = _module(name)
    target = Path(name) if folder is None else folder
    texts = {
        path.name.replace(_MODULE, module): _named(path.read_text(encoding="utf-8"), name, module)
        for path in sorted(bundled_folder("templates").joinpath("model").iterdir())
        if path.is_file()  # pip writes __pycache__ beside every module that it installs
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        if present := sorted(path.name for path in target.iterdir()):
            raise ModelError(
                f"model {name}: expected {target} to be new or empty, found {', '.join(present[:3])} in it"
            )
        for file, text in texts.items():
            (target / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelError(f"model {name}: expected a folder {target} to write into, found {error}") from error
    return NewModel(name, module, target, tuple(texts))


def _named(text: str, name: str, module: str) -> str:
    # In one pass, since one name may contain the other.
    return re.sub(f"{_MODEL}|{_MODULE}", lambda match: name if match[0] == _MODEL else module, text)


def _module(name: str) -> str:
    module = re.sub(r"[.-]+", "_", name).lower()
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise ModelError(
            f"model {name}: expected letters, digits, '-', '_' and '.', a letter first, a letter or digit last, and no "
            f"keyword of Python after '-' and '.' are replaced by '_'"
        )
    if name in registry.cards():
        raise ModelError(f"model {name}: expected a new name, found a registered model of that name")
    if module in registry.family_names():
        raise ModelError(f"model {name}: expected a new name, found a family {module}")
    if importlib.util.find_spec(module) is not None:
        raise ModelError(f"model {name}: expected a new name, found a module {module} that is installed here")
    return module
