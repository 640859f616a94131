"""From a generalization spec to a plan: cells, tasks and edges as data, every shared task once, grouped into batches.

Nothing is computed and nothing heavy is loaded here.  What cannot be done here is skipped with its reason.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from hbcoop_dist.campaigns.generalization.file_hashes import fingerprints
from hbcoop_dist.campaigns.generalization.spec import DatasetEntry, GeneralizationSpec, TrainingCell, cells_of
from hbcoop_dist.campaigns.generalization.tasks import (
    CHUNK,
    LARGE,
    PART,
    DataSource,
    TrainingTask,
    describe_task,
    evaluate_task,
    label_task,
    map_task,
    read_task,
    split_task,
    train_task,
)
from hbcoop_dist.campaigns.hbond.plan import source_of
from hbcoop_dist.campaigns.hbond.spec import CampaignError
from hbcoop_dist.campaigns.spec_fields import ModelEntry
from hbcoop_dist.core.tasks import Batch, ModelSource
from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.learning.datasets.readers.file_rows import count_rows
from hbcoop_dist.learning.networks.registry import find_architecture
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelCard

SOAP = ModelCard(
    name="soap",
    family="soap",
    level_of_theory="none",
    licence="Apache-2.0 (dscribe), BSD-3-Clause (scikit-learn, umap-learn)",
    citation="Himanen et al., Comput. Phys. Commun. 2020, 247, 106949, doi:10.1016/j.cpc.2019.106949",
    elements=(),
    requires=("dscribe", "sklearn", "umap"),
    packages=("dscribe", "scikit-learn", "umap-learn", "numpy"),
)


@dataclass(frozen=True, slots=True)
class CellTasks:
    """Keys of what a cell needs: the tasks that label its set, divide and map it, train and test its network."""

    labels: tuple[str, ...]
    divided: str
    mapped: str
    trained: str
    evaluated: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Every task key."""
        return (*self.labels, self.divided, self.mapped, self.trained, self.evaluated)


@dataclass(frozen=True, slots=True)
class GeneralizationPlan:
    """A generalization campaign ready to run.

    Attributes
    ----------
    spec : GeneralizationSpec
    cells : tuple of TrainingCell
        Every cell asked for, skipped ones included.
    sources : mapping of str to ModelSource
        What does the tasks: teachers, ``soap`` and architectures, by name.
    skipped : mapping of TrainingCell to str
        Cells that will not run, and why.
    tasks : mapping of str to TrainingTask
    batches : tuple of Batch
    cell_tasks : mapping of TrainingCell to CellTasks
    """

    spec: GeneralizationSpec
    cells: tuple[TrainingCell, ...]
    sources: Mapping[str, ModelSource]
    skipped: Mapping[TrainingCell, str]
    tasks: Mapping[str, TrainingTask] = field(repr=False)
    batches: tuple[Batch[TrainingTask], ...] = field(repr=False)
    cell_tasks: Mapping[TrainingCell, CellTasks] = field(repr=False)

    def __str__(self) -> str:
        kinds = [task.kind for task in self.tasks.values()]
        parts = f"{kinds.count('describe')} parts to describe, " if "describe" in kinds else ""
        lines = [
            f"campaign {self.spec.campaign}: {len(self.cells)} networks, {len(self.tasks)} tasks in "
            f"{len(self.batches)} batches",
            f"  {kinds.count('label')} chunks to label, {parts}{kinds.count('split')} splits, "
            f"{kinds.count('train')} trainings of {self.spec.training.steps} steps",
        ]
        lines += [f"  skipped: {reason}" for reason in dict.fromkeys(self.skipped.values())]
        return "\n".join(lines)


def plan(spec: GeneralizationSpec, *, elsewhere: Collection[str] = ()) -> GeneralizationPlan:
    """Expand a campaign into its plan.

    Parameters
    ----------
    spec : GeneralizationSpec
        From `load_generalization`.
    elsewhere : collection of str
        Environments that workers have in a Python of their own: nothing is looked for in this one.

    Raises
    ------
    CampaignError
        When the files of a set are not what can be read.
    """
    cells = cells_of(spec)
    sources, absent = _sources(spec, elsewhere)
    draft = _Draft(spec, sources)
    skipped: dict[TrainingCell, str] = {}
    entries = {entry.name: entry for entry in spec.datasets}
    for cell in cells:
        needed = (entries[cell.dataset].teacher, "soap", cell.architecture)
        if reasons := [absent[name] for name in needed if name in absent]:
            skipped[cell] = reasons[0]
        else:
            draft.add(cell)
    return GeneralizationPlan(spec, cells, sources, skipped, draft.tasks, draft.batches(), draft.cell_tasks)


def _sources(spec: GeneralizationSpec, elsewhere: Collection[str]) -> tuple[dict[str, ModelSource], dict[str, str]]:
    found: dict[str, ModelSource | str] = {
        entry.teacher: source_of(ModelEntry(name=entry.teacher), elsewhere) for entry in spec.datasets if entry.generate
    }
    found["soap"] = _package(SOAP, elsewhere)
    found |= {entry.name: _package(_card(entry.architecture), elsewhere) for entry in spec.architectures}
    sources = {name: source for name, source in found.items() if isinstance(source, ModelSource)}
    return sources, {name: reason for name, reason in found.items() if isinstance(reason, str)}


