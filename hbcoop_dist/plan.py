"""From a campaign spec to a plan: cells, tasks and edges as data, every shared task once, grouped into batches.

Nothing is computed and nothing is loaded here; a plan can be made, printed and counted on a machine without any MLFF
package.  A model that cannot run is skipped with its reason, never silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hbcoop_dist.campaign import CampaignSpec, Cell, cells_of
from hbcoop_dist.models import checkpoints, registry
from hbcoop_dist.models.base import ModelError
from hbcoop_dist.reference import ReferenceSet, ReferenceSetError, read_reference_set
from hbcoop_dist.structures import Structure, System
from hbcoop_dist.structures.build import build
from hbcoop_dist.structures.fragments import distinct_fragments
from hbcoop_dist.tasks import LADDER, WHOLE_HESSIAN, Batch, ModelSource, Task, energies_key, minimise_key

if TYPE_CHECKING:
    from hbcoop_dist.structures.fragments import Molecules

BATCH_ATOMS = 500


@dataclass(frozen=True, slots=True)
class Parts:
    """The tasks one complex is made of: its minimisation (None for a given geometry) and its fragment energies."""

    system: System
    minimise: str | None
    energies: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return self.energies if self.minimise is None else (self.minimise, *self.energies)


@dataclass(frozen=True, slots=True)
class CellTasks:
    """What a cell needs: the complex itself and the isolated dimer of every H-bond."""

    complex: Parts
    dimers: tuple[Parts, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Every task key, each once."""
        parts = (self.complex, *self.dimers)
        return tuple(dict.fromkeys(key for part in parts for key in part.keys))


@dataclass(frozen=True, slots=True)
class Plan:
    """A campaign ready to run.

    Attributes
    ----------
    spec : CampaignSpec
    cells : tuple of Cell
        Every cell asked for, skipped ones included.
    sources : mapping of str to ModelSource
        The models that will run.
    skipped : mapping of Cell to str
        Cells that will not run, and why.
    tasks : mapping of str to Task
        Every distinct task by key, inputs before what needs them.
    batches : tuple of Batch
    cell_tasks : mapping of Cell to CellTasks
    """

    spec: CampaignSpec
    cells: tuple[Cell, ...]
    sources: Mapping[str, ModelSource]
    skipped: Mapping[Cell, str]
    tasks: Mapping[str, Task] = field(repr=False)
    batches: tuple[Batch, ...] = field(repr=False)
    cell_tasks: Mapping[Cell, CellTasks] = field(repr=False)

    def __str__(self) -> str:
        from hbcoop_dist.describe_plan import describe

        return describe(self)


def plan(spec: CampaignSpec) -> Plan:
    """Expand a campaign into its plan.

    Parameters
    ----------
    spec : CampaignSpec
        From `load_campaign`.

    Returns
    -------
    Plan

    Raises
    ------
    ReferenceSetError
        When a reference set of geometries cannot be read, or holds nothing that a cell asks for.
    ModelError
        When a checkpoint named in the spec is not there, or is not what it should be.
    """
    cells = cells_of(spec)
    sources, absent = _sources(spec)
    references = {
        label: read_reference_set(folder)
        for label, folder in zip(spec.geometry_labels, spec.geometry, strict=True)
        if label != "own"
    }
    draft = _Draft(spec, references)
    cell_tasks: dict[Cell, CellTasks] = {}
    skipped: dict[Cell, str] = {}
    for cell in cells:
        if cell.model in absent:
            skipped[cell] = absent[cell.model]
        elif reason := draft.missing_geometry(cell):
            skipped[cell] = reason
        else:
            cell_tasks[cell] = draft.cell(sources[cell.model], cell)
    for label in references:
        asked = [cell for cell in cells if cell.geometry == label and cell.model not in absent]
        if asked and all(cell in skipped for cell in asked):
            raise ReferenceSetError("; ".join(dict.fromkeys(skipped[cell] for cell in asked)))
    batches = tuple(_batches(draft.tasks.values(), sources))
    return Plan(spec, cells, sources, skipped, draft.tasks, batches, cell_tasks)


def _sources(spec: CampaignSpec) -> tuple[dict[str, ModelSource], dict[str, str]]:
    sources: dict[str, ModelSource] = {}
    absent: dict[str, str] = {}
    for entry in spec.models:
        card = entry.card()
        usable = registry.available(card, entry.checkpoint)
        if not usable.ok:
            if entry.checkpoint is not None:
                raise ModelError(usable.reason)
            absent[entry.name] = usable.reason
            continue
        path = None
        if card.checkpoint is not None or entry.checkpoint is not None:
            path = str(checkpoints.find(card, entry.checkpoint).path)
        sources[entry.name] = ModelSource(card, checkpoints.identity(card, entry.checkpoint), path)
    return sources, absent


