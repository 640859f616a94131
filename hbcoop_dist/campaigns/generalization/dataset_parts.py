"""From the entry of a set in a spec to how its files are read.

Parts of a large set: read from files, described, and what splits and pictures need to know of all of them.

Labelled sets as workers see them: made and labelled chunk by chunk, or read from files, large ones in parts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hbcoop_dist.campaigns.generalization.spec import DatasetEntry
from hbcoop_dist.campaigns.generalization.tasks import CHUNK, DataSource
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.learning.datasets.cluster_generation import generate_clusters
from hbcoop_dist.learning.datasets.connectivity import ParentClues, parent_names
from hbcoop_dist.learning.datasets.frames import ReadOptions
from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet, LabelledStructure, PackedStructures
from hbcoop_dist.learning.datasets.labelling import label
from hbcoop_dist.learning.datasets.readers.file_rows import Shards
from hbcoop_dist.learning.datasets.set_files import (
    LeftOut,
    PartialSet,
    draw_rows,
    join_parts,
    read_rows,
    read_set,
    require_one_charges_key,
)
from hbcoop_dist.learning.splits.feature_rows import ElementBlocks
from hbcoop_dist.learning.splits.soap import FEATURES, soap_blocks
from hbcoop_dist.models import registry


def reading_of(entry: DatasetEntry) -> ReadOptions:
    """How the files of a set are read."""
    return ReadOptions(
        energy_unit=entry.energy_unit,
        length_unit=entry.length_unit,
        keys=entry.labels,
        neutral_molecules=entry.neutral_molecules,
        require=entry.require,
        skip_incomplete=entry.skip_incomplete,
    )


Known = Mapping[str, TaskResult]


@dataclass(frozen=True, slots=True)
class Outline:
    """What splits and pictures need to know of a structure."""

    parent: str
    domain: str
    atoms: int
    periodic: bool

    def __len__(self) -> int:
        return self.atoms


def read_part(data: DataSource, first: int, count: int) -> dict[str, object]:
    """So many of the structures that are drawn, packed; their parents are told when all parts are there."""
    entry = data.entry
    shards = Shards(entry.files)
    places = draw_rows(len(shards), entry.size, entry.seed)[first : first + count]
    found = read_rows(shards, reading_of(entry), places)
    left_out = {reason: (count, found.left_out.first[reason]) for reason, count in found.left_out.counts.items()}
    return {
        **PackedStructures.of(found.structures).arrays(),
        "parentage": json.dumps([asdict(one) for one in found.clues]),
        "charges_key": found.charges_key,
        "left_out": json.dumps(left_out),
    }


def described_part(structures: tuple[LabelledStructure, ...]) -> dict[str, object]:
    """Averaged SOAP of one part, by blocks, in float32."""
    found = soap_blocks(structures)
    return {"rows": found.rows, "elements": found.elements, "values": found.values, "count": found.count}


def blocks_of(data: DataSource, known: Known) -> ElementBlocks:
    """Averaged SOAP of all parts."""
    parts = [known[key].data for key in data.described]
    indices = [(np.asarray(one["rows"]), np.asarray(one["elements"]), int(str(one["count"]))) for one in parts]
    return ElementBlocks.join(indices, (np.asarray(one["values"]) for one in parts), FEATURES)


def read_structures(data: DataSource, known: Known) -> tuple[tuple[LabelledStructure, ...], tuple[str, ...]]:
    """All structures of a set that was read in parts, and lines about those that could not be used."""
    found = [_found(known[key].data) for key in data.chunks]
    return join_parts(found), _left_out(known[key].data for key in data.chunks)


def outlines(data: DataSource, known: Known) -> tuple[list[Outline], tuple[str, ...]]:
    """What is to be known of all structures, and lines about those that could not be used; no structure is read."""
    packed = [known[key].data for key in data.chunks]
    named = [parent for one in packed for parent in json.loads(str(one["parents"]))]
    left_out: tuple[str, ...] = ()
    if data.entry.files:
        require_one_charges_key(str(one["charges_key"]) for one in packed)
        named = parent_names([tells for one in packed for tells in _parentage(one)])
        left_out = _left_out(packed)
    domains = [domain for one in packed for domain in json.loads(str(one["domains"]))]
    sizes = [size for one in packed for size in np.diff(np.asarray(one["offsets"])).tolist()]
    periodic = [bool(cell) for one in packed for cell in _periodic(one)]
    found = zip(named, domains, sizes, periodic, strict=True)
    return [Outline(*values) for values in found], left_out


def _found(packed: Mapping[str, Any]) -> PartialSet:
    # all of a file at once: field by field, and structure by structure, it would be opened for each
    whole = dict(packed)
    return PartialSet(
        PackedStructures.from_arrays(whole).structures(), tuple(_parentage(whole)), str(whole["charges_key"]), LeftOut()
    )


def _parentage(packed: Mapping[str, Any]) -> list[ParentClues]:
    return [ParentClues(**one) for one in json.loads(str(packed["parentage"]))]


def _periodic(packed: Mapping[str, Any]) -> list[bool]:
    if "has_cell" in set(packed):
        return [bool(one) for one in packed["has_cell"]]
    return [False] * (len(packed["offsets"]) - 1)


def _left_out(parts: Any) -> tuple[str, ...]:
    whole = LeftOut()
    for part in parts:
        counted = json.loads(str(part["left_out"]))
        whole.merge(
            LeftOut(
                Counter({reason: count for reason, (count, _) in counted.items()}),
                {reason: first for reason, (_, first) in counted.items()},
            )
        )
    return whole.lines


def labelled_chunk(entry: DatasetEntry, chunk: int, device: str) -> dict[str, object]:
    """Chunk `chunk` of a generated set, packed, and what its teacher had no answer for."""
    assert entry.generate is not None
    assert entry.size is not None
    first = chunk * CHUNK
    bare = generate_clusters(
        entry.generate,
        min(CHUNK, entry.size - first),
        entry.seed,
        first=first,
        sizes=entry.molecules,
        cutoff=entry.cutoff,
    )
    found = label(bare, entry.teacher, device=device, largest_leak=entry.largest_leak)
    lines = [f"structure {first + one.index}: {one.reason}" for one in found.dropped]
    return {**PackedStructures.of(found.structures).arrays(), "dropped": json.dumps(lines)}


def structures_of(data: DataSource, known: Mapping[str, TaskResult]) -> tuple[LabelledStructure, ...]:
    """The structures of a set, in the order that splits count them in; parameters as of `set_of`."""
    return set_of(data, known)[0]


def set_of(data: DataSource, known: Mapping[str, TaskResult]) -> tuple[tuple[LabelledStructure, ...], tuple[str, ...]]:
    """The structures of a set, and lines about those of its files that could not be used.

    Parameters
    ----------
    data : DataSource
    known : mapping of str to TaskResult
        Results of the tasks that labelled it, or read its parts.
    """
    if data.chunks and data.entry.files:
        return read_structures(data, known)
    if data.chunks:
        return tuple(
            one for key in data.chunks for one in PackedStructures.from_arrays(known[key].data).structures()
        ), ()
    found = read_files(data)
    return found.structures, found.left_out


def read_files(data: DataSource) -> LabelledSet:
    """A set that is read from files."""
    entry = data.entry
    return read_set(
        entry.name,
        entry.files,
        level_of_theory=entry.level_of_theory,
        source=entry.source,
        licence=entry.licence,
        options=reading_of(entry),
        size=entry.size,
        seed=entry.seed,
    )


def origin_of(data: DataSource) -> dict[str, str]:
    """What the labels of a set are, under which terms, and what to cite for them, by the names of `About`."""
    entry = data.entry
    if entry.generate is None:
        return {"level_of_theory": entry.level_of_theory, "licence": entry.licence, "source": entry.source}
    card = registry.card(data.entry.teacher)
    return {"level_of_theory": card.level_of_theory, "licence": "made here; no terms", "source": card.citation}
