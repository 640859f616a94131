"""What the kinds of campaigns that run models have in common: keys, fragment energies as results, statuses, costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from hbcoop_dist.campaigns.spec_fields import ModelEntry
from hbcoop_dist.cooperativity.equation import Cooperativity, FragmentEnergies
from hbcoop_dist.core.arrays import BoolArray, FloatArray
from hbcoop_dist.core.results import Lookup, Status, Value
from hbcoop_dist.core.tasks import Source, canonical_json
from hbcoop_dist.models.registry import ModelSource, find_source
from hbcoop_dist.store import Journal, journal_path
from hbcoop_dist.structures.structure import Molecules

MODEL = "@model"
"""Stands in the content of a task for what its model decides, so that models share the rest of the text."""

PROVENANCE = ("parameter_hash", "versions", "device", "dtype", "host", "computed_at")
"""Fields of `Provenance` that a store keeps, under the same names."""

SPREADS = {
    "cooperative_energy_spread": "total",
    "cooperative_energy_electronic_spread": "electronic",
    "cooperative_energy_geometric_spread": "geometric",
}
"""Variables of the store, and the part of a `Cooperativity` whose ensemble spread they hold."""

_SEVERITY: tuple[Status, ...] = ("done", "unconverged", "broken-geometry", "quarantined", "failed")


@dataclass(frozen=True, slots=True)
class FragmentResult:
    """Energies of fragments of one structure.

    Attributes
    ----------
    members : (m, M) bool array
        Whether molecule j is part of fragment i.
    energies : (m,) array
        eV.
    atom_energies : (m, N) array or None
        eV; zero for atoms that are not in the fragment.
    parts : (m, p) array or None
        Parts of the energies in the order of the card's ``combination``, eV.
    member_energies : (m, K) array or None
        Energies of each of the K networks of an ensemble, eV.
    """

    members: BoolArray
    energies: FloatArray
    atom_energies: FloatArray | None = None
    parts: FloatArray | None = None
    member_energies: FloatArray | None = None


def model_text(source: ModelSource) -> str:
    """Return everything about a model that decides a result, as canonical JSON."""
    return canonical_json(
        {
            "family": source.card.family,
            "checkpoint": source.identity,
            "dtype": source.card.abilities.dtype,
            "options": {name: str(value) for name, value in sorted(source.card.options.items())},
        }
    )


def with_model(text: str, model: str) -> str:
    """Return the content of a task with its model (`model_text`) put in."""
    return text.replace(f'"{MODEL}"', model)


def find_sources(
    entries: Iterable[ModelEntry], elsewhere: Iterable[str]
) -> tuple[dict[str, ModelSource], dict[str, str]]:
    """Look up the models of a campaign.

    Parameters
    ----------
    entries : iterable of ModelEntry
    elsewhere : iterable of str
        Environments that workers have in a Python of their own.

    Returns
    -------
    sources : dict of str to ModelSource
    absent : dict of str to str
        Models that cannot run, with the reason.

    Raises
    ------
    ModelError
        When a checkpoint that the campaign names does not exist, or is not what it should be.
    """
    sources: dict[str, ModelSource] = {}
    absent: dict[str, str] = {}
    for entry in entries:
        source = find_source(entry.card(), entry.checkpoint, frozenset(elsewhere))
        if isinstance(source, str):
            absent[entry.name] = source
        else:
            sources[entry.name] = source
    return sources, absent


def worst_status(places: Iterable[tuple[str, Iterable[str]]], results: Lookup) -> tuple[Status, str]:
    """Return the most severe status among tasks, and its reason.

    Parameters
    ----------
    places : iterable of (str, iterable of str)
        Prefix of the reason, and the keys of the tasks.
    results : callable
    """
    worst: tuple[Status, str] = ("done", "")
    for prefix, keys in places:
        for key in keys:
            result = results(key)
            if _SEVERITY.index(result.status) > _SEVERITY.index(worst[0]):
                worst = (result.status, prefix + result.reason)
    return worst


def fragment_energies_of(results: Sequence[FragmentResult], weights: Sequence[float]) -> FragmentEnergies:
    """Join the fragment energies of one structure.

    Parameters
    ----------
    results : sequence of FragmentResult
        One, or one per fragment.
    weights : sequence of float
        Weights of the parts of an energy, ``card.combination``: the task may belong to another model that has the same
        parts.
    """
    members = np.concatenate([result.members for result in results])
    atoms = [result.atom_energies for result in results if result.atom_energies is not None]
    ensemble = [result.member_energies for result in results if result.member_energies is not None]
    return FragmentEnergies(
        _fragments(members.shape, members.tobytes()),
        np.concatenate([_weighted(result, weights) for result in results]),
        np.concatenate(atoms) if atoms else None,
        member_energies=np.concatenate(ensemble) if len(ensemble) == len(results) else None,
    )


def _weighted(result: FragmentResult, weights: Sequence[float]) -> FloatArray:
    return result.energies if result.parts is None else np.asarray(result.parts @ np.asarray(weights))


@lru_cache(maxsize=256)
def _fragments(shape: tuple[int, int], members: bytes) -> tuple[Molecules, ...]:
    """Convert rows of memberships to fragments; thousands of models share them."""
    rows = np.frombuffer(members, dtype=bool).reshape(shape)
    return tuple(tuple(np.flatnonzero(row).tolist()) for row in rows)


def provenance_values(source: Source, final_key: str, keys: Iterable[str], results: Lookup) -> dict[str, Value]:
    """Return where, when and how long a cell was computed, by variable of the store.

    Parameters
    ----------
    source : Source
    final_key : str
        Key of the task whose provenance stands for the cell.
    keys : iterable of str
        Tasks whose times are added.
    results : callable
        From the key of a task to its result.
    """
    fields = {name: getattr(results(final_key).provenance, name) for name in PROVENANCE}
    return {
        "task_key": final_key,
        "checkpoint_sha256": source.identity,
        "seconds": sum(results(key).seconds for key in keys),
        **{name: value for name, value in fields.items() if value},
    }


def energy_values(bonds: Sequence[Cooperativity]) -> dict[str, FloatArray]:
    """Return Eq. 1 and its parts of several H-bonds by variable of the store, kcal/mol, each of shape (bonds,)."""
    values = {
        "cooperative_energy": np.array([bond.total for bond in bonds]),
        "cooperative_energy_electronic": np.array([bond.electronic for bond in bonds]),
        "cooperative_energy_geometric": np.array([bond.geometric for bond in bonds]),
        "interaction_energy": np.array([bond.interaction for bond in bonds]),
        "interaction_energy_dimer": np.array([bond.interaction_dimer for bond in bonds]),
    }
    if any(bond.spread for bond in bonds):
        values |= {name: np.array([bond.spread.get(part, np.nan) for bond in bonds]) for name, part in SPREADS.items()}
    return values


class SizedTask(Protocol):
    """A task on one structure."""

    @property
    def key(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def n_atoms(self) -> int: ...


def estimate_core_time(
    models: Sequence[str], tasks: Mapping[str, SizedTask], store: Path, payloads: Mapping[str, type]
) -> str:
    """Describe the expected core time of the tasks that a store does not have, by model.

    The time of a task is a power of the number of atoms, fitted for each model and kind of task to what was measured.

    Parameters
    ----------
    models : sequence of str
    tasks : mapping of str to task
    store : Path
    payloads : mapping of str to type
    """
    with Journal(journal_path(store), payloads) as journal:
        seconds = {result.key: result.seconds for result in journal.results()}
    measured: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    by_model: dict[str, list[SizedTask]] = defaultdict(list)
    for key, task in tasks.items():
        by_model[task.model].append(task)
        if seconds.get(key, 0.0) > 0:
            measured[task.model, task.kind].append((task.n_atoms, seconds[key]))
    lines = [f"expected core time, from what {store} measured:"]
    for model in models:
        pending = [task for task in by_model[model] if task.key not in seconds]
        if not by_model[model]:
            continue
        if any(not measured[model, kind] for kind in {task.kind for task in pending}):
            lines.append(f"  {model}: not measured yet")
            continue
        total = sum(_expected_seconds(measured[model, task.kind], task.n_atoms) for task in pending)
        lines.append(f"  {model}: {len(pending)} of {len(by_model[model])} tasks left, about {total:.0f} s")
    return "\n".join(lines)


def _expected_seconds(points: list[tuple[float, float]], n_atoms: int) -> float:
    atoms, seconds = np.array(points).T
    if len(set(atoms)) < 2:
        # with one size only, linear in the number of atoms is the least a model can cost
        return float(seconds.mean() * n_atoms / atoms.mean())
    power, factor = np.polyfit(np.log(atoms), np.log(seconds), 1)
    return float(np.exp(factor) * n_atoms**power)
