"""Read labelled sets from files: extended XYZ, ASE databases and trajectories, fairchem's LMDBs, the QMOF database.

Of a file of millions only the structures that are drawn are read.  One that cannot be used is an error, or is left out
and counted where the caller says so: partial charges of a few frameworks are missing in QMOF, and nobody wants to make
another copy of it for that.  Partial charges of one set are of one kind: those that are found under one name in some
structures and under another in others are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.datasets.connectivity import Parentage, parents
from hbcoop_dist.learning.datasets.frames import Frame, ReadError, Reading, read_frame
from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet, LabelledStructure
from hbcoop_dist.learning.datasets.readers.shards import Shards

IntArray = NDArray[np.int64]


@dataclass(slots=True)
class LeftOut:
    """Structures that are left out, by reason, and the first of each."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, error: ReadError) -> None:
        """Count one more."""
        self.counts[error.reason] += 1
        self.first.setdefault(error.reason, str(error))

    def merge(self, other: LeftOut) -> None:
        """Count those of another as well."""
        self.counts.update(other.counts)
        self.first = {**other.first, **self.first}

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a reason, the most frequent first."""
        return tuple(
            f"{count} left out, {reason}; the first: {self.first[reason]}"
            for reason, count in self.counts.most_common()
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Structures of some rows, whose parents are still to be told, and what tells them.

    Attributes
    ----------
    structures : tuple of LabelledStructure
    parentage : tuple of Parentage
    charges_key : str
        Name under which partial charges were found; empty where there are none.
    left_out : LeftOut
        What could not be used.
    """

    structures: tuple[LabelledStructure, ...]
    parentage: tuple[Parentage, ...]
    charges_key: str
    left_out: LeftOut


def read_set(
    name: str,
    files: Sequence[Path | str],
    *,
    level_of_theory: str,
    source: str,
    licence: str,
    reading: Reading | None = None,
    size: int | None = None,
    seed: int = 0,
) -> LabelledSet:
    """Read several files, or folders of files, as one set.

    Parameters
    ----------
    name : str
    files : sequence of path
    level_of_theory, source, licence : str
        As of `LabelledSet`.
    reading : Reading, optional
    size, seed : int, optional
        So many structures, drawn at random; all without a size.

    Raises
    ------
    ReadError
        When a file cannot be read or is empty, no structure can be used, or one cannot and is not to be left out.
    """
    shards = Shards(files)
    if not shards.files:
        raise ReadError(f"set {name}: expected at least one file, found none")
    found = read_rows(shards, reading or Reading(), drawn(len(shards), size, seed))
    if not found.structures:
        why = "; ".join(found.left_out.lines) or "empty files"
        raise ReadError(f"set {name}: expected structures that can be used, found none: {why}")
    return LabelledSet(name, with_parents([found]), level_of_theory, source, licence, found.left_out.lines)


def drawn(count: int, size: int | None, seed: int) -> IntArray:
    """Numbers of the rows that are taken, ascending."""
    if size is None or size >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size, replace=False))


def read_rows(shards: Shards, reading: Reading, places: Iterable[int]) -> Found:
    """Structures of these rows; errors as of `read_set`."""
    structures, parentage, left_out = [], [], LeftOut()
    kind: tuple[str, str] | None = None
    for rows, number in shards.rows(places):
        try:
            frame = Frame(rows.atoms(number), rows.path, rows.place(number), reading)
            structure, tells = read_frame(frame)
        except ReadError as error:
            if not (reading.skip_incomplete and error.reason):
                raise
            left_out.add(error)
            continue
        if structure.charges is not None and "charges" not in reading.keys:
            kind = _one_kind(kind, frame)
        structures.append(structure)
        parentage.append(tells)
    return Found(tuple(structures), tuple(parentage), kind[0] if kind else "", left_out)


def _one_kind(kind: tuple[str, str] | None, frame: Frame) -> tuple[str, str]:
    """Name of the partial charges, and where they were found under it."""
    key = (frame.find("charges") or ("",))[0]
    here = f"{frame.path}, {frame.place}"
    if kind is not None and kind[0] != key:
        raise ReadError(
            f"{here}, charges: expected partial charges under the name {kind[0]}, as in {kind[1]}, found {key}; say "
            "which are meant (labels: {charges: NAME})"
        )
    return kind or (key, here)


def with_parents(parts: Sequence[Found]) -> tuple[LabelledStructure, ...]:
    """Structures of one set, each with its parent; errors as of `one_kind_of_charges`."""
    one_kind_of_charges(part.charges_key for part in parts)
    named = parents([tells for part in parts for tells in part.parentage])
    structures = (structure for part in parts for structure in part.structures)
    return tuple(replace(one, parent=parent) for one, parent in zip(structures, named, strict=True))


def one_kind_of_charges(keys: Iterable[str]) -> None:
    """Refuse a set whose parts have partial charges under different names.

    Raises
    ------
    ReadError
        When they do.
    """
    if len(kinds := sorted({key for key in keys if key})) > 1:
        raise ReadError(
            f"charges: expected partial charges under one name, found {' and '.join(kinds)}; say which are meant "
            "(labels: {charges: NAME})"
        )
