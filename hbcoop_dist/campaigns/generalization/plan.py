"""Plan of a generalization campaign, and its cost: networks, tasks and batches as data, every shared task once.

Nothing is computed and nothing heavy is imported here. Networks that cannot be trained here are skipped with a reason.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np

from hbcoop_dist.campaigns.generalization.schema import GENERALIZATION_SCHEMA
from hbcoop_dist.campaigns.generalization.spec import DatasetEntry, GeneralizationSpec, TrainingCell, cells_of
from hbcoop_dist.campaigns.generalization.tasks import (
    CHUNK,
    DESCRIPTORS,
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
from hbcoop_dist.campaigns.kind import Plan
from hbcoop_dist.campaigns.spec_fields import CampaignError, ModelEntry
from hbcoop_dist.core.tasks import Batch, Requirements, Source
from hbcoop_dist.learning.datasets.file_rows import count_rows
from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.learning.datasets.set_files import hash_files
from hbcoop_dist.learning.networks.registry import find_architecture
from hbcoop_dist.models.registry import PackageSource, find_packages, find_source
from hbcoop_dist.store import open_store

SOAP_LICENCE = "Apache-2.0 (dscribe), BSD-3-Clause (scikit-learn, umap-learn)"
SOAP_CITATION = "Himanen et al., Comput. Phys. Commun. 2020, 247, 106949, doi:10.1016/j.cpc.2019.106949"
SOAP_NEEDS = Requirements(modules=("dscribe", "sklearn", "umap"), packages=("dscribe", "scikit-learn", "umap-learn"))


@dataclass(frozen=True, slots=True)
class NetworkTasks:
    """Keys of the tasks of a network: those that label its set, split and map it, train and evaluate the network."""

    labels: tuple[str, ...]
    divided: str
    mapped: str
    trained: str
    evaluated: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Every task key."""
        return (*self.labels, self.divided, self.mapped, self.trained, self.evaluated)

    @property
    def final_key(self) -> str:
        """Key of the evaluation."""
        return self.evaluated


GeneralizationPlan = Plan[GeneralizationSpec, TrainingCell, TrainingTask, NetworkTasks]


