"""The protocol that every kind of campaign implements, the kinds that are installed, and loading of their specs.

A kind is found by its entry point in the group ``hbcoop_dist.campaign_kinds``, whose value names an instance of a
subclass of `CampaignKind`. Nothing else in the package depends on which kinds exist.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import ValidationError

from hbcoop_dist.campaigns.spec_fields import CampaignError, CampaignSpec
from hbcoop_dist.core.files import find_file
from hbcoop_dist.core.results import Label, Lookup, Record, TaskResult
from hbcoop_dist.core.tasks import Batch, Source, Task
from hbcoop_dist.core.yaml_source import YamlError, place_of, read_mapping
from hbcoop_dist.store.creation import Definitions
from hbcoop_dist.store.schema import Schema

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from hbcoop_dist.analysis.report_content import Report, ReportOptions
    from hbcoop_dist.execution.scheduler import MakeWork
    from hbcoop_dist.optimize.quasi_newton import State
    from hbcoop_dist.store import Journal

ENTRY_POINT_GROUP = "hbcoop_dist.campaign_kinds"
DEFAULT_KIND = "hbond"
"""Kind of a campaign file without the field ``kind``."""

Labels = tuple[Label, ...]
RowLabels = tuple[str, Labels]
"""Name of a table of the store, and the labels of one of its rows."""


class Cell(Protocol):
    """Unit of a campaign: one row of the first table of the store.

    It has an attribute for every label dim of that table. Cells are hashable.
    """

    @property
    def source(self) -> str:
        """Name of the source that computes it."""
        ...

    def __hash__(self) -> int: ...


class CellTasks(Protocol):
    """Tasks that a cell needs."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Every task key, each once."""
        ...

    @property
    def final_key(self) -> str:
        """Key that stands for the cell's result as a whole; the store keeps it."""
        ...


SpecT = TypeVar("SpecT", bound=CampaignSpec)
CellT = TypeVar("CellT", bound=Cell)
TaskT = TypeVar("TaskT", bound=Task)
CellTasksT = TypeVar("CellTasksT", bound=CellTasks)


@dataclass(frozen=True, slots=True)
class Plan(Generic[SpecT, CellT, TaskT, CellTasksT]):
    """A campaign that is ready to run, as data.

    Attributes
    ----------
    spec : CampaignSpec
    cells : tuple of Cell
        Every cell of the campaign, skipped ones included.
    sources : mapping of str to Source
        What runs the batches, by name.
    skipped : mapping of Cell to str
        Cells that will not run, with the reason.
    tasks : mapping of str to Task
        Every distinct task by key, inputs before the tasks that need them.
    batches : tuple of Batch
    cell_tasks : mapping of Cell to CellTasks
    undecided : mapping of Cell to tuple of str
        Cells whose tasks depend on the results of these tasks: `CampaignKind.decide` makes a new plan from them.
    device : str
        ``cpu`` or ``cuda``; decides how large batches are, and no result.
    elsewhere : frozenset of str
        Environments that workers have in a Python of their own.
    """

    spec: SpecT
    cells: tuple[CellT, ...]
    sources: Mapping[str, Source]
    skipped: Mapping[CellT, str]
    tasks: Mapping[str, TaskT] = field(repr=False)
    batches: tuple[Batch[TaskT], ...] = field(repr=False)
    cell_tasks: Mapping[CellT, CellTasksT] = field(repr=False)
    undecided: Mapping[CellT, tuple[str, ...]] = field(default_factory=dict, repr=False)
    device: str = "cpu"
    elsewhere: frozenset[str] = frozenset()

    @property
    def headline(self) -> str:
        """Its name and size, the first line of a description."""
        size = f"{len(self.cells)} cells, {len(self.tasks)} tasks in {len(self.batches)} batches"
        return f"campaign {self.spec.campaign}: {size}"

    def __str__(self) -> str:
        return kind_of(self.spec).describe(self)


