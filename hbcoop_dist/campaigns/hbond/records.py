"""From task results to the record of a cell: Eq. 1 for every H-bond, geometry, status and provenance. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.campaigns.hbond.plan import CellTasks, Parts, Plan
from hbcoop_dist.campaigns.hbond.spec import Cell
from hbcoop_dist.cooperativity.equation import EV_TO_KCAL, Cooperativity, FragmentEnergies, hbond_cooperativity
from hbcoop_dist.core.results import Record, Status, TaskResult
from hbcoop_dist.structures import Structure, position_of
from hbcoop_dist.structures.chains import DIMER_DIMS, POSITIONS
from hbcoop_dist.structures.complexes import Molecules
from hbcoop_dist.structures.construction import build
from hbcoop_dist.structures.geometry import (
    NEAR_RING_LIMIT,
    HBondGeometry,
    broken_geometry,
    hbond_geometry,
    head_tail_contact,
    planarity,
)

FloatArray = NDArray[np.float64]
Lookup = Callable[[str], TaskResult]
Place = tuple[str, ...]
Isolated = Callable[[Parts], "ComplexResult"]
"""From the parts of an isolated dimer to what was computed of it; cells share dimers, so a caller may keep some."""

SADDLE = -2.0e-4
"""Out-of-plane eigenvalue, eV/A^2, below which a planar stationary point is called a saddle; finite differences
of forces good to 1e-6 eV/A at 0.005 A carry about this much noise."""

PROVENANCE = ("parameter_hash", "versions", "device", "dtype", "host", "computed_at")
"""What of a task's provenance a store keeps, by the names of both."""

SPREADS = {
    "cooperative_energy_spread": "total",
    "cooperative_energy_electronic_spread": "electronic",
    "cooperative_energy_geometric_spread": "geometric",
}
"""Variables of the store, and of which part of a `Cooperativity` they are the spread."""

_GRAVITY: tuple[Status, ...] = ("done", "unconverged", "broken-geometry", "quarantined", "failed")


@dataclass(frozen=True, slots=True)
class ComplexResult:
    """One complex (or isolated dimer) with what was computed of it."""

    parts: Parts
    structure: Structure
    energies: FragmentEnergies
    minimised: Mapping[str, object]


def cell_record(plan: Plan, cell: Cell, results: Lookup, isolated: Isolated | None = None) -> Record:
    """The record of one cell, once all its tasks have results.

    Parameters
    ----------
    plan : Plan
    cell : Cell
    results : callable
        Task key -> TaskResult.
    isolated : callable, optional
        `complex_of`, or a version that remembers.
    """
    tasks = plan.cell_tasks[cell]
    status, reason = cell_status(tasks, results)
    values = _provenance(plan, cell, tasks, results)
    if status not in ("failed", "quarantined"):
        whole = complex_of(plan, tasks.complex, results)
        find = isolated or partial(complex_of, plan, results=results)
        dimers = [find(parts) for parts in tasks.dimers]
        if (
            cell.geometry != "own"
            and status == "done"
            and (why := broken_geometry(whole.structure, cell.system.conformers))
        ):
            status, reason = "broken-geometry", why
        values |= _whole_values(whole, cell)
        values |= _hbond_values(whole, dimers, cell.length)
    return Record(cell.labels, status, reason, values)


def dimer_records(
    plan: Plan, cell: Cell, results: Lookup, seen: set[Place], isolated: Isolated | None = None
) -> list[Record]:
    """Records of the isolated dimers of a cell, one per conformer (the first H-bond that has it).

    Parameters
    ----------
    plan : Plan
    cell : Cell
    results : callable
        Task key -> TaskResult.
    seen : set
        Labels of the isolated dimers that have a record already; those made here are added.
    isolated : callable, optional
        `complex_of`, or a version that remembers.
    """
    find = isolated or partial(complex_of, plan, results=results)
    records: list[Record] = []
    for conformer, parts in zip(cell.system.conformers, plan.cell_tasks[cell].dimers, strict=True):
        place = (cell.model, cell.geometry, cell.rotamer, conformer)
        if place in seen:
            continue
        seen.add(place)
        labels = dict(zip(DIMER_DIMS, place, strict=True))
        found = [results(key) for key in parts.keys]
        worst = max(found, key=lambda result: _GRAVITY.index(result.status))
        values: dict[str, object] = {"dimer_task_key": parts.keys[0]}
        if worst.status not in ("failed", "quarantined"):
            values |= _dimer_values(find(parts))
        records.append(Record(labels, worst.status, worst.reason, values))
    return records