def _card(architecture: str) -> ModelCard:
    """What workers need for an architecture."""
    found = find_architecture(architecture)
    return ModelCard(
        name=architecture,
        family="trained",
        level_of_theory="that of the training set",
        licence=found.licence,
        citation=found.citation,
        elements=(),
        gpu=True,
        requires=found.requires,
        packages=(*found.packages, "numpy"),
        environment=found.environment,
    )


def _package(card: ModelCard, elsewhere: Collection[str]) -> ModelSource | str:
    here = card.environment not in elsewhere
    reason = registry.missing_modules(card) if here else ""
    return reason or ModelSource(card, card.name, here=here)


class _Draft:
    """A plan as it is drawn up, cell by cell; equal keys fall together."""

    def __init__(self, spec: GeneralizationSpec, sources: Mapping[str, ModelSource]) -> None:
        self._spec, self._sources = spec, sources
        self._architectures = {entry.name: entry for entry in spec.architectures}
        self._schemes = {entry.name: entry for entry in spec.schemes}
        self._data: dict[str, DataSource] = {}
        self.tasks: dict[str, TrainingTask] = {}
        self.cell_tasks: dict[TrainingCell, CellTasks] = {}

    def add(self, cell: TrainingCell) -> None:
        """Draw up the tasks of a cell."""
        data = self._data_of(cell.dataset)
        divided = self._add(split_task(data, cell.split, cell.seed, self._spec))
        mapped = self._add(map_task(data))
        architecture, scheme = self._architectures[cell.architecture], self._schemes[cell.scheme]
        trained = self._add(train_task(divided, architecture, scheme, self._spec.training))
        evaluated = self._add(evaluate_task(trained))
        labels = () if data.entry.files else data.chunks
        self.cell_tasks[cell] = CellTasks(labels, divided.key, mapped.key, trained.key, evaluated.key)

    def _add(self, task: TrainingTask) -> TrainingTask:
        return self.tasks.setdefault(task.key, task)

    def _data_of(self, name: str) -> DataSource:
        if name not in self._data:
            entry = next(entry for entry in self._spec.datasets if entry.name == name)
            try:
                self._data[name] = self._read(entry) if entry.files else self._generated(entry)
            except ReadError as error:
                raise CampaignError(f"set {name}: {error}") from None
        return self._data[name]

    def _generated(self, entry: DatasetEntry) -> DataSource:
        assert entry.size is not None
        identity = self._sources[entry.teacher].identity
        chunks = [self._add(label_task(entry, chunk, identity)).key for chunk in range(ceil(entry.size / CHUNK))]
        return self._in_parts(DataSource(entry, tuple(chunks)), entry.size, PART // CHUNK)

    def _read(self, entry: DatasetEntry) -> DataSource:
        data = DataSource(entry, sha256=fingerprints(entry.files))
        # rows are counted where it matters alone
        if entry.size is not None and entry.size <= LARGE:
            return data
        size = min(count_rows(entry.files), entry.size or sys.maxsize)
        if size <= LARGE:
            return data
        parts = tuple(self._add(read_task(data, part)).key for part in range(ceil(size / PART)))
        return self._in_parts(replace(data, chunks=parts), size, 1)

    def _in_parts(self, data: DataSource, size: int, chunks: int) -> DataSource:
        """The set, described in parts of so many chunks where it is large."""
        if size <= LARGE:
            return data
        parts = [data.chunks[first : first + chunks] for first in range(0, len(data.chunks), chunks)]
        described = [self._add(describe_task(data.entry, part, number)).key for number, part in enumerate(parts)]
        return replace(data, described=tuple(described))

    def batches(self) -> tuple[Batch[TrainingTask], ...]:
        """Chunks singly, a part read with its description, each network with its test.

        Splits of a small set go together, since they share its descriptors; those of a large one, which lie in files,
        singly.
        """
        found: list[Batch[TrainingTask]] = []
        tasks = list(self.tasks.values())
        for task in tasks:
            if task.kind == "label":
                found.append(Batch(f"{task.data.entry.name} labels {task.chunk + 1}", task.model, (task,)))
            elif task.kind == "describe":
                read = [self.tasks[key] for key in task.data.chunks if self.tasks[key].kind == "read"]
                found.append(Batch(f"{task.data.entry.name} part {task.chunk + 1}", task.model, (*read, task)))
        for name, data in self._data.items():
            members = tuple(t for t in tasks if t.kind in ("split", "map") and t.data.entry.name == name)
            if data.described:
                found += [Batch(f"{name} {one.kind} {one.split} {one.seed}", "soap", (one,)) for one in members]
            else:
                found.append(Batch(f"{name} splits", "soap", members))
        for cell, parts in self.cell_tasks.items():
            pair = self.tasks[parts.trained], self.tasks[parts.evaluated]
            found.append(Batch(cell.name, cell.architecture, pair))
        return tuple(found)
