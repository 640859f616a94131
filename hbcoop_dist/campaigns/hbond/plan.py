"""Plan of a hydrogen-bond campaign: cells, tasks and batches as data, every shared task once.

Nothing is computed or loaded here: a plan can be made and printed on a machine without any MLFF package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

from hbcoop_dist.campaigns.hbond.rotamer_search import ChosenRotamers, lowest_rotamers
from hbcoop_dist.campaigns.hbond.spec import Cell, HBondSpec, Minimize, cells_of
from hbcoop_dist.campaigns.hbond.task_graph import (
    CandidateResult,
    ChainTask,
    NodeGroup,
    StructureNodes,
    TaskGraph,
    group_nodes,
    make_task_graph,
    model_minimum_key,
    tasks_of,
)
from hbcoop_dist.campaigns.kind import Plan
from hbcoop_dist.campaigns.model_tasks import find_sources
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Batch
from hbcoop_dist.models.base import ModelCard
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.constraints import Constraint
from hbcoop_dist.references import ReferenceSet, ReferenceSetError, bundled_geometry, read_reference_set
from hbcoop_dist.structures import Chain
from hbcoop_dist.structures.monomers import build
from hbcoop_dist.structures.structure import distinct_fragments

BATCH_ATOMS = {"cpu": 500, "cuda": 5000}
"""Atoms of the tasks that a worker gets at a time, by device.

How many of them go into one call of the model is decided by the worker (`models.batching.BatchSize`)."""

_NO_ROTAMERS = "no rotamers give this model a minimum of every dimer and trimer of the chain"


@dataclass(frozen=True, slots=True)
class StructureTasks:
    """Tasks of one chain or isolated dimer of a model.

    Attributes
    ----------
    chain : Chain
    minimise : str or None
        Key of its minimisation; None for a given geometry.
    energies : tuple of str
        Keys of its fragment energies.
    model : str
        Models whose energies differ only in the weights of their parts share the keys.
    """

    chain: Chain
    minimise: str | None
    energies: tuple[str, ...]
    model: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Every task key."""
        return self.energies if self.minimise is None else (self.minimise, *self.energies)


