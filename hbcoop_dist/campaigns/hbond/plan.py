"""From a campaign spec to a plan: cells, tasks and edges as data, every shared task once, grouped into batches.

Nothing is computed and nothing is loaded here; a plan can be made, printed and counted on a machine without any MLFF
package.  A model that cannot run is skipped with its reason, never silently.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from hbcoop_dist.campaigns.complexes.reading import read_complexes
from hbcoop_dist.campaigns.complexes.tasks import ComplexCell, ComplexTasks, complex_batches, complex_tasks, unsuitable
from hbcoop_dist.campaigns.hbond.rotamer_search import Chosen
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec, Cell, Minimize, cells_of
from hbcoop_dist.campaigns.hbond.task_graph import Group, Outline, PartSteps, group, lent_key, outline, tasks_of
from hbcoop_dist.core.tasks import Batch, Task
from hbcoop_dist.models.base import ModelCard
from hbcoop_dist.models.sources import ModelSource, find_source
from hbcoop_dist.references import ReferenceSet, ReferenceSetError, bundled_geometry, read_reference_set
from hbcoop_dist.structures import Chain

BATCH_ATOMS = {"cpu": 500, "cuda": 5000}
"""Atoms of the tasks that a worker is given at a time, by device.

How many of them go into one call of the model is the worker's business (`engine.BatchSize`); a GPU has to be kept busy
with more than a core can use."""
_NO_ROTAMERS = "no rotamers give this model a minimum of every dimer and trimer of the chain"


@dataclass(frozen=True, slots=True)
class Parts:
    """The tasks one complex of a model is made of: its minimisation (None for a given geometry) and fragment energies.

    Models that weight the same parts of an energy differ here by their name alone.
    """

    system: Chain
    minimise: str | None
    energies: tuple[str, ...]
    model: str

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
    questions : mapping of Cell to tuple of str
        Cells whose rotamers are chosen by energy and still open: keys of the candidates that decide.  Once those have
        results, `plan` is asked again with what was `chosen`.
    systems : mapping of ComplexCell to ComplexTasks
        Every model and marked system that will run.
    skipped_systems : mapping of ComplexCell to str
        Those that will not, and why.
    device : str
    elsewhere : frozenset of str
        As they were given to `plan`.
    """

    spec: CampaignSpec
    cells: tuple[Cell, ...]
    sources: Mapping[str, ModelSource]
    skipped: Mapping[Cell, str]
    tasks: Mapping[str, Task] = field(repr=False)
    batches: tuple[Batch, ...] = field(repr=False)
    cell_tasks: Mapping[Cell, CellTasks] = field(repr=False)
    questions: Mapping[Cell, tuple[str, ...]] = field(repr=False)
    systems: Mapping[ComplexCell, ComplexTasks] = field(repr=False)
    skipped_systems: Mapping[ComplexCell, str] = field(repr=False)
    device: str = "cpu"
    elsewhere: frozenset[str] = frozenset()

    def __str__(self) -> str:
        from hbcoop_dist.campaigns.hbond.plan_summary import describe

        return describe(self)


