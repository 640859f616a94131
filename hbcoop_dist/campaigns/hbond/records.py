"""Records of hydrogen-bond campaigns: Eq. 1 for every H-bond, geometry, status and provenance, from task results.

Pure functions without torch; they run on a worker or in the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hbcoop_dist.campaigns.hbond.plan import ChainCellTasks, HBondPlan, StructureTasks
from hbcoop_dist.campaigns.hbond.spec import Cell
from hbcoop_dist.campaigns.hbond.task_graph import MinimumResult
from hbcoop_dist.campaigns.kind import RowLabels
from hbcoop_dist.campaigns.model_tasks import (
    FragmentResult,
    energy_values,
    fragment_energies_of,
    provenance_values,
    worst_status,
)
from hbcoop_dist.cooperativity.equation import EV_TO_KCAL, FragmentEnergies, hbond_cooperativity
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.results import Label, Lookup, Record, Status, Value
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.constraints import SADDLE
from hbcoop_dist.structures import Chain, Structure, position_of
from hbcoop_dist.structures.chains import CELL_DIMS, DIMER_DIMS, POSITIONS
from hbcoop_dist.structures.geometry import (
    NEAR_RING_LIMIT,
    HBondGeometry,
    broken_geometry,
    hbond_geometry,
    head_tail_contact,
    planarity,
)
from hbcoop_dist.structures.monomers import build, methyl_angles, rotamer_of

_DIMERS_KEPT = 64
"""Isolated dimers kept in memory: the cells of the few models that are being computed share them."""


@dataclass(frozen=True, slots=True)
class ComputedStructure:
    """Chain or isolated dimer with its results; `minimum` is None for a given geometry."""

    tasks: StructureTasks
    structure: Structure
    energies: FragmentEnergies
    minimum: MinimumResult | None


def record_builder(plan: HBondPlan) -> Callable[[Cell, Lookup, Container[RowLabels]], list[Record]]:
    """Return the function that makes the records of a cell; it keeps the isolated dimers of the latest cells."""
    latest: list[Lookup] = []

    @lru_cache(_DIMERS_KEPT)
    def isolated(tasks: StructureTasks) -> ComputedStructure:
        return computed_structure(plan, tasks, latest[-1])

    def records(cell: Cell, results: Lookup, written: Container[RowLabels]) -> list[Record]:
        latest[:] = [results]
        return [cell_record(plan, cell, results, isolated), *_dimer_records(plan, cell, results, written, isolated)]

    return records


def cell_record(
    plan: HBondPlan, cell: Cell, results: Lookup, isolated: Callable[[StructureTasks], ComputedStructure] | None = None
) -> Record:
    """Return the record of one cell, once all its tasks have results.

    Parameters
    ----------
    plan : Plan
    cell : Cell
    results : callable
        From the key of a task to its result.
    isolated : callable, optional
        From the tasks of an isolated dimer to its results; a version that caches them saves time.
    """
    tasks = plan.cell_tasks[cell]
    status, reason = cell_status(tasks, results)
    values = provenance_values(plan.sources[cell.model], tasks.final_key, tasks.chain.keys, results)
    if status not in ("failed", "quarantined"):
        chain = computed_structure(plan, tasks.chain, results)
        find = isolated or (lambda dimer: computed_structure(plan, dimer, results))
        dimers = [find(dimer) for dimer in tasks.dimers]
        if (
            cell.geometry != "own"
            and status == "done"
            and (why := broken_geometry(chain.structure, cell.chain.conformers))
        ):
            status, reason = "broken-geometry", why
        values |= _chain_values(chain)
        values |= _hbond_values(chain, dimers, cell.length)
    labels: dict[str, Label] = {dim: getattr(cell, dim) for dim in CELL_DIMS}
    return Record("cell", labels, status, reason, values)


def cell_status(tasks: ChainCellTasks, results: Lookup) -> tuple[Status, str]:
    """Return the most severe status among the tasks of a cell; its reason names the dimer where it lies there."""
    dimers = [(f"isolated dimer of H-bond {bond}: ", dimer.keys) for bond, dimer in enumerate(tasks.dimers, 1)]
    return worst_status([("", tasks.chain.keys), *dimers], results)


def computed_structure(
    plan: HBondPlan, tasks: StructureTasks, results: Lookup, weights: Sequence[float] | None = None
) -> ComputedStructure:
    """Return one chain or isolated dimer with its results.

    Parameters
    ----------
    plan : Plan
    tasks : StructureTasks
    results : callable
        From the key of a task to its result.
    weights : sequence of float, optional
        Weights of the parts of an energy, instead of those of the model.
    """
    minimum = None
    if tasks.minimise is None:
        structure = plan.tasks[tasks.energies[0]].given
        assert structure is not None
    else:
        minimum = results(tasks.minimise).payload_as(MinimumResult)
        structure = _atoms_of(tasks.chain).with_positions(minimum.positions)
    if weights is None:
        source = plan.sources[tasks.model]
        assert isinstance(source, ModelSource)
        weights = tuple(source.card.combination.values())
    fragments = [results(key).payload_as(FragmentResult) for key in tasks.energies]
    energies = fragment_energies_of(fragments, weights)
    return ComputedStructure(tasks, structure, energies, minimum)


# atoms and molecules follow from the chain, which thousands of models share
@lru_cache(maxsize=256)
def _atoms_of(chain: Chain) -> Structure:
    return build(chain)


def _dimer_records(
    plan: HBondPlan,
    cell: Cell,
    results: Lookup,
    written: Container[RowLabels],
    isolated: Callable[[StructureTasks], ComputedStructure],
) -> list[Record]:
    """Return the records of isolated dimers that are not written yet, one per conformer."""
    records: dict[RowLabels, Record] = {}
    for conformer, tasks in zip(cell.chain.conformers, plan.cell_tasks[cell].dimers, strict=True):
        place = (cell.model, cell.geometry, cell.rotamer, cell.constraint, conformer)
        row = ("dimer", place)
        if row in written or row in records:
            continue
        status, reason = worst_status([("", tasks.keys)], results)
        values: dict[str, Value] = {"dimer_task_key": tasks.keys[0]}
        if status not in ("failed", "quarantined"):
            values |= _dimer_values(isolated(tasks))
        records[row] = Record("dimer", dict(zip(DIMER_DIMS, place, strict=True)), status, reason, values)
    return list(records.values())


def _chain_values(chain: ComputedStructure) -> dict[str, Value]:
    contact = head_tail_contact(chain.structure)
    values: dict[str, Value] = {
        "energy": chain.energies.energy(tuple(range(len(chain.structure.kinds)))),
        "planarity": planarity(chain.structure),
        "planarity_hydrogens": planarity(chain.structure, hydrogens=True),
        **_methyl_values(chain.structure),
        "positions": chain.structure.positions,
        "near_ring": contact < NEAR_RING_LIMIT,
    }
    if chain.minimum is not None:
        names = ("max_force", "rms_force", "steps", "force_calls", "search_calls", "mode_calls")
        values |= {name: getattr(chain.minimum, name) for name in names}
        values |= _mode_values(chain.minimum, "")
        if chain.minimum.lowest_mode is not None:
            values["lowest_mode"] = chain.minimum.lowest_mode
    if np.isfinite(contact):
        values["head_tail_contact"] = contact
    return values


def _mode_values(minimum: MinimumResult, prefix: str) -> dict[str, Value]:
    values: dict[str, Value] = {f"{prefix}evaluations": minimum.evaluations}
    if minimum.others is not None:
        values[f"{prefix}other_minima"] = "; ".join(f"{energy:+.4f}" for energy in minimum.others * EV_TO_KCAL)
    if minimum.lowest_eigenvalue is not None:
        lowest = minimum.lowest_eigenvalue
        values |= {f"{prefix}lowest_eigenvalue": lowest, f"{prefix}saddle": lowest < SADDLE}
    return values


def _methyl_values(structure: Structure) -> dict[str, Value]:
    """Angles of the methyls of every unit, and the rotamers nearest to them."""
    units = [structure.positions[structure.atoms_of(unit)] for unit in structure.units]
    angles = np.array([methyl_angles(unit) for unit in units])
    rotamers = [str(rotamer_of(unit) or "between rotamers") for unit in units]
    return {"acetyl_angle": angles[:, 0], "amine_angle": angles[:, 1], "unit_rotamers": "; ".join(rotamers)}


def _hbond_values(chain: ComputedStructure, dimers: Sequence[ComputedStructure], length: int) -> dict[str, Value]:
    bonds = [
        hbond_cooperativity(chain.structure, chain.energies, bond, dimer.structure, dimer.energies)
        for bond, dimer in enumerate(dimers, 1)
    ]
    per_bond = energy_values(bonds) | _geometry_values(hbond_geometry(chain.structure))
    at = [position_of(position, length) - 1 for position in POSITIONS]
    values: dict[str, Value] = {name: array[at] for name, array in per_bond.items() if name not in ("phi1", "phi2")}
    values |= {name if name in ("phi1", "phi2") else f"hbond_{name}": array for name, array in per_bond.items()}
    values["fragment_energy"] = np.array([bond.points for bond in bonds])
    if bonds[0].atoms is not None:
        values["atomic_cooperative_energy"] = np.array([bond.atoms for bond in bonds])
    return values


def _geometry_values(geometry: HBondGeometry) -> dict[str, FloatArray]:
    return {name: getattr(geometry, name) for name in ("distance_on", "distance_oh", "angle", "phi1", "phi2")}


def _dimer_values(dimer: ComputedStructure) -> dict[str, Value]:
    energies, geometry = dimer.energies, hbond_geometry(dimer.structure)
    interaction = energies.energy((0, 1)) - energies.energy((0,)) - energies.energy((1,))
    values: dict[str, Value] = {
        "dimer_energy": energies.energy((0, 1)),
        "dimer_interaction_energy": interaction * EV_TO_KCAL,
        "dimer_distance_on": geometry.distance_on[0],
        "dimer_distance_oh": geometry.distance_oh[0],
        "dimer_angle": geometry.angle[0],
        "dimer_positions": dimer.structure.positions,
    }
    if dimer.minimum is not None:
        values |= {f"dimer_{name}": getattr(dimer.minimum, name) for name in ("max_force", "rms_force")}
        values |= _mode_values(dimer.minimum, "dimer_")
    return values