AnyPlan = Plan[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between two stores.

    Attributes
    ----------
    lines : tuple of str
    largest : float
        Largest absolute difference of the main quantity; NaN when no cell is done in both.
    unit : str
    """

    lines: tuple[str, ...]
    largest: float
    unit: str


@dataclass(frozen=True, slots=True)
class Exporter:
    """One format of ``hbcoop export``.

    Attributes
    ----------
    write : callable
        Takes the dataset of a store and the path; returns how much was written, in words.
    content : str
        What the file holds, for the help text.
    """

    write: Callable[[xr.Dataset, Path], str]
    content: str


class CampaignKind(ABC, Generic[SpecT, CellT, TaskT, CellTasksT]):
    """A kind of campaign: spec, plan, work, records, schema, and what is shown of its stores.

    Planning, reading and showing must work without torch; only the work itself may import it, in the worker.

    Attributes
    ----------
    name : str
        Value of the field ``kind`` of a campaign file; the same as the name of the entry point.
    protocol_version : int
        Raised whenever a worker would return another number for the same key; part of every key, and compared when a
        worker starts.
    schema : Schema
        Tables of the store.
    payloads : mapping of str to type
        Dataclasses that occur in results, by name; the journal reads them back.
    spec_class : type
        Class of the specs.
    """

    name: ClassVar[str]
    protocol_version: ClassVar[int]
    schema: ClassVar[Schema]
    payloads: ClassVar[Mapping[str, type]]
    spec_class: type[SpecT]

    @abstractmethod
    def load(self, path: Path) -> SpecT:
        """Read a campaign file; `CampaignError` names file, line, field, what was expected and what was found."""

    def spec_from_json(self, text: str) -> SpecT:
        """Read a spec from the history of a store.

        Raises
        ------
        CampaignError
            When the spec needs something that is not installed here.
        """
        try:
            return self.spec_class.model_validate_json(text)
        except ValidationError as error:
            raise CampaignError(str(error)) from None

    @abstractmethod
    def plan(
        self, spec: SpecT, *, device: str = "cpu", elsewhere: Collection[str] = ()
    ) -> Plan[SpecT, CellT, TaskT, CellTasksT]:
        """Expand a spec into a plan; pure, and the same keys in every process.

        Raises
        ------
        CampaignError, ModelError, ReferenceSetError
            When a file that the spec names is not what it should be.
        """

    def decide(
        self, plan: Plan[SpecT, CellT, TaskT, CellTasksT], results: Callable[[str], TaskResult[Any] | None]
    ) -> Plan[SpecT, CellT, TaskT, CellTasksT]:
        """Return the plan whose undecided cells have tasks, as far as the results decide them.

        Parameters
        ----------
        plan : Plan
        results : callable
            From the key of a task to its result; None where it has none, or failed.
        """
        return plan

    @abstractmethod
    def work(self, plan: Plan[SpecT, CellT, TaskT, CellTasksT], arrays: Path) -> MakeWork:
        """Return the function that makes the work of a batch.

        Parameters
        ----------
        plan : Plan
        arrays : Path
            Folder beside the store for results that are too large for the journal.
        """

    @abstractmethod
    def records(
        self, plan: Plan[SpecT, CellT, TaskT, CellTasksT]
    ) -> Callable[[CellT, Lookup, Container[RowLabels]], list[Record]]:
        """Return the pure function that turns the results of a cell into rows of the store.

        It takes the cell, a lookup of results, and the rows of other tables than the first that are written already
        and need not be made again. The first record it returns is that of the cell.
        """

    def axis_labels(self, plan: Plan[SpecT, CellT, TaskT, CellTasksT]) -> Mapping[str, Sequence[Label]]:
        """Return the labels of the plan along every axis of the schema that is not derived or fixed."""
        return {dim: list(dict.fromkeys(getattr(cell, dim) for cell in plan.cells)) for dim in self.schema.cells.dims}

    def definitions(self, plan: Plan[SpecT, CellT, TaskT, CellTasksT]) -> Definitions:
        """Return the values of static variables that the schema does not compute, by variable and label."""
        return {}

    @abstractmethod
    def requested(self, specs: Sequence[Mapping[str, Any]]) -> Callable[[Labels], bool]:
        """Return whether any of these campaigns requests the cell with these labels.

        Parameters
        ----------
        specs : sequence of mapping
            Specs as plain JSON data: a campaign of an older version, or one whose models are not installed, still asks
            for its cells. One that cannot be read requests nothing.
        """

    def lost_results(
        self, plan: Plan[SpecT, CellT, TaskT, CellTasksT], pending: Collection[str], journal: Journal, arrays: Path
    ) -> set[str]:
        """Return keys of results that the journal has, that `pending` tasks need, and whose files are gone."""
        return set()

    def restart_state(self, result: TaskResult[Any]) -> State | None:
        """Return where a minimisation that did not converge can go on; None when it cannot."""
        return None

    def finish_cell(
        self, plan: Plan[SpecT, CellT, TaskT, CellTasksT], store: Path, cell: CellT, results: Lookup
    ) -> None:
        """Write the files that belong to a cell that is done, beside the store; see `cell_files`."""

    def cell_files(self, store: Path, cell: CellT) -> Collection[Path]:
        """Return the files that `finish_cell` writes; a cell that lacks one is written again from its results."""
        return ()

    def check(self, plan: Plan[SpecT, CellT, TaskT, CellTasksT]) -> None:
        """Try in this process what would otherwise fail on every worker, before any job is submitted."""

    def describe(self, plan: Plan[SpecT, CellT, TaskT, CellTasksT]) -> str:
        """Describe a plan in a few lines."""
        skipped = Counter(plan.skipped.values())
        return "\n".join([plan.headline, *(f"  {count} cells skipped: {why}" for why, count in skipped.items())])

    def estimate(self, plan: Plan[SpecT, CellT, TaskT, CellTasksT], store: Path) -> str:
        """Estimate the cost of a plan from the times in a store."""
        return f"no estimate for campaigns of kind {self.name}"

    def requested_part(self, ds: xr.Dataset) -> xr.Dataset:
        """Return a store without the labels for which no campaign of its history asks."""
        return ds

    def keys_to_retry(self, tasks: CellTasksT, journal: Journal) -> Collection[str]:
        """Return the keys of a cell's tasks whose results do not count when the cell is retried."""
        return tasks.keys

    @property
    def protocol(self) -> str:
        """Name and protocol version, which workers compare with their own."""
        return f"{self.name}={self.protocol_version}"

    def status(self, ds: xr.Dataset) -> Sequence[RenderableType]:
        """Return tables that show how the cells of a store stand and why."""
        from hbcoop_dist.analysis.tables.cells import status_summary

        return status_summary(ds, self.schema)

    def analyse(self, ds: xr.Dataset, against: str | None = None) -> Sequence[RenderableType]:
        """Return the tables of ``hbcoop analyse``.

        Raises
        ------
        ComparisonError
            When the store has nothing to compare with `against`.
        """
        from hbcoop_dist.analysis.tables.cells import cell_table

        return [cell_table(ds, self.schema)]

    def figure(self, ds: xr.Dataset) -> Figure:
        """Draw the figure of ``hbcoop analyse --figure``.

        Raises
        ------
        ComparisonError
            When this kind has none.
        """
        from hbcoop_dist.analysis.reference_levels import ComparisonError

        raise ComparisonError(f"expected a store of a kind that has a figure, found one of kind {self.name}")

    def exporters(self) -> Mapping[str, Exporter]:
        """Return the formats of ``hbcoop export`` by suffix, ``.zip`` excepted, which every kind has."""
        from hbcoop_dist.analysis.tables.cells import export_cells

        return {".csv": Exporter(lambda ds, path: export_cells(ds, self.schema, path), "cells")}

    def compare(
        self, first: xr.Dataset, second: xr.Dataset, pairs: Mapping[str, str] = MappingProxyType({})
    ) -> Comparison:
        """Compare two stores cell by cell.

        Parameters
        ----------
        first, second : xarray.Dataset
        pairs : mapping of str to str
            Labels of the first store's partition axis, and the labels of the second that they are compared with.
        """
        from hbcoop_dist.analysis.tables.cells import compare_cells

        return Comparison(*compare_cells(first, second, self.schema, pairs))

    def report(self, ds: xr.Dataset, options: ReportOptions) -> Report:
        """Build the pages of a report."""
        from hbcoop_dist.analysis.tables.cells import cell_report

        return cell_report(ds, self.schema, options)


AnyKind = CampaignKind[Any, Any, Any, Any]


def kind_names() -> tuple[str, ...]:
    """Return the names of the installed kinds."""
    return tuple(_entry_points())


@cache
def find_kind(name: str) -> AnyKind:
    """Return the kind of a name.

    Raises
    ------
    CampaignError
        When no kind has that name, or its module cannot be imported.
    """
    if name not in (points := _entry_points()):
        raise CampaignError(f"kind: expected one of {', '.join(points)}, found {name}")
    try:
        kind = points[name].load()
    except Exception as error:
        # the module of another distribution may raise anything
        raise CampaignError(f"kind {name} ({points[name].value}): {type(error).__name__}: {error}") from error
    if not isinstance(kind, CampaignKind) or kind.name != name:
        raise CampaignError(
            f"kind {name}: expected {points[name].value} to be a CampaignKind named {name}, found {kind!r}"
        )
    return kind


def kind_of(spec: CampaignSpec) -> AnyKind:
    """Return the kind of a spec."""
    return find_kind(spec.kind)


def refresh_kinds() -> None:
    """Forget which kinds are installed, so that the next call looks again."""
    _entry_points.cache_clear()
    find_kind.cache_clear()


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def load_campaign(name: str | Path) -> CampaignSpec:
    """Load a campaign by path, or by the name of a bundled one (``quickstart``, ``nma``).

    Parameters
    ----------
    name : str or Path

    Returns
    -------
    CampaignSpec
        Of the class that belongs to its kind.

    Raises
    ------
    CampaignError
        When there is no such file, it is not YAML, its kind is not installed, or a field is wrong.
    """
    try:
        path = find_file(name, "campaigns")
        kind = read_mapping(path).content.get("kind", DEFAULT_KIND)
    except (FileNotFoundError, YamlError) as error:
        raise CampaignError(str(error)) from None
    try:
        found = find_kind(str(kind))
    except CampaignError as error:
        raise CampaignError(f"{place_of(path, 'kind')}: {error}") from None
    spec: CampaignSpec = found.load(path)
    return spec


def plan(spec: CampaignSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> AnyPlan:
    """Expand a campaign into its plan.

    Parameters
    ----------
    spec : CampaignSpec
        From `load_campaign`.
    device : str
        Device of the workers, ``cpu`` or ``cuda``: decides how large batches are, and no result.
    elsewhere : collection of str
        Environments that workers have in a Python of their own: their packages are not looked for in this one.

    Returns
    -------
    Plan

    Raises
    ------
    CampaignError
        When a file that the campaign names cannot be used.
    ReferenceSetError
        When a reference set of geometries cannot be read, or holds no chain that a cell requests.
    ModelError
        When a checkpoint that the campaign names does not exist, or is not what it should be.
    """
    return kind_of(spec).plan(spec, device=device, elsewhere=elsewhere)


def specs_in_history(history: str) -> list[dict[str, Any]]:
    """Return the specs of a store's history as plain data, each once; what is no JSON object is left out."""
    texts = dict.fromkeys(str(event.get("spec", "")) for event in json.loads(history))
    specs = []
    for text in texts:
        try:
            spec = json.loads(text)
        except ValueError:
            continue
        if isinstance(spec, dict):
            specs.append(spec)
    return specs


def load_from_history(spec: Mapping[str, Any]) -> CampaignSpec:
    """Read a spec of `specs_in_history` with the model of its kind.

    Raises
    ------
    CampaignError
        When its kind, or something that it names, is not installed.
    """
    loaded: CampaignSpec = find_kind(str(spec.get("kind", DEFAULT_KIND))).spec_from_json(json.dumps(spec))
    return loaded
