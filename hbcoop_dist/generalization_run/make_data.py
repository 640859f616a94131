"""Labelled sets as workers see them: made and labelled chunk by chunk, or read from files, large ones in parts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hbcoop_dist.generalization.clusters import clusters
from hbcoop_dist.generalization.label import label
from hbcoop_dist.generalization.labelled import LabelledSet, LabelledStructure
from hbcoop_dist.generalization.pack import pack, unpack
from hbcoop_dist.generalization.read_set import read_set
from hbcoop_dist.generalization_run.parts import read_structures
from hbcoop_dist.generalization_run.reading_of import reading_of
from hbcoop_dist.generalization_run.spec import DatasetEntry
from hbcoop_dist.generalization_run.tasks import CHUNK, DataSource
from hbcoop_dist.models import registry
from hbcoop_dist.results import TaskResult


def labelled_chunk(entry: DatasetEntry, chunk: int, device: str) -> dict[str, object]:
    """Chunk `chunk` of a generated set, packed, and what its teacher had no answer for."""
    assert entry.generate is not None
    assert entry.size is not None
    first = chunk * CHUNK
    bare = clusters(
        entry.generate,
        min(CHUNK, entry.size - first),
        entry.seed,
        first=first,
        sizes=entry.molecules,
        cutoff=entry.cutoff,
    )
    found = label(bare, entry.teacher, device=device, largest_leak=entry.largest_leak)
    lines = [f"structure {first + one.place}: {one.reason}" for one in found.dropped]
    return {**pack(found.structures), "dropped": json.dumps(lines)}


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
        return tuple(one for key in data.chunks for one in unpack(known[key].data)), ()
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
        reading=reading_of(entry),
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