@dataclass(frozen=True, slots=True)
class ChainCellTasks:
    """Tasks of a cell: those of the chain, and of the isolated dimer of every H-bond."""

    chain: StructureTasks
    dimers: tuple[StructureTasks, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Every task key, each once."""
        return tuple(dict.fromkeys(key for tasks in (self.chain, *self.dimers) for key in tasks.keys))

    @property
    def final_key(self) -> str:
        """Key of the last fragment energies of the chain."""
        return self.chain.energies[-1]


HBondPlan = Plan[HBondSpec, Cell, ChainTask, ChainCellTasks]


def make_plan(
    spec: HBondSpec,
    chosen: ChosenRotamers = MappingProxyType({}),
    *,
    device: str = "cpu",
    elsewhere: Collection[str] = (),
) -> HBondPlan:
    """Expand a campaign into its plan.

    Parameters
    ----------
    spec : HBondSpec
    chosen : mapping of (str, str, tuple of str) to tuple of Rotamer, or None
        Rotamers chosen by energy so far, by model, constraint and conformers of the chain.
    device : str
        Device of the workers, ``cpu`` or ``cuda``.
    elsewhere : collection of str
        Environments that workers have in a Python of their own.

    Raises
    ------
    ReferenceSetError
        When a reference set of geometries cannot be read, or holds no chain that a cell requests.
    ModelError
        When a checkpoint that the spec names does not exist, or is not what it should be.
    """
    cells = tuple(_with_rotamers(cell, chosen) for cell in cells_of(spec))
    sources, absent = find_sources(spec.models, elsewhere)
    references = _reference_sets(spec)
    grid = cells[: len(cells) // len(spec.models)]
    geometry_models = {name: absent.get(name, "") for name in spec.geometry_models}
    builder = _PlanBuilder(_Graphs(spec.minimize, references, geometry_models, chosen, device), sources)
    skipped: dict[Cell, str] = {}
    for first in range(0, len(cells), len(grid)):
        own = cells[first : first + len(grid)]
        if (model := own[0].model) in absent:
            skipped.update(dict.fromkeys(own, absent[model]))
        else:
            skipped.update(builder.add_model(sources[model], own))
    if sources:
        _refuse_unused(references, grid, builder.missing)
    return Plan(
        spec,
        cells,
        sources,
        skipped,
        builder.tasks,
        tuple(builder.batches),
        builder.cell_tasks,
        builder.undecided,
        device,
        frozenset(elsewhere),
    )


def _with_rotamers(cell: Cell, chosen: ChosenRotamers) -> Cell:
    rotamers = chosen.get((cell.model, cell.constraint, cell.chain.conformers)) if cell.by_energy else None
    return cell if rotamers is None else replace(cell, chain=replace(cell.chain, rotamers=rotamers))


def _reference_sets(spec: HBondSpec) -> dict[str, ReferenceSet]:
    """Read the reference sets by label; the name of a bundled set means that set in every store."""
    sets = {}
    for label, folder in zip(spec.geometry_labels, spec.geometry, strict=True):
        bundled = bundled_geometry(label)
        if bundled is not None and (folder != label or label in spec.geometry_models):
            raise ReferenceSetError(
                f"geometry {folder}: expected another name than {label}, that of a set that comes with the package, "
                f"found a {'model' if label in spec.geometry_models else 'folder'} called so"
            )
        if label != "own" and label not in spec.geometry_models:
            sets[label] = read_reference_set(bundled or folder)
    return sets


def _refuse_unused(references: Iterable[str], grid: Sequence[Cell], missing: Mapping[int, str]) -> None:
    """Raise `ReferenceSetError` when a set holds no geometry of any cell: that is a mistake, not an empty plan."""
    for label in references:
        reasons = [missing.get(position, "") for position, cell in enumerate(grid) if cell.geometry == label]
        if all(reasons):
            raise ReferenceSetError("; ".join(dict.fromkeys(reasons)))


class _Graphs:
    """Task graphs and their batches, each made once; models share one unless their rotamers were chosen by energy."""

    def __init__(
        self,
        minimize: Minimize,
        references: Mapping[str, ReferenceSet],
        geometry_models: Mapping[str, str],
        chosen: ChosenRotamers,
        device: str,
    ) -> None:
        self._minimize, self._references, self._geometry_models = minimize, references, geometry_models
        self._chosen, self._device = chosen, device
        self._graphs: dict[object, TaskGraph] = {}
        self._groups: dict[object, tuple[NodeGroup, ...]] = {}

    def of(self, card: ModelCard, cells: Sequence[Cell]) -> tuple[TaskGraph, tuple[NodeGroup, ...]]:
        """Return the task graph of a model, and its batches."""
        # a model whose single points take minutes gets one task per fragment
        slow = card.abilities.single_point_cost == "minutes"
        device = self._device.partition(":")[0] if card.needs.gpu else "cpu"
        limit = BATCH_ATOMS[device] if card.abilities.batched and not slow else 0
        own = tuple(cell.chain for cell in cells if cell.by_energy)
        undecided = {
            position: "" if (cell.model, cell.constraint, cell.chain.conformers) not in self._chosen else _NO_ROTAMERS
            for position, cell in enumerate(cells)
            if cell.by_energy and self._chosen.get((cell.model, cell.constraint, cell.chain.conformers)) is None
        }
        which = (slow, card.abilities.forces, own, tuple(undecided.items()))
        if which not in self._graphs:
            self._graphs[which] = make_task_graph(
                cells, self._minimize, self._references, slow, undecided, self._geometry_models, card.abilities.forces
            )
        if (which, limit) not in self._groups:
            self._groups[which, limit] = group_nodes(self._graphs[which], limit)
        return self._graphs[which], self._groups[which, limit]


class _PlanBuilder:
    """Builds a plan model by model; tasks of equal keys are one."""

    def __init__(self, graphs: _Graphs, sources: Mapping[str, ModelSource]) -> None:
        self._graphs, self._sources = graphs, sources
        self.missing: Mapping[int, str] = {}
        self.tasks: dict[str, ChainTask] = {}
        self.batches: list[Batch[ChainTask]] = []
        self.cell_tasks: dict[Cell, ChainCellTasks] = {}
        self.undecided: dict[Cell, tuple[str, ...]] = {}

    def add_model(self, source: ModelSource, cells: Sequence[Cell]) -> dict[Cell, str]:
        """Add tasks, batches and cells of one model; return the cells that are skipped, with the reason."""
        graph, groups = self._graphs.of(source.card, cells)
        self.missing = graph.missing
        tasks = tasks_of(graph, source, self._sources)
        new = {task.key for task in tasks if task.key not in self.tasks}
        self.tasks.update((task.key, task) for task in tasks if task.key in new)
        for name, positions in groups:
            members = tuple(tasks[position] for position in positions if tasks[position].key in new)
            # a model at its own minima that is named as a geometry too must not get its tasks twice
            new -= {task.key for task in members}
            if members:
                self.batches.append(Batch(f"{source.card.name} {name}", source.card.name, members))
        structures = [
            StructureTasks(
                nodes.chain,
                self._minimisation_key(nodes, tasks),
                tuple(tasks[position].key for position in nodes.energies),
                source.card.name,
            )
            for nodes in graph.structures
        ]
        for position, (chain, dimers) in graph.cells.items():
            self.cell_tasks[cells[position]] = ChainCellTasks(
                structures[chain], tuple(structures[dimer] for dimer in dimers)
            )
        for position, candidates in graph.undecided.items():
            self.undecided[cells[position]] = tuple(tasks[candidate].key for candidate in candidates)
        return {cells[position]: reason for position, reason in graph.missing.items()}

    def _minimisation_key(self, nodes: StructureNodes, tasks: Sequence[ChainTask]) -> str | None:
        if nodes.model_minimum is not None:
            return model_minimum_key(nodes.model_minimum, self._sources)
        return None if nodes.minimise is None else tasks[nodes.minimise].key


def choose_rotamers(plan: HBondPlan, results: Callable[[str], TaskResult[Any] | None]) -> ChosenRotamers:
    """Choose the lowest rotamers of every undecided cell whose candidates all have results.

    A candidate without a result leaves the cell undecided, since a choice must not depend on what failed. A candidate
    that broke or did not converge has no minimum and is no choice.

    Parameters
    ----------
    plan : Plan
    results : callable
        From the key of a task to its result; None where it has none, or failed.
    """
    chosen: dict[tuple[str, Constraint, tuple[Any, ...]], Any] = {}
    for cell, keys in plan.undecided.items():
        place = (cell.model, cell.constraint, cell.chain.conformers)
        if place in chosen:
            continue
        candidates = {key: result for key in keys if (result := results(key)) is not None}
        if len(candidates) == len(keys):
            energies = {}
            for key, result in candidates.items():
                if result.status == "done":
                    assert isinstance(result.payload, CandidateResult)
                    energies[plan.tasks[key].chain] = result.payload.energy
            chosen[place] = lowest_rotamers(cell.chain.conformers, energies)
    return chosen


def single_points(plan: HBondPlan) -> dict[str, int]:
    """Count the distinct single points of every model: fragments of each distinct geometry."""
    counts: Counter[str] = Counter()
    # thousands of models share a chain, and its fragments do not depend on its geometry
    fragments = cache(lambda chain: len(distinct_fragments(build(chain))))
    for task in plan.tasks.values():
        if task.kind == "energies":
            counts[task.model] += fragments(task.chain) if task.fragments is None else len(task.fragments)
    return dict(counts)


def describe_plan(plan: HBondPlan) -> str:
    """Describe a plan, one line per model and reason."""
    # a model that shares every task with another has none of its own
    points = Counter(single_points(plan))
    loop = Counter[str]()
    for cell in plan.cell_tasks:
        # ten points for each H-bond: Eq. 1 and its electronic part
        loop[cell.model] += 10 * (cell.length - 1)
    minimisations = Counter(task.model for task in plan.tasks.values() if task.kind == "minimise")
    candidates = Counter(task.model for task in plan.tasks.values() if task.kind == "candidate")
    undecided = Counter(cell.model for cell in plan.undecided)
    batches = Counter(batch.model for batch in plan.batches)
    running = Counter(cell.model for cell in plan.cell_tasks)
    skipped: dict[str, Counter[str]] = {}
    for cell, reason in plan.skipped.items():
        skipped.setdefault(cell.model, Counter())[reason] += 1
    lines = [plan.headline]
    width = max(len(entry.name) for entry in plan.spec.models)
    for entry in plan.spec.models:
        name = f"  {entry.name:<{width}}  "
        if running[entry.name]:
            lines.append(
                f"{name}{running[entry.name]:4d} cells, {minimisations[entry.name]:4d} minimisations, "
                f"{points[entry.name]:5d} single points (a loop over H-bonds: {loop[entry.name]}), "
                f"{batches[entry.name]:3d} batches"
            )
        if undecided[entry.name]:
            lines.append(
                f"{name}{undecided[entry.name]:4d} cells wait for their rotamers, "
                f"{candidates[entry.name]} short chains decide"
            )
        lines += [f"{name}{count:4d} cells skipped: {reason}" for reason, count in skipped.get(entry.name, {}).items()]
    return "\n".join(lines)
