"""Tasks of generalization campaigns, their content-hash keys and results, as plain frozen data: no torch, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hbcoop_dist.campaigns.generalization.spec import (
    READING_FIELDS,
    ArchitectureEntry,
    DatasetEntry,
    GeneralizationSpec,
    SchemeEntry,
    Training,
)
from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.core.tasks import canonical_json, content_key
from hbcoop_dist.learning.datasets.labelled_structures import PackedStructures
from hbcoop_dist.learning.networks.trained_files import NetworkMetadata, Trained

PROTOCOL_VERSION = 1
"""Raised whenever a worker would return another number for the same key."""

CHUNK = 100
"""Structures that one task labels."""

LARGE = 2000
"""Structures above which a set is read and described in parts, by tasks of their own."""

PART = 500
"""Structures of such a part; a multiple of `CHUNK`."""

DESCRIPTORS = "soap"
"""Name of the source that describes, splits and maps sets."""

Kind = Literal["label", "read", "describe", "split", "map", "train", "evaluate"]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a worker gets a labelled set from: results of tasks, or files.

    Attributes
    ----------
    entry : DatasetEntry
    chunks : tuple of str
        Keys of the tasks that label it or read its parts, in order; empty for a set that each worker reads itself.
    sha256 : tuple of str
        Hashes of its files.
    described : tuple of str
        Keys of the tasks that describe its parts, in order; empty for a set that each worker describes itself.
    descriptors : str
        Identity of the source of its descriptors.
    """

    entry: DatasetEntry
    chunks: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    descriptors: str = ""

    @property
    def identity(self) -> object:
        """Everything that decides its structures and labels, as JSON data."""
        if self.chunks:
            return {"chunks": list(self.chunks)}
        units = [self.entry.energy_unit, self.entry.length_unit]
        selection = {"size": self.entry.size, "seed": self.entry.seed, "units": units}
        reading = self.entry.model_dump(mode="json", include=set(READING_FIELDS))
        return {"files": list(self.sha256), **selection, **({"reading": reading} if reading else {})}


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """One computation.

    Attributes
    ----------
    key : str
    kind : {"label", "read", "describe", "split", "map", "train", "evaluate"}
        Label a chunk of structures; read a part of a set, or describe it; split a set, map its chemical space; train a
        network, or evaluate it.
    data : DataSource
    model : str
        Name of the source that runs it.
    chunk : int
        Number of the chunk that is labelled, or of the part that is read or described.
    rows : tuple of int
        First structure that is read, and how many.
    split, seed : str and int
        How the set is split; the seed is that of the network too.
    architecture, scheme, training : ArchitectureEntry, SchemeEntry and Training
    divided, trained : str or None
        Keys of the tasks that split the set and train the network.
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
        """Key of the task that it stays with when its batch is split: an evaluation stays with the training."""
        return self.trained

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the tasks whose results this one needs."""
        chunks = () if self.kind in ("label", "read") else self.data.chunks
        described = self.data.described if self.kind in ("split", "map") else ()
        return (*chunks, *described, *(key for key in (self.divided, self.trained) if key is not None))


def _key(kind: Kind, content: Mapping[str, object]) -> str:
    whole = {"version": PROTOCOL_VERSION, "campaign": "generalization", "kind": kind, **content}
    return content_key(canonical_json(whole))


def label_task(entry: DatasetEntry, chunk: int, identity: str) -> TrainingTask:
    """Return the task that generates and labels one chunk; `identity` is that of the labelling model."""
    assert entry.size is not None
    content = {
        "generate": entry.generate,
        "seed": entry.seed,
        "molecules": list(entry.molecules),
        "cutoff": entry.cutoff,
        "largest_leak": entry.largest_leak,
        "teacher": entry.teacher,
        "identity": identity,
        "first": chunk * CHUNK,
        "count": min(CHUNK, entry.size - chunk * CHUNK),
    }
    return TrainingTask(_key("label", content), "label", DataSource(entry), entry.teacher, chunk)


def read_task(data: DataSource, part: int) -> TrainingTask:
    """Return the task that reads one part of a large set from its files."""
    content = {"data": data.identity, "first": part * PART, "count": PART}
    return TrainingTask(_key("read", content), "read", data, DESCRIPTORS, part, rows=(part * PART, PART))


def describe_task(data: DataSource, chunks: tuple[str, ...], part: int) -> TrainingTask:
    """Return the task that describes one part of a large set, which these chunks make up."""
    content = {"chunks": list(chunks), "dtype": "float32", "descriptors": data.descriptors}
    source = DataSource(data.entry, chunks, descriptors=data.descriptors)
    return TrainingTask(_key("describe", content), "describe", source, DESCRIPTORS, part)


