"""Read the complexes of a campaign: structure files, and which of their atoms are A and B."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hbcoop_dist.campaigns.complexes.spec import ComplexEntry
from hbcoop_dist.campaigns.spec_fields import CampaignError
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.bonds import kind_in_order, relative_distances
from hbcoop_dist.structures.complexes import Complex

BOND = 1.25
"""Atoms nearer than this many times the sum of their covalent radii are bonded; a short O..H bridge is at 1.5."""


class ComplexError(CampaignError):
    """A complex of a campaign that cannot be used; the message names the complex, the field and the file."""


def read_complexes(entries: Iterable[ComplexEntry]) -> tuple[Complex, ...]:
    """Read every complex of a campaign.

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
        raise ComplexError(f"complex {entry.name}: expected a file {path}, found none")
    try:
        atoms = read(path, index=-1)
    except Exception as error:  # readers of foreign files may raise anything
        raise ComplexError(
            f"complex {entry.name}: expected a structure that ASE reads in {path}, found "
            f"{type(error).__name__}: {error}"
        ) from error
    if any(atoms.pbc):
        raise ComplexError(f"complex {entry.name}: expected molecules without periodic images in {path}, found a cell")
    if not len(atoms):
        raise ComplexError(f"complex {entry.name}: expected atoms in {path}, found none")
    owner = np.full(len(atoms), 2)
    for index, (name, chosen) in enumerate((("A", entry.A), ("B", entry.B))):
        _require_atoms(entry, name, chosen, len(atoms))
        owner[list(chosen)] = index
    if both := sorted(set(entry.A) & set(entry.B)):
        raise ComplexError(f"complex {entry.name}: expected A and B apart, found atoms {both} in both")
    numbers, positions = np.asarray(atoms.numbers), np.asarray(atoms.positions, dtype=float)
    kinds = tuple(kind_in_order(numbers[owner == part], positions[owner == part]) for part in range(owner.max() + 1))
    structure = Structure(numbers, positions, owner, kinds)
    _require_molecules(entry, structure)
    return Complex(entry.name, structure, entry.geometry == "free")


def _require_molecules(entry: ComplexEntry, structure: Structure) -> None:
    """Refuse a mark that cuts a bond, most often an index that is off by one."""
    bonded = relative_distances(structure.numbers, structure.positions) < BOND
    cut = bonded & (structure.molecules[:, None] < structure.molecules[None])
    if cut.any():
        first, second = (int(atom) for atom in np.argwhere(cut)[0])
        parts = " and ".join("ABC"[structure.molecules[atom]] for atom in (first, second))
        raise ComplexError(
            f"complex {entry.name}: expected no bond between {parts}, found atoms {first} and {second}, "
            f"{np.linalg.norm(structure.positions[first] - structure.positions[second]):.2f} A apart"
        )


def _require_atoms(entry: ComplexEntry, name: str, chosen: Sequence[int], count: int) -> None:
    if outside := [atom for atom in chosen if atom >= count]:
        raise ComplexError(
            f"complex {entry.name}, {name}: expected atoms 0 to {count - 1} of {entry.file}, found {outside[0]}"
        )
