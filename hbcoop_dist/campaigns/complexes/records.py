"""Records of campaigns of complexes: Eq. 1 for the marked pair, status and provenance, from task results."""

from __future__ import annotations

from typing import Any

import numpy as np

from hbcoop_dist.campaigns.complexes.plan import ComplexCellTasks, ComplexesPlan, RelaxedResult
from hbcoop_dist.campaigns.complexes.spec import ComplexCell
from hbcoop_dist.campaigns.model_tasks import (
    FragmentResult,
    energy_values,
    fragment_energies_of,
    provenance_values,
    worst_status,
)
from hbcoop_dist.cooperativity.equation import FragmentEnergies, pair_cooperativity
from hbcoop_dist.core.results import Lookup, Record, TaskResult, Value
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.structures import Structure


def cell_record(plan: ComplexesPlan, cell: ComplexCell, results: Lookup) -> Record:
    """Return the record of one cell, once all its tasks have results.

    Parameters
    ----------
    plan : Plan
    cell : ComplexCell
    results : callable
        From the key of a task to its result.
    """
    source, tasks = plan.sources[cell.model], plan.cell_tasks[cell]
    assert isinstance(source, ModelSource)
    status, reason = worst_status([("", tasks.keys)], results)
    values = provenance_values(source, tasks.final_key, tasks.keys, results)
    if status not in ("failed", "quarantined"):
        values |= _values(cell, tasks, results, tuple(source.card.combination.values()))
    return Record("cell", {"model": cell.model, "complex": cell.complex}, status, reason, values)


def _values(
    cell: ComplexCell, tasks: ComplexCellTasks, results: Lookup, weights: tuple[float, ...]
) -> dict[str, Value]:
    structure, relaxed = cell.structure.structure, None
    if tasks.relaxed:
        relaxed = results(tasks.relaxed[0].key).payload_as(RelaxedResult)
        structure = structure.with_positions(relaxed.positions)
    fragments = cell.structure.fragments
    energies = _energies(results(tasks.complex.key), weights)
    # where nothing is minimised, A and B alone are fragments of the complex
    pair = energies if tasks.pair is tasks.complex else _energies(results(tasks.pair.key), weights)
    bond = pair_cooperativity(structure, energies, fragments, pair, {"AB": (0, 1), "A": (0,), "B": (1,)})
    values: dict[str, Value] = {name: array[0] for name, array in energy_values([bond]).items()}
    values |= {
        "energy": energies.energy(fragments["ABC"]),
        "distance": _distance(structure),
        "fragment_energy": bond.points,
        "positions": structure.positions,
    }
    if bond.atoms is not None:
        values["atomic_cooperative_energy"] = bond.atoms
    if relaxed is not None:
        values |= {name: getattr(relaxed, name) for name in ("max_force", "rms_force", "force_calls")}
    return values


def _energies(result: TaskResult[Any], weights: tuple[float, ...]) -> FragmentEnergies:
    return fragment_energies_of([result.payload_as(FragmentResult)], weights)


def _distance(structure: Structure) -> float:
    """Return the shortest distance between an atom of A and one of B, A."""
    a, b = (structure.positions[structure.molecules == molecule] for molecule in (0, 1))
    return float(np.linalg.norm(a[:, None] - b[None], axis=-1).min())