def split_task(data: DataSource, split: str, seed: int, spec: GeneralizationSpec) -> TrainingTask:
    """Return the task that splits a set."""
    content = {
        "data": data.identity,
        "split": split,
        "seed": seed,
        "validation": spec.training.validation,
        "descriptors": data.descriptors,
    }
    if data.described:
        content["described"] = list(data.described)
    if split == "size" and data.entry.largest_train is not None:
        content["largest_train"] = data.entry.largest_train
    key = _key("split", content)
    return TrainingTask(key, "split", data, DESCRIPTORS, split=split, seed=seed, training=spec.training)


def map_task(data: DataSource) -> TrainingTask:
    """Return the task that maps the chemical space of a set."""
    described = {"described": list(data.described)} if data.described else {}
    content = {"data": data.identity, "descriptors": data.descriptors, **described}
    return TrainingTask(_key("map", content), "map", data, DESCRIPTORS)


def train_task(
    divided: TrainingTask, architecture: ArchitectureEntry, scheme: SchemeEntry, training: Training
) -> TrainingTask:
    """Return the task that trains a network on one side of a split."""
    content = {
        "split": divided.key,
        "seed": divided.seed,
        "architecture": architecture.model_dump(mode="json", exclude={"name"}),
        "scheme": scheme.model_dump(mode="json", exclude={"name"}),
        "training": training.model_dump(mode="json"),
    }
    return TrainingTask(
        _key("train", content),
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
    """Return the task that evaluates a network on the other side of its split."""
    return TrainingTask(
        _key("evaluate", {"trained": trained.key}),
        "evaluate",
        trained.data,
        trained.model,
        split=trained.split,
        seed=trained.seed,
        divided=trained.divided,
        trained=trained.key,
    )


@dataclass(frozen=True, slots=True)
class LabelResult:
    """One chunk of a generated set.

    Attributes
    ----------
    structures : PackedStructures
    dropped : tuple of str
        Structures that the labelling model had no answer for, and why.
    """

    structures: PackedStructures
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredArrays:
    """Result that is too large for the journal: a file beside the store.

    Attributes
    ----------
    file : str
        Name of a ``.npz`` file in the folder of arrays.
    sha256 : str
    size : int
        Bytes.
    """

    file: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Sides of one split of a set.

    Attributes
    ----------
    training, validation, test : (n,) int array
        Indices of the structures of each side.
    similarity : (n_test,) array
        Cosine similarity (averaged SOAP) of each test structure to the nearest training structure.
    notes : tuple of str
    """

    training: IntArray
    validation: IntArray
    test: IntArray
    similarity: FloatArray
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MapResult:
    """Map of the chemical space of a set of S structures, and what the store keeps of each structure.

    Attributes
    ----------
    umap : (S, 2) array
        UMAP of averaged SOAP.
    domains, parents : tuple of str
        Part of chemical space, and parent molecule or composition.
    atoms : (S,) int array
        Number of atoms.
    level_of_theory : str
    dropped : tuple of str
        Structures of files that could not be used, and why.
    """

    umap: FloatArray
    domains: tuple[str, ...]
    parents: tuple[str, ...]
    atoms: IntArray
    level_of_theory: str
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained network.

    Attributes
    ----------
    network : Trained
    n_training : int
        Number of training structures.
    metadata : NetworkMetadata
    """

    network: Trained
    n_training: int
    metadata: NetworkMetadata


@dataclass(frozen=True, slots=True)
class GroupResult:
    """Errors on a group of test structures.

    Attributes
    ----------
    label : str or int
        Part of chemical space, or number of atoms.
    energy_rmse : float
        Of the energy per atom, meV.
    forces_rmse : float
        Of force components, meV/A.
    count : int
        Number of structures.
    """

    label: str | int
    energy_rmse: float
    forces_rmse: float
    count: int


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Errors of a network on the test side of its split; NaN where there is nothing to compare.

    Attributes
    ----------
    energy_rmse, energy_mae : float
        Of the energy per atom, meV.
    forces_rmse, forces_mae : float
        Of force components, meV/A.
    charges_mae : float
        e, up to the global sign.
    charges_correlation : float
    dipole_rmse : float
        Of components, e A.
    interaction_near_rmse, interaction_near_mae : float
        Of interaction energies with molecules within the cutoff, kcal/mol.
    interaction_beyond_rmse, interaction_beyond_mae : float
        Of interaction energies with all molecules beyond the cutoff, kcal/mol.
    n_test, n_near, n_beyond : int
        Numbers of structures.
    by_domain, by_size : tuple of GroupResult
        Errors for each part of chemical space, and for each number of atoms.
    """

    energy_rmse: float
    energy_mae: float
    forces_rmse: float
    forces_mae: float
    charges_mae: float
    charges_correlation: float
    dipole_rmse: float
    interaction_near_rmse: float
    interaction_near_mae: float
    interaction_beyond_rmse: float
    interaction_beyond_mae: float
    n_test: int
    n_near: int
    n_beyond: int
    by_domain: tuple[GroupResult, ...]
    by_size: tuple[GroupResult, ...]
