"""Read the systems of a campaign in which a pair is marked: a file, and which of its atoms are A and B."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hbcoop_dist.campaigns.spec_fields import ComplexEntry
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.bonds import bond_graph, kind_in_order
from hbcoop_dist.structures.complexes import Complex


class ComplexError(ValueError):
    """A system of a campaign that cannot be used; the message names the file and the field."""


def read_complexes(entries: Iterable[ComplexEntry]) -> tuple[Complex, ...]:
    """Read every system of a campaign.

    Raises
    ------
    ComplexError
        When a file cannot be read, or A and B are not two different sets of its atoms.
    """
    return tuple(_read(entry) for entry in entries)


def _read(entry: ComplexEntry) -> Complex:
    from ase.io import read

    path = Path(entry.file)
    if not path.is_file():
        raise ComplexError(f"system {entry.name}: expected a file {path}, found none")
    try:
        atoms = read(path, index=-1)
    except Exception as error:  # a reader of foreign files may raise anything
        what = f"{type(error).__name__}: {error}"
        raise ComplexError(
            f"system {entry.name}: expected a structure that ASE reads in {path}, found {what}"
        ) from error
    if any(atoms.pbc):
        raise ComplexError(f"system {entry.name}: expected molecules without periodic images in {path}, found a cell")
    if not len(atoms):
        raise ComplexError(f"system {entry.name}: expected atoms in {path}, found none")
    owner = np.full(len(atoms), 2)
    for index, (name, chosen) in enumerate((("A", entry.A), ("B", entry.B))):
        _require_atoms(entry, name, chosen, len(atoms))
        owner[list(chosen)] = index
    if both := sorted(set(entry.A) & set(entry.B)):
        raise ComplexError(f"system {entry.name}: expected A and B apart, found atoms {both} in both")
    numbers, positions = np.asarray(atoms.numbers), np.asarray(atoms.positions, dtype=float)
    kinds = tuple(kind_in_order(numbers[owner == part], positions[owner == part]) for part in range(owner.max() + 1))
    structure = Structure(numbers, positions, owner, kinds)
    _require_molecules(entry, structure)
    return Complex(entry.name, structure, entry.geometry == "free")


def _require_molecules(entry: ComplexEntry, structure: Structure) -> None:
    """A mark that cuts a bond is most often an index that is off by one."""
    graph, molecules = bond_graph(structure.numbers, structure.positions), structure.molecules
    for one, other in graph.edges:
        if molecules[one] == molecules[other]:
            continue
        distance = np.linalg.norm(structure.positions[one] - structure.positions[other])
        parts = " and ".join("ABC"[structure.molecules[atom]] for atom in (one, other))
        raise ComplexError(
            f"system {entry.name}: expected no bond between {parts}, found atoms {one} and {other}, "
            f"{distance:.2f} A apart"
        )


def _require_atoms(entry: ComplexEntry, name: str, chosen: Sequence[int], count: int) -> None:
    if outside := [atom for atom in chosen if atom >= count]:
        raise ComplexError(
            f"system {entry.name}, {name}: expected atoms 0 to {count - 1} of {entry.file}, found {outside[0]}"
        )
