"""Read labelled sets from files (extended XYZ, ASE databases and trajectories, fairchem's LMDBs, QMOF), and write them.

Of a file of millions only the structures that are drawn are read. One that cannot be used is an error, or is left out
and counted if the options allow it: partial charges of a few frameworks are missing in QMOF, for example. Partial
charges of one set must be of one kind: a set where they have one key in some structures and another key in others is
refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbcoop_dist.core.arrays import IntArray
from hbcoop_dist.learning.datasets.connectivity import ParentClues, parent_names
from hbcoop_dist.learning.datasets.file_rows import Shards, content_files
from hbcoop_dist.learning.datasets.frames import Frame, ReadError, ReadOptions, read_frame
from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet, LabelledStructure

if TYPE_CHECKING:
    from ase import Atoms


WHOLE = 2**30
"""Bytes of a set up to which its files are hashed completely."""
_END, _BLOCK, _BLOCKS = 2**20, 2**16, 64


@dataclass(slots=True)
class LeftOut:
    """Structures that were left out.

    Attributes
    ----------
    counts : Counter of str
        Number of structures by reason.
    first : dict of str to str
        Message about the first structure, by reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, error: ReadError) -> None:
        """Count the structure of an error."""
        self.counts[error.reason] += 1
        self.first.setdefault(error.reason, str(error))

    def merge(self, other: LeftOut) -> None:
        """Add the counts of another part of the set."""
        self.counts.update(other.counts)
        self.first = {**other.first, **self.first}

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per reason, the most frequent first."""
        return tuple(
            f"{count} left out, {reason}; the first: {self.first[reason]}"
            for reason, count in self.counts.most_common()
        )


@dataclass(frozen=True, slots=True)
class PartialSet:
    """Structures of some rows of a set, before parents are assigned.

    Attributes
    ----------
    structures : tuple of LabelledStructure
        With empty parents.
    clues : tuple of ParentClues
        One per structure.
    charges_key : str
        Key under which partial charges were found; empty when there are none.
    left_out : LeftOut
    """

    structures: tuple[LabelledStructure, ...]
    clues: tuple[ParentClues, ...]
    charges_key: str
    left_out: LeftOut


def read_set(
    name: str,
    files: Sequence[Path | str],
    *,
    level_of_theory: str,
    source: str,
    licence: str,
    options: ReadOptions | None = None,
    size: int | None = None,
    seed: int = 0,
) -> LabelledSet:
    """Read several files, or folders of files, as one set.

    Parameters
    ----------
    name : str
    files : sequence of path
    level_of_theory, source, licence : str
        See `LabelledSet`.
    options : ReadOptions, optional
    size : int, optional
        Number of structures to draw at random; all by default.
    seed : int
        Seed of the draw.

    Raises
    ------
    ReadError
        When a file cannot be read or is empty, no structure can be used, or one cannot be used and must not be left
        out.
    """
    shards = Shards(files)
    if not shards.files:
        raise ReadError(f"set {name}: expected at least one file, found none")
    part = read_rows(shards, options or ReadOptions(), draw_rows(len(shards), size, seed))
    if not part.structures:
        reasons = "; ".join(part.left_out.lines) or "empty files"
        raise ReadError(f"set {name}: expected structures that can be used, found none: {reasons}")
    return LabelledSet(name, join_parts([part]), level_of_theory, source, licence, part.left_out.lines)


def draw_rows(count: int, size: int | None, seed: int) -> IntArray:
    """Return the indices of drawn rows, ascending.

    Parameters
    ----------
    count : int
        Rows in all.
    size : int or None
        Rows to draw; None takes all.
    seed : int
    """
    if size is None or size >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size, replace=False))


def read_rows(shards: Shards, options: ReadOptions, indices: Iterable[int]) -> PartialSet:
    """Read the structures of some rows.

    Parameters
    ----------
    shards : Shards
    options : ReadOptions
    indices : iterable of int
        Ascending.

    Raises
    ------
    ReadError
        When a structure cannot be used and must not be left out, or partial charges have several keys.
    """
    structures, clues, left_out = [], [], LeftOut()
    charges_key, first_position = "", ""
    for rows, number in shards.rows(indices):
        try:
            frame = Frame(rows.atoms(number), rows.path, rows.position(number), options)
            structure, clue = read_frame(frame)
        except ReadError as error:
            if not (options.skip_incomplete and error.reason):
                raise
            left_out.add(error)
            continue
        if structure.charges is not None and "charges" not in options.keys:
            key = (frame.find("charges") or ("",))[0]
            position = f"{frame.path}, {frame.position}"
            if charges_key and key != charges_key:
                raise ReadError(
                    f"{position}, charges: expected partial charges under the key {charges_key}, as in "
                    f"{first_position}, found {key}; choose one of them (labels: {{charges: NAME}})"
                )
            charges_key, first_position = charges_key or key, first_position or position
        structures.append(structure)
        clues.append(clue)
    return PartialSet(tuple(structures), tuple(clues), charges_key, left_out)


def join_parts(parts: Sequence[PartialSet]) -> tuple[LabelledStructure, ...]:
    """Join all parts of a set, and assign parents.

    Raises
    ------
    ReadError
        When the parts have partial charges under several keys.
    """
    require_one_charges_key(part.charges_key for part in parts)
    parents = parent_names([clue for part in parts for clue in part.clues])
    structures = (structure for part in parts for structure in part.structures)
    return tuple(replace(structure, parent=parent) for structure, parent in zip(structures, parents, strict=True))


def require_one_charges_key(keys: Iterable[str]) -> None:
    """Raise `ReadError` when parts of a set have partial charges under several keys; empty keys are ignored."""
    if len(distinct := sorted({key for key in keys if key})) > 1:
        raise ReadError(
            f"charges: expected partial charges under one key, found {' and '.join(distinct)}; choose one of them "
            "(labels: {charges: NAME})"
        )


def write_set(path: Path | str, structures: Sequence[LabelledStructure]) -> None:
    """Write structures as extended XYZ, which `read_set` reads to 1e-8 of the unit of each column.

    Units are eV, eV/A, e and e A; molecules, their charges, parent and domain have keys of their own.

    Parameters
    ----------
    path : path
    structures : sequence of LabelledStructure
    """
    from ase.io import write

    write(path, [to_atoms(structure) for structure in structures], format="extxyz")


def to_atoms(structure: LabelledStructure) -> Atoms:
    """Return a structure as `ase.Atoms`, with labels in a calculator, in arrays and in ``info``."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.cell is not None)
    atoms.set_array("molecules", structure.molecules)
    info: dict[str, Any] = {
        "total_charge": structure.charge,
        "molecule_charges": list(structure.molecule_charges),
        "parent": structure.parent,
        "config_type": structure.domain,
        "interaction_energy": structure.interaction_energy,
    }
    atoms.info.update({key: value for key, value in info.items() if value is not None})
    labels = {name: getattr(structure, name) for name in ("energy", "forces", "charges", "dipole")}
    atoms.calc = SinglePointCalculator(atoms, **{key: value for key, value in labels.items() if value is not None})
    return atoms


def hash_files(files: Sequence[Path | str]) -> tuple[str, ...]:
    """Return one SHA-256 for each file or folder of a set.

    Parameters
    ----------
    files : sequence of path

    Returns
    -------
    tuple of str
        Hexadecimal hashes in the order of `files`.

    Raises
    ------
    ReadError
        When one does not exist, or holds no set.
    """
    listings = [content_files(file) for file in files]
    size = sum(path.stat().st_size for listing in listings for path in listing)
    return tuple(_join([_hash(path, size > WHOLE) for path in listing]) for listing in listings)


def _join(hashes: list[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _hash(path: Path, sampled: bool) -> str:
    with path.open("rb") as file:
        if not sampled:
            return hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        digest = hashlib.sha256(f"sampled {size}".encode())
        digest.update(file.read(_END))
        for number in range(1, _BLOCKS):
            file.seek(size * number // _BLOCKS)
            digest.update(file.read(_BLOCK))
        file.seek(max(0, size - _END))
        digest.update(file.read(_END))
        return digest.hexdigest()