def plan(
    spec: CampaignSpec,
    chosen: Chosen = MappingProxyType({}),
    *,
    device: str = "cpu",
    elsewhere: Collection[str] = (),
) -> Plan:
    """Expand a campaign into its plan.

    Parameters
    ----------
    spec : CampaignSpec
        From `load_campaign`.
    chosen : mapping of (str, tuple of str) to tuple of Rotamer, or None
        Rotamers chosen by energy so far, by model and conformers of the chain.
    device : str
        What the workers run on, ``cpu`` or ``cuda``: decides how large batches are, and no result.
    elsewhere : collection of str
        Environments that workers have in a Python of their own: nothing is looked for in this one.

    Returns
    -------
    Plan

    Raises
    ------
    ReferenceSetError
        When a reference set of geometries cannot be read, or holds nothing that a cell asks for.
    ModelError
        When a checkpoint named in the spec is not there, or is not what it should be.
    ComplexError
        When the file of a marked system cannot be read, or A and B are not atoms of it.
    """
    cells = tuple(_decided(cell, chosen) for cell in cells_of(spec))
    sources, absent = _sources(spec, elsewhere)
    references = _reference_sets(spec)
    grid = cells[: len(cells) // len(spec.models)]
    lenders = {name: absent.get(name, "") for name in spec.lenders}
    draft = _Draft(_Outlines(spec.minimize, references, lenders, chosen, device), sources)
    skipped: dict[Cell, str] = {}
    for first in range(0, len(cells), len(grid) or 1):
        own = cells[first : first + len(grid)]
        if (model := own[0].model) in absent:
            skipped.update(dict.fromkeys(own, absent[model]))
        else:
            skipped.update(draft.add(sources[model], own))
    if sources:
        _refuse_unused(references, grid, draft.missing)
    systems, skipped_systems = _systems(spec, sources, absent)
    for tasks in systems.values():
        draft.tasks.update((task.key, task) for task in tasks.tasks)
    draft.batches += complex_batches(list(systems.items()))
    return Plan(
        spec,
        cells,
        sources,
        skipped,
        draft.tasks,
        tuple(draft.batches),
        draft.cell_tasks,
        draft.questions,
        systems,
        skipped_systems,
        device,
        frozenset(elsewhere),
    )


def _decided(cell: Cell, chosen: Chosen) -> Cell:
    """The cell with the rotamers that were chosen for it."""
    rotamers = chosen.get((cell.model, cell.system.conformers)) if cell.by_energy else None
    return cell if rotamers is None else replace(cell, system=replace(cell.system, rotamers=rotamers))


def _reference_sets(spec: CampaignSpec) -> dict[str, ReferenceSet]:
    """Sets of geometries by label; the name of a bundled one stands for nothing else, in any store."""
    found = {}
    for label, folder in zip(spec.geometry_labels, spec.geometry, strict=True):
        bundled = bundled_geometry(label)
        if bundled is not None and (folder != label or label in spec.lenders):
            raise ReferenceSetError(
                f"geometry {folder}: expected another name than {label}, that of a set that comes with the package, "
                f"found a {'model' if label in spec.lenders else 'folder'} called so"
            )
        if label != "own" and label not in spec.lenders:
            found[label] = read_reference_set(bundled or folder)
    return found


def _refuse_unused(references: Iterable[str], grid: Sequence[Cell], missing: Mapping[int, str]) -> None:
    """A reference set that holds nothing that is asked for is a mistake, not a plan without cells."""
    for label in references:
        reasons = [missing.get(place, "") for place, cell in enumerate(grid) if cell.geometry == label]
        if all(reasons):
            raise ReferenceSetError("; ".join(dict.fromkeys(reasons)))


def _sources(spec: CampaignSpec, elsewhere: Collection[str]) -> tuple[dict[str, ModelSource], dict[str, str]]:
    sources: dict[str, ModelSource] = {}
    absent: dict[str, str] = {}
    for entry in spec.models:
        found = find_source(entry.card(), entry.checkpoint, elsewhere)
        if isinstance(found, str):
            absent[entry.name] = found
        else:
            sources[entry.name] = found
    return sources, absent


def _systems(
    spec: CampaignSpec, sources: Mapping[str, ModelSource], absent: Mapping[str, str]
) -> tuple[dict[ComplexCell, ComplexTasks], dict[ComplexCell, str]]:
    found: dict[ComplexCell, ComplexTasks] = {}
    skipped: dict[ComplexCell, str] = {}
    marked = read_complexes(spec.systems)
    for entry in spec.models:
        for system in marked:
            cell = ComplexCell(entry.name, system)
            if entry.name in absent:
                skipped[cell] = absent[entry.name]
            elif why := unsuitable(sources[entry.name].card, system):
                skipped[cell] = why
            else:
                found[cell] = complex_tasks(sources[entry.name], system, spec.minimize)
    return found, skipped


class _Outlines:
    """Outlines and their batches, each made once; all models share one unless their rotamers were chosen by energy."""

    def __init__(
        self,
        minimize: Minimize,
        references: Mapping[str, ReferenceSet],
        lenders: Mapping[str, str],
        chosen: Chosen,
        device: str,
    ) -> None:
        self._minimize, self._references, self._lenders = minimize, references, lenders
        self._chosen, self._device = chosen, device
        self._outlines: dict[object, Outline] = {}
        self._groups: dict[object, tuple[Group, ...]] = {}

    def of(self, card: ModelCard, cells: Sequence[Cell]) -> tuple[Outline, tuple[Group, ...]]:
        """What a model does, and in which batches."""
        # A model whose single points take minutes gets one task per fragment.
        slow = card.abilities.single_point_cost == "minutes"
        kind = self._device.partition(":")[0] if card.needs.gpu else "cpu"
        limit = BATCH_ATOMS[kind] if card.abilities.batched and not slow else 0
        own = tuple(cell.system for cell in cells if cell.by_energy)
        undecided = {
            place: "" if (cell.model, cell.system.conformers) not in self._chosen else _NO_ROTAMERS
            for place, cell in enumerate(cells)
            if cell.by_energy and self._chosen.get((cell.model, cell.system.conformers)) is None
        }
        which = (slow, card.abilities.forces, own, tuple(undecided.items()))
        if which not in self._outlines:
            self._outlines[which] = outline(
                cells, self._minimize, self._references, slow, undecided, self._lenders, card.abilities.forces
            )
        if (which, limit) not in self._groups:
            self._groups[which, limit] = group(self._outlines[which], limit)
        return self._outlines[which], self._groups[which, limit]


class _Draft:
    """A plan as it is drawn up, model by model; equal keys fall together."""

    def __init__(self, outlines: _Outlines, sources: Mapping[str, ModelSource]) -> None:
        self._outlines, self._sources = outlines, sources
        self.missing: Mapping[int, str] = {}
        self.tasks: dict[str, Task] = {}
        self.batches: list[Batch] = []
        self.cell_tasks: dict[Cell, CellTasks] = {}
        self.questions: dict[Cell, tuple[str, ...]] = {}

    def add(self, source: ModelSource, cells: Sequence[Cell]) -> dict[Cell, str]:
        """Tasks, batches and cells of one model; what is skipped, and why."""
        drawn, batches = self._outlines.of(source.card, cells)
        self.missing = drawn.missing
        tasks = tasks_of(drawn, source, self._sources)
        new = {task.key for task in tasks if task.key not in self.tasks}
        self.tasks.update((task.key, task) for task in tasks if task.key in new)
        for name, steps in batches:
            members = tuple(tasks[step] for step in steps if tasks[step].key in new)
            # a model at its own minima, asked for by its name, does nothing twice
            new -= {task.key for task in members}
            if members:
                self.batches.append(Batch(f"{source.card.name} {name}", source.card.name, members))
        parts = [
            Parts(
                one.system,
                self._minimised(one, tasks),
                tuple(tasks[step].key for step in one.energies),
                source.card.name,
            )
            for one in drawn.parts
        ]
        for place, (whole, dimers) in drawn.cells.items():
            self.cell_tasks[cells[place]] = CellTasks(parts[whole], tuple(parts[dimer] for dimer in dimers))
        for place, steps in drawn.questions.items():
            self.questions[cells[place]] = tuple(tasks[step].key for step in steps)
        return {cells[place]: reason for place, reason in drawn.missing.items()}

    def _minimised(self, part: PartSteps, tasks: Sequence[Task]) -> str | None:
        if part.lent is not None:
            return lent_key(part.lent, self._sources)
        return None if part.minimise is None else tasks[part.minimise].key
