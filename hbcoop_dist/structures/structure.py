"""Structures of NMA, water and other molecules as arrays, with conversion to ASE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hbcoop_dist.core.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from ase import Atoms

NMA_ATOMS = ("CA", "C", "O", "N", "H", "CN", "HA1", "HA2", "HA3", "HN1", "HN2", "HN3")
"""Atoms of one NMA unit in order: carbon of the acetyl CH3, C, O, N, H, carbon of the N-methyl, hydrogens of the two
methyls. HA1 and HN1 lie in the amide plane; HA2/HA3 and HN2/HN3 are mirror images in it."""

WATER_ATOMS = ("O", "H1", "H2")
"""Atoms of one water in order."""

MOLECULE_ATOMS = {"nma": NMA_ATOMS, "water": WATER_ATOMS}
"""Atom names of each kind of molecule."""

MOLECULE_NUMBERS = {"nma": (6, 6, 8, 7, 1, 6, 1, 1, 1, 1, 1, 1), "water": (8, 1, 1)}
"""Atomic numbers of each kind of molecule."""

MOLECULE_BONDS = {
    "nma": (
        ("CA", "C"),
        ("C", "O"),
        ("C", "N"),
        ("N", "H"),
        ("N", "CN"),
        ("CA", "HA1"),
        ("CA", "HA2"),
        ("CA", "HA3"),
        ("CN", "HN1"),
        ("CN", "HN2"),
        ("CN", "HN3"),
    ),
    "water": (("O", "H1"), ("O", "H2")),
}
"""Covalent bonds of each kind of molecule, by atom names."""


@dataclass(frozen=True, slots=True)
class Structure:
    """Atoms grouped into molecules.

    Attributes
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) float64 array
        A.
    molecules : (N,) int array
        Index of the molecule of every atom: 0, 1, ... in ascending order.
    kinds : tuple of str
        Kind of every molecule: ``nma`` or ``water``, whose atoms are ordered as `NMA_ATOMS` or `WATER_ATOMS`, or
        ``other``.
    ghosts : tuple of int
        Molecules that contribute only the basis functions of their atoms (counterpoise correction).

    Raises
    ------
    ValueError
        When the arrays do not have one entry per atom.
    """

    numbers: IntArray
    positions: FloatArray
    molecules: IntArray
    kinds: tuple[str, ...]
    ghosts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.numbers)
        if self.positions.shape != (n, 3) or self.molecules.shape != (n,):
            raise ValueError(
                f"structure: expected positions ({n}, 3) and molecules ({n},), "
                f"found {self.positions.shape} and {self.molecules.shape}"
            )

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def from_molecules(cls, molecules: Iterable[tuple[str, FloatArray]]) -> Structure:
        """Join molecules into one structure.

        Parameters
        ----------
        molecules : iterable of (str, (m, 3) array)
            Kind, ``nma`` or ``water``, and positions, A, of every molecule.

        Returns
        -------
        Structure
        """
        pairs = list(molecules)
        kinds = tuple(kind for kind, _ in pairs)
        numbers = [z for kind in kinds for z in MOLECULE_NUMBERS[kind]]
        owner = [m for m, kind in enumerate(kinds) for _ in MOLECULE_NUMBERS[kind]]
        stacked = np.concatenate([np.asarray(x, dtype=float) for _, x in pairs])
        return cls(np.array(numbers), stacked, np.array(owner), kinds)

    def with_positions(self, positions: FloatArray) -> Structure:
        """Return a copy with other positions, (N, 3), A."""
        return replace(self, positions=np.asarray(positions, dtype=float))

    def subset(self, molecules: Sequence[int]) -> Structure:
        """Extract molecules, in ascending order and renumbered from 0.

        Parameters
        ----------
        molecules : sequence of int
            Indices of the molecules to keep.

        Returns
        -------
        Structure
        """
        keep = sorted(molecules)
        mask = np.isin(self.molecules, keep)
        renumbered = np.searchsorted(np.array(keep), self.molecules[mask])
        return Structure(self.numbers[mask], self.positions[mask], renumbered, tuple(self.kinds[m] for m in keep))

    def ghosted(self, molecules: Sequence[int]) -> Structure:
        """Return a copy in which all other molecules are ghosts.

        Parameters
        ----------
        molecules : sequence of int
            Indices of the molecules that stay real.

        Returns
        -------
        Structure
        """
        return replace(self, ghosts=tuple(m for m in range(len(self.kinds)) if m not in molecules))

    def atoms_of(self, molecule: int) -> IntArray:
        """Return the atom indices of one molecule."""
        return np.flatnonzero(self.molecules == molecule)

    @property
    def units(self) -> tuple[int, ...]:
        """Molecule indices of the NMA units in chain order."""
        return tuple(m for m, kind in enumerate(self.kinds) if kind == "nma")

    def to_ase(self) -> Atoms:
        """Convert to ASE Atoms.

        Returns
        -------
        ase.Atoms
            With the array ``molecules`` and the info ``kinds``, ``charge`` (0) and ``spin`` (1, the multiplicity).
        """
        from ase import Atoms

        atoms = Atoms(numbers=self.numbers, positions=self.positions)
        atoms.set_array("molecules", self.molecules)
        atoms.info.update(kinds=list(self.kinds), charge=0, spin=1)
        return atoms