def cell_status(tasks: CellTasks, results: Lookup) -> tuple[Status, str]:
    """The gravest status among the tasks of a cell and its reason, which names the dimer when it lies there."""
    dimers = [(f"isolated dimer of H-bond {bond}: ", parts.keys) for bond, parts in enumerate(tasks.dimers, 1)]
    return gravest([("", tasks.complex.keys), *dimers], results)


def gravest(places: Iterable[tuple[str, Iterable[str]]], results: Lookup) -> tuple[Status, str]:
    """The gravest status among tasks and its reason; `places` are words for where a task is, and keys."""
    worst: tuple[Status, str] = ("done", "")
    for where, keys in places:
        for key in keys:
            result = results(key)
            if _GRAVITY.index(result.status) > _GRAVITY.index(worst[0]):
                worst = (result.status, where + result.reason)
    return worst


def complex_of(plan: Plan, parts: Parts, results: Lookup, weights: Sequence[float] | None = None) -> ComplexResult:
    """What was computed of one complex or isolated dimer.

    Parameters
    ----------
    plan : Plan
    parts : Parts
    results : callable
        Task key -> TaskResult.
    weights : sequence of float, optional
        Of the parts that energies are put together from, instead of the model's own.
    """
    if parts.minimise is None:
        given = plan.tasks[parts.energies[0]].given
        assert given is not None
        structure, minimised = given, {}
    else:
        minimised = dict(results(parts.minimise).data)
        structure = _crude(parts.system).with_positions(np.asarray(minimised["positions"]))
    pieces = [results(key).data for key in parts.energies]
    own = plan.sources[parts.model].card.combination.values()
    weights = tuple(own if weights is None else weights)
    members = np.concatenate([np.asarray(piece["members"]) for piece in pieces])
    atoms = [np.asarray(piece["atom_energies"]) for piece in pieces if "atom_energies" in piece]
    # a journal of an earlier version has none
    ensemble = [np.asarray(piece["member_energies"]) for piece in pieces if "member_energies" in piece]
    energies = FragmentEnergies(
        _fragments(members.shape, members.tobytes()),
        np.concatenate([weighted(piece, weights) for piece in pieces]),
        np.concatenate(atoms) if atoms else None,
        member_energies=np.concatenate(ensemble) if len(ensemble) == len(pieces) else None,
    )
    return ComplexResult(parts, structure, energies, minimised)


def weighted(piece: Mapping[str, object], weights: Sequence[float]) -> FloatArray:
    """Energies of fragments, eV, weighted anew: their task may be that of another model with the same parts."""
    return np.asarray(piece["parts"]) @ np.asarray(weights) if "parts" in piece else np.asarray(piece["energies"])


# Atoms, molecules and fragments follow from the system, which thousands of models share.
_crude = lru_cache(maxsize=256)(build)


@lru_cache(maxsize=256)
def _fragments(shape: tuple[int, int], members: bytes) -> tuple[Molecules, ...]:
    """Fragments from rows of memberships."""
    rows = np.frombuffer(members, dtype=bool).reshape(shape)
    return tuple(tuple(np.flatnonzero(row).tolist()) for row in rows)


