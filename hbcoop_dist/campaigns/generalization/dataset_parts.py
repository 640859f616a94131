"""Labelled sets as workers get them: generated and labelled in chunks, or read from files in parts; their splits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hbcoop_dist.campaigns.generalization.array_files import ArrayFile
from hbcoop_dist.campaigns.generalization.spec import DatasetEntry
from hbcoop_dist.campaigns.generalization.tasks import (
    CHUNK,
    DataSource,
    LabelResult,
    MapResult,
    SplitResult,
    StoredArrays,
    TrainingTask,
)
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.learning.datasets.cluster_generation import generate_clusters
from hbcoop_dist.learning.datasets.connectivity import ParentClues, parent_names
from hbcoop_dist.learning.datasets.file_rows import Shards
from hbcoop_dist.learning.datasets.frames import ReadOptions
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure, PackedStructures
from hbcoop_dist.learning.datasets.labelling import label
from hbcoop_dist.learning.datasets.set_files import (
    LeftOut,
    PartialSet,
    draw_rows,
    join_parts,
    read_rows,
    read_set,
    require_one_charges_key,
)
from hbcoop_dist.learning.splits.feature_rows import ElementBlocks, Rows
from hbcoop_dist.learning.splits.soap_descriptors import FEATURES, soap_blocks, soap_features
from hbcoop_dist.learning.splits.strategies import separation, split, umap_coordinates
from hbcoop_dist.models import registry

Known = Mapping[str, TaskResult[Any]]
_latest: dict[str, FloatArray] = {}
"""Descriptors of the set that was described last, by its identity."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What splits and maps need of a structure; its length is the number of atoms."""

    parent: str
    domain: str
    atoms: int
    periodic: bool

    def __len__(self) -> int:
        return self.atoms


@dataclass(frozen=True, slots=True)
class SetOfTask:
    """The labelled set of a task, as the results so far and the files give it.

    Attributes
    ----------
    data : DataSource
    known : mapping of str to TaskResult
        Results of the tasks that label it, or read and describe its parts.
    folder : Path
        Folder of large results.
    """

    data: DataSource
    known: Known
    folder: Path

    def structures(self) -> tuple[tuple[LabelledStructure, ...], tuple[str, ...]]:
        """Return the structures in the order of the splits' indices, and lines about those that could not be used."""
        if self.data.chunks and self.data.entry.files:
            parts = [_part(part) for part in self._parts()]
            return join_parts(parts), _left_out(self._parts())
        if self.data.chunks:
            chunks = (self.known[key].payload_as(LabelResult).structures for key in self.data.chunks)
            return tuple(structure for chunk in chunks for structure in chunk.structures()), ()
        entry = self.data.entry
        files = read_set(
            entry.name,
            entry.files,
            level_of_theory=entry.level_of_theory,
            source=entry.source,
            licence=entry.licence,
            options=read_options(entry),
            size=entry.size,
            seed=entry.seed,
        )
        return files.structures, files.left_out

    def descriptors(self) -> ElementBlocks:
        """Return averaged SOAP of all parts of a large set."""
        parts = [self._file(key) for key in self.data.described]
        indices = [(np.asarray(part["rows"]), np.asarray(part["elements"]), int(part["count"])) for part in parts]
        return ElementBlocks.join(indices, (np.asarray(part["values"]) for part in parts), FEATURES)

    def traits(self) -> tuple[list[Traits], tuple[str, ...]]:
        """Return the traits of all structures of a large set without reading the structures themselves."""
        if not self.data.entry.files:
            structures, left_out = self.structures()
            return [traits_of(structure) for structure in structures], left_out
        parts = self._parts()
        require_one_charges_key(str(part["charges_key"]) for part in parts)
        names = parent_names([clues for part in parts for clues in _clues(part)])
        domains = [domain for part in parts for domain in json.loads(str(part["domains"]))]
        sizes = [size for part in parts for size in np.diff(np.asarray(part["offsets"])).tolist()]
        periodic = [flag for part in parts for flag in _periodic(part)]
        return [Traits(*values) for values in zip(names, domains, sizes, periodic, strict=True)], _left_out(parts)

    def _parts(self) -> list[ArrayFile]:
        return [self._file(key) for key in self.data.chunks]

    def _file(self, key: str) -> ArrayFile:
        return ArrayFile(self.known[key].payload_as(StoredArrays), self.folder)


def traits_of(structure: LabelledStructure) -> Traits:
    """Return the traits of one structure."""
    return Traits(structure.parent, structure.domain, len(structure), structure.cell is not None)


def read_options(entry: DatasetEntry) -> ReadOptions:
    """Return how the files of a set are read."""
    return ReadOptions(
        energy_unit=entry.energy_unit,
        length_unit=entry.length_unit,
        keys=entry.labels,
        neutral_molecules=entry.neutral_molecules,
        require=entry.require,
        skip_incomplete=entry.skip_incomplete,
    )


