"""Tasks of a generalization campaign and their content-hash keys: plain frozen data, no torch, no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hbcoop_dist.generalization_run.spec import (
    READING,
    ArchitectureEntry,
    DatasetEntry,
    GeneralizationSpec,
    SchemeEntry,
    Training,
)

PROTOCOL_VERSION = 1
"""Raised whenever the same key would give another number."""

CHUNK = 100
"""Structures that a task labels."""

Kind = Literal["label", "split", "map", "train", "evaluate"]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a worker gets a labelled set: from the results of tasks, or from files.

    Attributes
    ----------
    entry : DatasetEntry
    chunks : tuple of str
        Keys of the tasks that label it, in order; none where it is read.
    sha256 : tuple of str
        Hashes of its files.
    """

    entry: DatasetEntry
    chunks: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()

    @property
    def identity(self) -> object:
        """What decides what is in it."""
        if self.chunks:
            return {"chunks": list(self.chunks)}
        units = [self.entry.energy_unit, self.entry.length_unit]
        drawn = {"size": self.entry.size, "seed": self.entry.seed, "units": units}
        reading = self.entry.model_dump(mode="json", include=set(READING))
        return {"files": list(self.sha256), **drawn, **({"reading": reading} if reading else {})}


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """One thing to compute.

    Attributes
    ----------
    key : str
    kind : {"label", "split", "map", "train", "evaluate"}
        Label a chunk of structures, divide a set, draw its map of chemical space, train a network, test it.
    data : DataSource
    model : str
        Whose task it is among the plan's sources.
    chunk : int
        Which chunk is labelled.
    split, seed : str and int
        How the set is divided; the seed is that of the network too.
    architecture, scheme, training : ArchitectureEntry, SchemeEntry and Training
    divided, trained : str or None
        Keys of the tasks that divide the set and train the network.
    """

    key: str
    kind: Kind
    data: DataSource
    model: str
    chunk: int = 0
    split: str = ""
    seed: int = 0
    architecture: ArchitectureEntry | None = None
    scheme: SchemeEntry | None = None
    training: Training | None = None
    divided: str | None = None
    trained: str | None = None

    @property
    def geometry(self) -> str | None:
        """Key of the task it stays with when its batch is split: a test, with the training."""
        return self.trained

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs."""
        chunks = () if self.kind == "label" else self.data.chunks
        return (*chunks, *(key for key in (self.divided, self.trained) if key is not None))


def key_of(kind: Kind, content: Mapping[str, object]) -> str:
    """Key of a task: hash (32 hex digits of sha256) of its content in canonical JSON."""
    whole = {"version": PROTOCOL_VERSION, "campaign": "generalization", "kind": kind, **content}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def label_task(entry: DatasetEntry, chunk: int, teacher: str) -> TrainingTask:
    """The task that makes and labels one chunk; `teacher` is the identity of the model's parameters."""
    assert entry.size is not None
    content = {
        "generate": entry.generate,
        "seed": entry.seed,
        "molecules": list(entry.molecules),
        "cutoff": entry.cutoff,
        "largest_leak": entry.largest_leak,
        "teacher": entry.teacher,
        "identity": teacher,
        "first": chunk * CHUNK,
        "count": min(CHUNK, entry.size - chunk * CHUNK),
    }
    return TrainingTask(key_of("label", content), "label", DataSource(entry), entry.teacher, chunk)


def split_task(data: DataSource, split: str, seed: int, spec: GeneralizationSpec) -> TrainingTask:
    """The task that divides a set."""
    part = spec.training.validation
    content = {"data": data.identity, "split": split, "seed": seed, "validation": part}
    if split == "size" and data.entry.largest_train is not None:
        content["largest_train"] = data.entry.largest_train
    key = key_of("split", content)
    return TrainingTask(key, "split", data, "soap", split=split, seed=seed, training=spec.training)


def map_task(data: DataSource) -> TrainingTask:
    """The task that draws a set's map of chemical space."""
    return TrainingTask(key_of("map", {"data": data.identity}), "map", data, "soap")


def train_task(
    divided: TrainingTask, architecture: ArchitectureEntry, scheme: SchemeEntry, training: Training
) -> TrainingTask:
    """The task that trains a network on one side of a split."""
    content = {
        "split": divided.key,
        "seed": divided.seed,
        "architecture": architecture.model_dump(mode="json", exclude={"name"}),
        "scheme": scheme.model_dump(mode="json", exclude={"name"}),
        "training": training.model_dump(mode="json"),
    }
    return TrainingTask(
        key_of("train", content),
        "train",
        divided.data,
        architecture.name,
        split=divided.split,
        seed=divided.seed,
        architecture=architecture,
        scheme=scheme,
        training=training,
        divided=divided.key,
    )


def evaluate_task(trained: TrainingTask) -> TrainingTask:
    """The task that tests a network on the other side of its split."""
    return TrainingTask(
        key_of("evaluate", {"trained": trained.key}),
        "evaluate",
        trained.data,
        trained.model,
        split=trained.split,
        seed=trained.seed,
        divided=trained.divided,
        trained=trained.key,
    )
