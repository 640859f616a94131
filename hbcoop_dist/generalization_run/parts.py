"""Parts of a large set: read from files, described, and what splits and pictures need to know of all of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hbcoop_dist.generalization.blocks import Blocks
from hbcoop_dist.generalization.labelled import LabelledStructure
from hbcoop_dist.generalization.pack import pack, unpack
from hbcoop_dist.generalization.parents import Parentage, parents
from hbcoop_dist.generalization.read_set import Found, LeftOut, drawn, one_kind_of_charges, read_rows, with_parents
from hbcoop_dist.generalization.readers.shards import Shards
from hbcoop_dist.generalization.soap import FEATURES, blocks
from hbcoop_dist.generalization_run.reading_of import reading_of
from hbcoop_dist.generalization_run.tasks import DataSource
from hbcoop_dist.results import TaskResult

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
    places = drawn(len(shards), entry.size, entry.seed)[first : first + count]
    found = read_rows(shards, reading_of(entry), places)
    left_out = {reason: (count, found.left_out.first[reason]) for reason, count in found.left_out.counts.items()}
    return {
        **pack(found.structures),
        "parentage": json.dumps([asdict(one) for one in found.parentage]),
        "charges_key": found.charges_key,
        "left_out": json.dumps(left_out),
    }


def described_part(structures: tuple[LabelledStructure, ...]) -> dict[str, object]:
    """Averaged SOAP of one part, by blocks, in float32."""
    found = blocks(structures)
    return {"rows": found.rows, "elements": found.elements, "values": found.values, "count": found.count}


def blocks_of(data: DataSource, known: Known) -> Blocks:
    """Averaged SOAP of all parts."""
    parts = [known[key].data for key in data.described]
    indices = [(np.asarray(one["rows"]), np.asarray(one["elements"]), int(str(one["count"]))) for one in parts]
    return Blocks.join(indices, (np.asarray(one["values"]) for one in parts), FEATURES)


def read_structures(data: DataSource, known: Known) -> tuple[tuple[LabelledStructure, ...], tuple[str, ...]]:
    """All structures of a set that was read in parts, and lines about those that could not be used."""
    found = [_found(known[key].data) for key in data.chunks]
    return with_parents(found), _left_out(known[key].data for key in data.chunks)


def outlines(data: DataSource, known: Known) -> tuple[list[Outline], tuple[str, ...]]:
    """What is to be known of all structures, and lines about those that could not be used; no structure is read."""
    packed = [known[key].data for key in data.chunks]
    named = [parent for one in packed for parent in json.loads(str(one["parents"]))]
    left_out: tuple[str, ...] = ()
    if data.entry.files:
        one_kind_of_charges(str(one["charges_key"]) for one in packed)
        named = parents([tells for one in packed for tells in _parentage(one)])
        left_out = _left_out(packed)
    domains = [domain for one in packed for domain in json.loads(str(one["domains"]))]
    sizes = [size for one in packed for size in np.diff(np.asarray(one["offsets"])).tolist()]
    periodic = [bool(cell) for one in packed for cell in _periodic(one)]
    found = zip(named, domains, sizes, periodic, strict=True)
    return [Outline(*values) for values in found], left_out


def _found(packed: Mapping[str, Any]) -> Found:
    # all of a file at once: field by field, and structure by structure, it would be opened for each
    whole = dict(packed)
    return Found(unpack(whole), tuple(_parentage(whole)), str(whole["charges_key"]), LeftOut())


def _parentage(packed: Mapping[str, Any]) -> list[Parentage]:
    return [Parentage(**one) for one in json.loads(str(packed["parentage"]))]


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