def labelled_chunk(entry: DatasetEntry, chunk: int, device: str) -> LabelResult:
    """Generate and label one chunk of a set."""
    assert entry.generate is not None
    assert entry.size is not None
    first = chunk * CHUNK
    clusters = generate_clusters(
        entry.generate,
        min(CHUNK, entry.size - first),
        entry.seed,
        first=first,
        sizes=entry.molecules,
        cutoff=entry.cutoff,
    )
    labelling = label(clusters, entry.teacher, device=device, largest_leak=entry.largest_leak)
    dropped = tuple(f"structure {first + one.index}: {one.reason}" for one in labelling.dropped)
    return LabelResult(PackedStructures.of(labelling.structures), dropped)


def read_part(data: DataSource, first: int, count: int) -> dict[str, object]:
    """Read one part of a large set, as arrays for a file; parents are named when all parts are known."""
    entry = data.entry
    shards = Shards(entry.files)
    places = draw_rows(len(shards), entry.size, entry.seed)[first : first + count]
    part = read_rows(shards, read_options(entry), places)
    left_out = {reason: (number, part.left_out.first[reason]) for reason, number in part.left_out.counts.items()}
    return {
        **PackedStructures.of(part.structures).arrays(),
        "parentage": json.dumps([asdict(clues) for clues in part.clues]),
        "charges_key": part.charges_key,
        "left_out": json.dumps(left_out),
    }


def describe_part(structures: tuple[LabelledStructure, ...]) -> dict[str, object]:
    """Compute averaged SOAP of one part by blocks, in float32, as arrays for a file."""
    soap = soap_blocks(structures)
    return {"rows": soap.rows, "elements": soap.elements, "values": soap.values, "count": soap.count}


def origin_of(data: DataSource) -> dict[str, str]:
    """Return level of theory, licence and source of the labels of a set, by field of `NetworkMetadata`."""
    entry = data.entry
    if entry.generate is None:
        return {"level_of_theory": entry.level_of_theory, "licence": entry.licence, "source": entry.source}
    card = registry.card(entry.teacher)
    return {
        "level_of_theory": card.about.level_of_theory,
        "licence": "made here; no terms",
        "source": card.about.citation,
    }


def _part(file: Mapping[str, Any]) -> PartialSet:
    # read once: field by field, and structure by structure, the file would be opened for each
    arrays = dict(file)
    structures = PackedStructures.from_arrays(arrays).structures()
    return PartialSet(structures, tuple(_clues(arrays)), str(arrays["charges_key"]), LeftOut())


def _clues(part: Mapping[str, Any]) -> list[ParentClues]:
    return [ParentClues(**fields) for fields in json.loads(str(part["parentage"]))]


def _periodic(part: Mapping[str, Any]) -> list[bool]:
    if "has_cell" in set(part):
        return [bool(flag) for flag in part["has_cell"]]
    return [False] * (len(part["offsets"]) - 1)


def _left_out(parts: list[ArrayFile]) -> tuple[str, ...]:
    total = LeftOut()
    for part in parts:
        counted = json.loads(str(part["left_out"]))
        total.merge(
            LeftOut(
                Counter({reason: count for reason, (count, _) in counted.items()}),
                {reason: first for reason, (_, first) in counted.items()},
            )
        )
    return total.lines


def split_set(task: TrainingTask, labelled: SetOfTask) -> SplitResult:
    """Split a set, and measure how far the test side is from the training side."""
    assert task.training is not None
    structures, descriptors, _ = _described(labelled)
    sides = split(
        task.split,
        structures,
        descriptors,
        seed=task.seed,
        validation_fraction=task.training.validation,
        largest_train=task.data.entry.largest_train,
    )
    similarity = separation(descriptors, sides).similarity
    return SplitResult(sides.train, sides.validation, sides.test, similarity, (*sides.notes, *_mixed(structures)))


def map_set(labelled: SetOfTask) -> MapResult:
    """Map the chemical space of a set."""
    structures, descriptors, left_out = _described(labelled)
    return MapResult(
        umap=umap_coordinates(descriptors),
        domains=tuple(structure.domain for structure in structures),
        parents=tuple(structure.parent for structure in structures),
        atoms=np.array([len(structure) for structure in structures], dtype=np.int64),
        level_of_theory=origin_of(labelled.data)["level_of_theory"],
        dropped=left_out,
    )


def _described(labelled: SetOfTask) -> tuple[Sequence[Traits], FloatArray | Rows, tuple[str, ...]]:
    """Return traits and averaged SOAP of a set, and lines about structures that could not be used."""
    if labelled.data.described:
        traits, left_out = labelled.traits()
        return traits, labelled.descriptors(), left_out
    structures, left_out = labelled.structures()
    return [traits_of(structure) for structure in structures], _features(labelled.data, structures), left_out


def _mixed(structures: Sequence[Traits]) -> tuple[str, ...]:
    periodic = sum(structure.periodic for structure in structures)
    if periodic in (0, len(structures)):
        return ()
    return (f"{periodic} structures are periodic and {len(structures) - periodic} are not; each is described as it is",)


def _features(data: DataSource, structures: tuple[LabelledStructure, ...]) -> FloatArray:
    key = json.dumps(data.identity, sort_keys=True)
    if key not in _latest:
        _latest.clear()
        species = sorted({int(z) for structure in structures for z in structure.numbers})
        _latest[key] = soap_features(structures, species)
    return _latest[key]