def make_plan(spec: GeneralizationSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> GeneralizationPlan:
    """Expand a campaign into its plan.

    Parameters
    ----------
    spec : GeneralizationSpec
    device : str
    elsewhere : collection of str
        Environments that workers have in a Python of their own.

    Raises
    ------
    CampaignError
        When the files of a set cannot be read.
    """
    cells = cells_of(spec)
    sources, absent = _sources(spec, elsewhere)
    builder = _PlanBuilder(spec, sources)
    skipped: dict[TrainingCell, str] = {}
    entries = {entry.name: entry for entry in spec.datasets}
    for cell in cells:
        needed = (entries[cell.dataset].teacher, DESCRIPTORS, cell.architecture)
        if reasons := [absent[name] for name in needed if name in absent]:
            skipped[cell] = reasons[0]
        else:
            builder.add(cell)
    return Plan(
        spec,
        cells,
        sources,
        skipped,
        builder.tasks,
        builder.batches(),
        builder.cell_tasks,
        {},
        device,
        frozenset(elsewhere),
    )


def _sources(spec: GeneralizationSpec, elsewhere: Collection[str]) -> tuple[dict[str, Source], dict[str, str]]:
    found: dict[str, Source | str] = {
        entry.teacher: find_source(ModelEntry(name=entry.teacher).card(), None, elsewhere)
        for entry in spec.datasets
        if entry.generate
    }
    found[DESCRIPTORS] = find_packages(DESCRIPTORS, SOAP_LICENCE, SOAP_CITATION, SOAP_NEEDS, elsewhere)
    found |= {entry.name: _architecture(entry.name, entry.architecture, elsewhere) for entry in spec.architectures}
    sources = {name: source for name, source in found.items() if not isinstance(source, str)}
    return sources, {name: reason for name, reason in found.items() if isinstance(reason, str)}


def _architecture(name: str, architecture: str, elsewhere: Collection[str]) -> PackageSource | str:
    code = find_architecture(architecture)
    needs = Requirements(code.requires, (*code.packages, "numpy"), code.environment, gpu=True)
    return find_packages(name, code.licence, code.citation, needs, elsewhere)


class _PlanBuilder:
    """Builds a plan network by network; tasks of equal keys are one."""

    def __init__(self, spec: GeneralizationSpec, sources: Mapping[str, Source]) -> None:
        self._spec, self._sources = spec, sources
        self._architectures = {entry.name: entry for entry in spec.architectures}
        self._schemes = {entry.name: entry for entry in spec.schemes}
        self._data: dict[str, DataSource] = {}
        self._tasks: dict[str, TrainingTask] = {}
        self.cell_tasks: dict[TrainingCell, NetworkTasks] = {}

    @property
    def tasks(self) -> dict[str, TrainingTask]:
        """Every task by key, inputs before the tasks that need them."""
        return self._tasks

    def add(self, cell: TrainingCell) -> None:
        """Add the tasks of a network."""
        data = self._data_of(cell.dataset)
        divided = self._add(split_task(data, cell.split, cell.seed, self._spec))
        mapped = self._add(map_task(data))
        architecture, scheme = self._architectures[cell.architecture], self._schemes[cell.scheme]
        trained = self._add(train_task(divided, architecture, scheme, self._spec.training))
        evaluated = self._add(evaluate_task(trained))
        labels = () if data.entry.files else data.chunks
        self.cell_tasks[cell] = NetworkTasks(labels, divided.key, mapped.key, trained.key, evaluated.key)

    def _add(self, task: TrainingTask) -> TrainingTask:
        return self._tasks.setdefault(task.key, task)

    def _data_of(self, name: str) -> DataSource:
        if name not in self._data:
            entry = next(entry for entry in self._spec.datasets if entry.name == name)
            try:
                data = self._read(entry) if entry.files else self._generated(entry)
            except ReadError as error:
                raise CampaignError(f"set {name}: {error}") from None
            self._data[name] = data
        return self._data[name]

    def _generated(self, entry: DatasetEntry) -> DataSource:
        assert entry.size is not None
        identity = self._sources[entry.teacher].identity
        chunks = [self._add(label_task(entry, chunk, identity)).key for chunk in range(ceil(entry.size / CHUNK))]
        data = DataSource(entry, tuple(chunks), descriptors=self._sources[DESCRIPTORS].identity)
        return self._in_parts(data, entry.size, PART // CHUNK)

    def _read(self, entry: DatasetEntry) -> DataSource:
        descriptors = self._sources[DESCRIPTORS].identity
        data = DataSource(entry, sha256=hash_files(entry.files), descriptors=descriptors)
        # rows are counted only where the number of them can matter
        if entry.size is not None and entry.size <= LARGE:
            return data
        size = min(count_rows(entry.files), entry.size or sys.maxsize)
        if size <= LARGE:
            return data
        parts = tuple(self._add(read_task(data, part)).key for part in range(ceil(size / PART)))
        return self._in_parts(replace(data, chunks=parts), size, 1)

    def _in_parts(self, data: DataSource, size: int, chunks: int) -> DataSource:
        """Let a large set be described in parts of so many chunks."""
        if size <= LARGE:
            return data
        parts = [data.chunks[first : first + chunks] for first in range(0, len(data.chunks), chunks)]
        described = [self._add(describe_task(data, part, number)).key for number, part in enumerate(parts)]
        return replace(data, described=tuple(described))

    def batches(self) -> tuple[Batch[TrainingTask], ...]:
        """Group tasks: each chunk, each part with its description, each network with its evaluation.

        Splits of a small set are one batch, since they share its descriptors; those of a large set, whose descriptors
        are in files, are one batch each. Cells and sets that differ in their names only share their tasks.
        """
        batches: list[Batch[TrainingTask]] = []
        tasks = list(self._tasks.values())
        for task in tasks:
            if task.kind == "label":
                batches.append(Batch(f"{task.data.entry.name} labels {task.chunk + 1}", task.model, (task,)))
            elif task.kind == "describe":
                read = [self._tasks[key] for key in task.data.chunks if self._tasks[key].kind == "read"]
                batches.append(Batch(f"{task.data.entry.name} part {task.chunk + 1}", task.model, (*read, task)))
        for name, data in self._data.items():
            members = tuple(t for t in tasks if t.kind in ("split", "map") and t.data.entry.name == name)
            if data.described:
                batches += [Batch(f"{name} {t.kind} {t.split} {t.seed}", DESCRIPTORS, (t,)) for t in members]
            elif members:
                batches.append(Batch(f"{name} splits", DESCRIPTORS, members))
        networks: dict[str, Batch[TrainingTask]] = {}
        for cell, keys in self.cell_tasks.items():
            pair = self._tasks[keys.trained], self._tasks[keys.evaluated]
            networks.setdefault(keys.trained, Batch(cell.name, cell.architecture, pair))
        return (*batches, *networks.values())


def describe_plan(plan: GeneralizationPlan) -> str:
    """Describe a plan in a few lines."""
    kinds = [task.kind for task in plan.tasks.values()]
    parts = f"{kinds.count('describe')} parts to describe, " if "describe" in kinds else ""
    lines = [
        f"campaign {plan.spec.campaign}: {len(plan.cells)} networks, {len(plan.tasks)} tasks in "
        f"{len(plan.batches)} batches",
        f"  {kinds.count('label')} chunks to label, {parts}{kinds.count('split')} splits, "
        f"{kinds.count('train')} trainings of {plan.spec.training.steps} steps",
    ]
    lines += [f"  skipped: {reason}" for reason in dict.fromkeys(plan.skipped.values())]
    return "\n".join(lines)


def estimate_core_time(plan: GeneralizationPlan, store: Path) -> str:
    """Describe the expected core-hours of the networks that a store does not have.

    A network takes as long for each training structure as those of its architecture and scheme in the store did on
    average; larger networks and structures are not accounted for.
    """
    measured = _seconds_per_structure(store)
    spec = plan.spec
    architectures = {entry.name: entry.architecture for entry in spec.architectures}
    schemes = {entry.name: entry.scheme for entry in spec.schemes}
    shown = spec.training.steps * spec.training.batch_size
    stored = _evaluated_keys(store)
    pending = [cell for cell, tasks in plan.cell_tasks.items() if tasks.evaluated not in stored]
    if not pending:
        return f"nothing left to do: {store} has all {len(plan.cell_tasks)} networks"
    seconds, unmeasured = 0.0, set()
    for cell in pending:
        kind = architectures[cell.architecture], schemes[cell.scheme]
        if kind in measured:
            seconds += shown * measured[kind]
        else:
            unmeasured.add(" with ".join(kind))
    lines = [
        f"expected core time: about {seconds / 3600:.3g} core-hours for {len(pending)} networks, each shown "
        f"{shown} structures, at the speed of those in {store}; larger networks and structures take longer"
    ]
    if unmeasured:
        lines.append(f"  without those that were not measured: {', '.join(sorted(unmeasured))}")
    return "\n".join(lines)


def _evaluated_keys(store: Path) -> set[str]:
    ds = open_store(store, kind=GENERALIZATION_SCHEMA.kind)
    return set(ds["task_key"].values[ds["status"].values == "done"].tolist())


def _seconds_per_structure(store: Path) -> dict[tuple[str, str], float]:
    """Return seconds of training and evaluation per structure shown, by architecture and scheme."""
    ds = open_store(store, kind=GENERALIZATION_SCHEMA.kind)
    training = json.loads(str(ds.attrs["protocol"]))["training"]
    shown = training["steps"] * training["batch_size"]
    times = ds["seconds"].where(ds["status"] == "done")
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for architecture, network in zip(ds["architecture"].values, ds["architecture_definition"].values, strict=True):
        for scheme, correction in zip(ds["scheme"].values, ds["scheme_definition"].values, strict=True):
            seconds = times.sel(architecture=architecture, scheme=scheme).values.ravel()
            kind = str(json.loads(str(network))["architecture"]), str(json.loads(str(correction))["scheme"])
            rates[kind] += (seconds[np.isfinite(seconds)] / shown).tolist()
    return {kind: float(np.mean(values)) for kind, values in rates.items() if values}
