"""One molecular structure: arrays inside, ASE Atoms at the border."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NMA_ATOMS = ("CA", "C", "O", "N", "H", "CN", "HA1", "HA2", "HA3", "HN1", "HN2", "HN3")
"""Atoms of one NMA unit, in order: acetyl CH3 carbon, C, O, N, H, N-methyl carbon, then acetyl and amine
hydrogens.  HA1 and HN1 lie in the amide plane; HA2/HA3 and HN2/HN3 are mirrored by it."""

WATER_ATOMS = ("O", "H1", "H2")
"""Atoms of one water, in order."""

MOLECULE_NUMBERS = {"nma": (6, 6, 8, 7, 1, 6, 1, 1, 1, 1, 1, 1), "water": (8, 1, 1)}


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
        Index of the molecule each atom belongs to: 0, 1, ... in ascending order.
    kinds : tuple of str
        Kind of each molecule, ``nma`` or ``water`` (atoms then stand in the order of `NMA_ATOMS` or `WATER_ATOMS`), or
        ``other``.
    ghosts : tuple of int
        Molecules that are not there but for the basis functions of their atoms (counterpoise).
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
        """Join ``(kind, positions)`` pairs, kinds ``nma`` or ``water``, into one structure."""
        pairs = list(molecules)
        kinds = tuple(kind for kind, _ in pairs)
        numbers = [z for kind in kinds for z in MOLECULE_NUMBERS[kind]]
        owner = [m for m, kind in enumerate(kinds) for _ in MOLECULE_NUMBERS[kind]]
        stacked = np.concatenate([np.asarray(x, dtype=float) for _, x in pairs])
        return cls(np.array(numbers), stacked, np.array(owner), kinds)

    def with_positions(self, positions: FloatArray) -> Structure:
        """The same atoms elsewhere; `positions` is (N, 3) in A."""
        return replace(self, positions=np.asarray(positions, dtype=float))

    def subset(self, molecules: Sequence[int]) -> Structure:
        """The structure of the given molecules only, in ascending order, renumbered from 0."""
        keep = sorted(molecules)
        mask = np.isin(self.molecules, keep)
        renumber = np.searchsorted(np.array(keep), self.molecules[mask])
        return Structure(self.numbers[mask], self.positions[mask], renumber, tuple(self.kinds[m] for m in keep))

    def ghosted(self, molecules: Sequence[int]) -> Structure:
        """The structure of the given molecules, the others as ghosts."""
        return replace(self, ghosts=tuple(m for m in range(len(self.kinds)) if m not in molecules))

    def atoms_of(self, molecule: int) -> IntArray:
        """Indices of the atoms of one molecule."""
        return np.flatnonzero(self.molecules == molecule)

    @property
    def units(self) -> tuple[int, ...]:
        """Molecule indices of the NMA units, in chain order."""
        return tuple(m for m, kind in enumerate(self.kinds) if kind == "nma")

    def to_ase(self) -> Atoms:
        """As ASE Atoms, with arrays ``molecules`` and info ``kinds``, ``charge`` 0 and ``spin`` 1."""
        from ase import Atoms

        atoms = Atoms(numbers=self.numbers, positions=self.positions)
        atoms.set_array("molecules", self.molecules)
        atoms.info.update(kinds=list(self.kinds), charge=0, spin=1)
        return atoms