def _provenance(plan: Plan, cell: Cell, tasks: CellTasks, results: Lookup) -> dict[str, object]:
    found = [results(key) for key in tasks.complex.keys]
    source = plan.sources[cell.model]
    last = found[-1].provenance
    values: dict[str, object] = {
        "task_key": tasks.complex.energies[-1],
        "checkpoint_sha256": source.identity,
        "seconds": sum(result.seconds for result in found),
        "unit_rotamers": "; ".join(str(rotamer) for rotamer in cell.system.rotamers),
    }
    return values | {name: last[name] for name in PROVENANCE if name in last}


def _whole_values(whole: ComplexResult, cell: Cell) -> dict[str, object]:
    names = ("max_force", "rms_force", "steps", "force_calls", "lowest_out_of_plane")
    values: dict[str, object] = {name: whole.minimised[name] for name in names if name in whole.minimised}
    contact = head_tail_contact(whole.structure)
    every = tuple(range(len(whole.structure.kinds)))
    values |= {
        "energy": whole.energies.energy(every),
        "planarity": planarity(whole.structure),
        "positions": whole.structure.positions,
        "near_ring": contact < NEAR_RING_LIMIT,
    }
    if "lowest_out_of_plane" in values:
        values["saddle"] = float(np.asarray(values["lowest_out_of_plane"])) < SADDLE
    if np.isfinite(contact):
        values["head_tail_contact"] = contact
    return values


def _hbond_values(whole: ComplexResult, dimers: list[ComplexResult], length: int) -> dict[str, object]:
    found = [
        hbond_cooperativity(whole.structure, whole.energies, bond, dimer.structure, dimer.energies)
        for bond, dimer in enumerate(dimers, 1)
    ]
    per_bond = _energy_arrays(found) | _geometry_arrays(hbond_geometry(whole.structure))
    at = [position_of(position, length) - 1 for position in POSITIONS]
    values: dict[str, object] = {name: array[at] for name, array in per_bond.items() if name not in ("phi1", "phi2")}
    values |= {name if name in ("phi1", "phi2") else f"hbond_{name}": array for name, array in per_bond.items()}
    values["fragment_energy"] = np.array([one.points for one in found])
    if found[0].atoms is not None:
        values["atomic_cooperative_energy"] = np.array([one.atoms for one in found])
    return values


def _energy_arrays(found: list[Cooperativity]) -> dict[str, FloatArray]:
    return {
        "cooperative_energy": np.array([one.total for one in found]),
        "cooperative_energy_electronic": np.array([one.electronic for one in found]),
        "cooperative_energy_geometric": np.array([one.geometric for one in found]),
        "interaction_energy": np.array([one.interaction for one in found]),
        "interaction_energy_dimer": np.array([one.interaction_dimer for one in found]),
        **(_spreads(found) if any(one.spread for one in found) else {}),
    }


def _spreads(found: list[Cooperativity]) -> dict[str, FloatArray]:
    return {name: np.array([one.spread.get(part, np.nan) for one in found]) for name, part in SPREADS.items()}


def _geometry_arrays(geometry: HBondGeometry) -> dict[str, FloatArray]:
    return {name: getattr(geometry, name) for name in ("distance_on", "distance_oh", "angle", "phi1", "phi2")}


def _dimer_values(dimer: ComplexResult) -> dict[str, object]:
    energies, geometry = dimer.energies, hbond_geometry(dimer.structure)
    interaction = energies.energy((0, 1)) - energies.energy((0,)) - energies.energy((1,))
    values: dict[str, object] = {
        "dimer_energy": energies.energy((0, 1)),
        "dimer_interaction_energy": interaction * EV_TO_KCAL,
        "dimer_distance_on": geometry.distance_on[0],
        "dimer_distance_oh": geometry.distance_oh[0],
        "dimer_angle": geometry.angle[0],
        "dimer_positions": dimer.structure.positions,
    }
    for name in ("max_force", "rms_force", "lowest_out_of_plane"):
        if name in dimer.minimised:
            values[f"dimer_{name}"] = dimer.minimised[name]
    if "lowest_out_of_plane" in dimer.minimised:
        values["dimer_saddle"] = float(np.asarray(dimer.minimised["lowest_out_of_plane"])) < SADDLE
    return values
