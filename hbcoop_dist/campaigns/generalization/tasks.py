"""Tasks of a generalization campaign and their content-hash keys: plain frozen data, no torch, no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hbcoop_dist.campaigns.generalization.spec import (
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

LARGE = 2000
"""Structures above which a set is read, and described, in parts by tasks of their own."""

PART = 500
"""Structures of such a part; so many as a number of chunks have."""

Kind = Literal["label", "read", "describe", "split", "map", "train", "evaluate"]
KEPT: frozenset[Kind] = frozenset({"read", "describe"})
"""Tasks whose results lie in files beside the store."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a worker gets a labelled set: from the results of tasks, or from files.

    Attributes
    ----------
    entry : DatasetEntry
    chunks : tuple of str
        Keys of the tasks that label it, or read its parts, in order; none where it is read by whoever needs it.
    sha256 : tuple of str
        Hashes of its files.
    described : tuple of str
        Keys of the tasks that describe its parts, in order; none where it is described by whoever needs it.
    """

    entry: DatasetEntry
    chunks: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    described: tuple[str, ...] = ()

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
    kind : {"label", "read", "describe", "split", "map", "train", "evaluate"}
        Label a chunk of structures; read a part of a set, describe it; divide a set, draw its map of chemical space,
        train a network, test it.
    data : DataSource
    model : str
        Whose task it is among the plan's sources.
    chunk : int
        Which chunk is labelled, or which part is read or described.
    rows : tuple of int
        The first of the drawn structures that are read, and how many.
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
    rows: tuple[int, int] = (0, 0)
    split: str = ""
    seed: int = 0
    architecture: ArchitectureEntry | None = None
    scheme: SchemeEntry | None = None
    training: Training | None = None
    divided: str | None = None
    trained: str | None = None

    @property
    def leader(self) -> str | None:
        """Key of the task it stays with when its batch is split: a test, with the training."""
        return self.trained

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs."""
        chunks = () if self.kind in ("label", "read") else self.data.chunks
        described = self.data.described if self.kind in ("split", "map") else ()
        return (*chunks, *described, *(key for key in (self.divided, self.trained) if key is not None))


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


def read_task(data: DataSource, part: int) -> TrainingTask:
    """The task that reads one part of a large set from its files."""
    content = {"data": data.identity, "first": part * PART, "count": PART}
    return TrainingTask(key_of("read", content), "read", data, "soap", part, rows=(part * PART, PART))


def describe_task(entry: DatasetEntry, chunks: tuple[str, ...], part: int) -> TrainingTask:
    """The task that describes one part of a large set, which these chunks are."""
    content = {"chunks": list(chunks), "dtype": "float32"}
    return TrainingTask(key_of("describe", content), "describe", DataSource(entry, chunks), "soap", part)


def split_task(data: DataSource, split: str, seed: int, spec: GeneralizationSpec) -> TrainingTask:
    """The task that divides a set."""
    part = spec.training.validation
    content = {"data": data.identity, "split": split, "seed": seed, "validation": part}
    if data.described:
        content["described"] = list(data.described)
    if split == "size" and data.entry.largest_train is not None:
        content["largest_train"] = data.entry.largest_train
    key = key_of("split", content)
    return TrainingTask(key, "split", data, "soap", split=split, seed=seed, training=spec.training)


def map_task(data: DataSource) -> TrainingTask:
    """The task that draws a set's map of chemical space."""
    described = {"described": list(data.described)} if data.described else {}
    return TrainingTask(key_of("map", {"data": data.identity, **described}), "map", data, "soap")


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