class _Draft:
    """Tasks gathered so far while a plan is drawn up; equal keys fall together."""

    def __init__(self, spec: CampaignSpec, references: Mapping[str, ReferenceSet]) -> None:
        self.spec = spec
        self.references = references
        self.tasks: dict[str, Task] = {}

    def missing_geometry(self, cell: Cell) -> str:
        """Why a cell has no geometry in its reference set; empty when it has, or needs none."""
        if cell.geometry == "own":
            return ""
        missing = self.references[cell.geometry].missing(cell.system)
        return f"reference set {cell.geometry} has no {missing}" if missing else ""

    def cell(self, source: ModelSource, cell: Cell) -> CellTasks:
        complex_parts = self.parts(source, cell.system, cell.geometry)
        dimers = [cell.system.dimer(bond) for bond in range(1, cell.length)]
        return CellTasks(complex_parts, tuple(self.parts(source, dimer, cell.geometry) for dimer in dimers))

    def parts(self, source: ModelSource, system: System, geometry: str) -> Parts:
        if geometry == "own":
            place: str | Structure = self.minimisation(source, system)
        else:
            place = self.references[geometry].structure(system)
        pieces: list[tuple[Molecules, ...] | None] = [None]
        if source.card.single_point_cost == "minutes":
            pieces = [(molecules,) for molecules in distinct_fragments(build(system))]
        keys: list[str] = []
        for fragments in pieces:
            key = energies_key(source, place, fragments)
            given = place if isinstance(place, Structure) else None
            self._add(
                Task(
                    key,
                    "energies",
                    source.card.name,
                    system,
                    geometry=place if isinstance(place, str) else None,
                    given=given,
                    fragments=fragments,
                )
            )
            keys.append(key)
        return Parts(system, place if isinstance(place, str) else None, tuple(keys))

    def minimisation(self, source: ModelSource, system: System) -> str:
        key = minimise_key(source, "minimise", system, self.spec.minimize)
        if key in self.tasks:
            return key
        monomers = tuple(self.monomer(source, System((), (rotamer,))) for rotamer in system.rotamers)
        seeds = tuple((self.minimisation(source, seed), seed) for seed in _seeds(system))
        return self._add(Task(key, "minimise", source.card.name, system, monomers=monomers, seeds=seeds))

    def monomer(self, source: ModelSource, system: System) -> str:
        key = minimise_key(source, "monomer", system, self.spec.minimize)
        return self._add(Task(key, "monomer", source.card.name, system))

    def _add(self, task: Task) -> str:
        self.tasks.setdefault(task.key, task)
        return task.key


def _seeds(system: System) -> tuple[System, ...]:
    """Shorter chains a chain starts from, shortest first: its isolated dimers and the two next rungs of the ladder.

    The ladder goes to `LADDER` units whatever lengths were asked for, so a result never depends on the other lengths of
    a spec; beyond it no length waits for another.  Two rungs, because the tail of a linear chain alternates.
    """
    if system.length == 2 and system.capping == "none":
        return ()
    dimers = [system.dimer(bond) for bond in range(1, system.length)]
    top = min(system.length - 1, LADDER)
    lengths = sorted({top - 1, top, *range(WHOLE_HESSIAN - 1, min(top, WHOLE_HESSIAN) + 1)})
    rungs = [system.prefix(length) for length in lengths if 2 <= length <= top]
    return tuple(seed for seed in dict.fromkeys((*dimers, *rungs)) if seed != system)


def _batches(tasks: Iterable[Task], sources: Mapping[str, ModelSource]) -> Iterable[Batch]:
    """Group tasks of one model and one stage; an energies task rides with the minimisation it needs."""
    riders: dict[str, list[Task]] = {}
    stages: dict[tuple[str, int], list[list[Task]]] = {}
    for task in tasks:
        slow = sources[task.model].card.single_point_cost == "minutes"
        if task.kind == "energies" and task.geometry is not None and not slow:
            riders.setdefault(task.geometry, []).append(task)
    for task in tasks:
        slow = sources[task.model].card.single_point_cost == "minutes"
        if task.kind == "energies" and task.geometry is not None and not slow:
            continue
        stages.setdefault((task.model, _stage(task)), []).append([task, *riders.get(task.key, [])])
    order = list(sources)
    for (model, stage), units in sorted(stages.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        card = sources[model].card
        limit = BATCH_ATOMS if card.batched and card.single_point_cost == "fast" else 0
        name = _STAGES.get(stage, f"{stage} units")
        for number, group in enumerate(_fill(units, limit), 1):
            yield Batch(f"{model} {name} {number}", model, tuple(task for unit in group for task in unit))


_MONOMERS, _DIMERS, _LONGER, _ENERGIES = 0, 1, LADDER + 1, LADDER + 2
_STAGES = {_MONOMERS: "monomers", _DIMERS: "dimers", _LONGER: "longer", _ENERGIES: "energies"}


def _stage(task: Task) -> int:
    """Stages follow one another: a rung of the ladder needs the rungs below it, capped or bare."""
    if task.kind == "monomer":
        return _MONOMERS
    if task.kind == "energies":
        return _ENERGIES
    return min(task.system.length, _LONGER) if task.seeds else _DIMERS


def _fill(units: list[list[Task]], limit: int) -> list[list[list[Task]]]:
    groups: list[list[list[Task]]] = []
    filled = limit + 1
    for unit in units:
        atoms = unit[0].system.n_atoms
        if filled + atoms > limit:
            groups.append([])
            filled = 0
        groups[-1].append(unit)
        filled += atoms
    return groups
