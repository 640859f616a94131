"""From task results to the values of one marked system: Eq. 1 for its pair, status and provenance. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hbcoop_dist.campaigns.complexes.tasks import ComplexTasks
from hbcoop_dist.campaigns.hbond.records import PROVENANCE, SPREADS, gravest, weighted
from hbcoop_dist.cooperativity.equation import pair_cooperativity
from hbcoop_dist.cooperativity.fragments import FragmentEnergies
from hbcoop_dist.core.results import Status, TaskResult
from hbcoop_dist.core.tasks import Task
from hbcoop_dist.models.sources import ModelSource
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.complexes import Complex

Lookup = Callable[[str], TaskResult]
_FINER = ("atom_energies", "member_energies")


def complex_values(source: ModelSource, tasks: ComplexTasks, results: Lookup) -> tuple[Status, str, dict[str, object]]:
    """Status, reason and values of one model and marked system, once all its tasks have results.

    Parameters
    ----------
    source : ModelSource
    tasks : ComplexTasks
    results : callable
        Task key -> TaskResult.
    """
    status, reason = gravest([("", tasks.keys)], results)
    last = results(tasks.complex.key)
    values: dict[str, object] = {
        "task_key": tasks.complex.key,
        "checkpoint_sha256": source.identity,
        "seconds": sum(results(key).seconds for key in tasks.keys),
    }
    values |= {name: last.provenance[name] for name in PROVENANCE if name in last.provenance}
    if status in ("failed", "quarantined"):
        return status, reason, values
    system = tasks.complex.system
    assert isinstance(system, Complex)
    structure = _structure(system, tasks, results)
    weights = tuple(source.card.combination.values())
    energies = _energies(last.data, weights)
    # where nothing is minimised, A and B alone are fragments of the complex
    pair_energies = energies if tasks.pair is tasks.complex else _energies(results(tasks.pair.key).data, weights)
    pair_parts = {"AB": (0, 1), "A": (0,), "B": (1,)}
    found = pair_cooperativity(structure, energies, system.fragments, pair_energies, pair_parts)
    values |= {
        "cooperative_energy": found.total,
        "cooperative_energy_electronic": found.electronic,
        "cooperative_energy_geometric": found.geometric,
        "interaction_energy": found.interaction,
        "interaction_energy_dimer": found.interaction_dimer,
        **{name: found.spread[part] for name, part in SPREADS.items() if part in found.spread},
        "energy": energies.energy(system.fragments["ABC"]),
        "distance": _distance(structure),
        "fragment_energy": found.points,
        "positions": structure.positions,
    }
    if found.atoms is not None:
        values["atomic_cooperative_energy"] = found.atoms
    if tasks.relaxed:
        relaxed = results(tasks.relaxed[0].key).data
        values |= {name: relaxed[name] for name in ("max_force", "rms_force", "force_calls")}
    return status, reason, values


def _structure(system: Complex, tasks: ComplexTasks, results: Lookup) -> Structure:
    if not tasks.relaxed:
        return system.structure
    first: Task = tasks.relaxed[0]
    return system.structure.with_positions(np.asarray(results(first.key).data["positions"]))


def _energies(data: Mapping[str, object], weights: Sequence[float]) -> FragmentEnergies:
    fragments = tuple(tuple(np.flatnonzero(row).tolist()) for row in np.asarray(data["members"]))
    atoms, members = (None if (one := data.get(name)) is None else np.asarray(one) for name in _FINER)
    return FragmentEnergies(fragments, weighted(data, weights), atoms, member_energies=members)


def _distance(structure: Structure) -> float:
    a, b = (structure.positions[structure.molecules == molecule] for molecule in (0, 1))
    return float(np.linalg.norm(a[:, None] - b[None], axis=-1).min())
