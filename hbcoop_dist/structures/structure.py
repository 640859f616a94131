"""Structures of molecules as arrays, with conversion to ASE, and complexes of molecules with a marked pair."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
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
Molecules = tuple[int, ...]
"""Molecule indices of one fragment, ascending; the empty tuple is the fragment without molecules, of zero energy."""
A, B, C = 0, 1, 2
"""Molecule indices of A, B and C in the structure of a `Complex`."""


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


@dataclass(frozen=True, slots=True)
class Complex:
    """A structure that consists of the marked pair A, B and its environment C.

    Attributes
    ----------
    name : str
    structure : Structure
        Molecules A, B and, unless the pair is alone, C, with the atoms in the order of the file. The kind of A, B and C
        is ``nma`` or ``water`` where it is one such molecule with its atoms in the package's order, else ``other``.
    free : bool
        Whether the complex and the pair alone are minimised without constraints before fragment energies are computed;
        otherwise all fragments are computed at the given geometry.
    digest : str
        Hash of `structure` and `free`; complexes with equal digests are equal.
    """

    name: str
    structure: Structure = field(compare=False, repr=False)
    free: bool = False
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        content = hashlib.sha256(f"{self.free}\0".encode())
        for array in (self.structure.numbers, self.structure.molecules):
            content.update(np.asarray(array, dtype=np.int64).tobytes())
        content.update(np.asarray(self.structure.positions, dtype=np.float64).tobytes())
        object.__setattr__(self, "digest", content.hexdigest()[:32])

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.structure)

    @property
    def fragments(self) -> dict[str, Molecules]:
        """Molecules of ABC, BC, AC, C, AB, A and B; without an environment, C is empty and ABC equals AB."""
        return _pair_fragments(A, B, (C,) if C in self.structure.molecules else ())

    def pair(self) -> Complex:
        """Return A and B without C, at their geometry in the complex."""
        return Complex(f"{self.name}, A and B alone", self.structure.subset((A, B)), self.free)

    def __str__(self) -> str:
        return self.name


def fragments_of(structure: Structure, hbond: int) -> dict[str, Molecules]:
    """Find the fragments of one H-bond of a chain (Feng, Xu, Huang 2025, Eq. 1).

    A is unit `hbond`, B the next unit, and C all other molecules, waters included.

    Parameters
    ----------
    structure : Structure
        A chain.
    hbond : int
        H-bond of the chain, from 1.

    Returns
    -------
    dict of str to tuple of int
        Molecule indices of ABC, BC, AC, C, AB, A and B.

    Raises
    ------
    ValueError
        When the chain has no such H-bond.
    """
    return dict(_fragments_of(structure.kinds, hbond))


@lru_cache(maxsize=1024)
def _fragments_of(kinds: tuple[str, ...], hbond: int) -> dict[str, Molecules]:
    units = [m for m, kind in enumerate(kinds) if kind == "nma"]
    if not 1 <= hbond < len(units):
        raise ValueError(f"H-bond: expected 1..{len(units) - 1}, found {hbond}")
    a, b = units[hbond - 1], units[hbond]
    return _pair_fragments(a, b, tuple(m for m in range(len(kinds)) if m not in (a, b)))


def _pair_fragments(a: int, b: int, environment: Molecules) -> dict[str, Molecules]:
    return {
        "ABC": tuple(sorted((a, b, *environment))),
        "BC": tuple(sorted((b, *environment))),
        "AC": tuple(sorted((a, *environment))),
        "C": environment,
        "AB": (a, b),
        "A": (a,),
        "B": (b,),
    }


def distinct_fragments(structure: Structure, electronic: bool = True) -> tuple[Molecules, ...]:
    """List every distinct non-empty fragment of all H-bonds of a chain.

    A chain of n units has 2 n fragments (the bare dimer 3), or 4 n - 1 with the electronic part; fragments coincide in
    short bare chains (n = 2, 3, 4: 3, 7, 13).

    Parameters
    ----------
    structure : Structure
        A chain.
    electronic : bool
        Whether AB, A and B at the geometry of the complex are included.

    Returns
    -------
    tuple of tuple of int
        Molecule indices, largest fragments first.
    """
    names = ("ABC", "BC", "AC", "C", "AB", "A", "B") if electronic else ("ABC", "BC", "AC", "C")
    fragments: set[Molecules] = set()
    for hbond in range(1, len(structure.units)):
        of_hbond = fragments_of(structure, hbond)
        fragments.update(of_hbond[name] for name in names if of_hbond[name])
    return tuple(sorted(fragments, key=lambda molecules: (-len(molecules), molecules)))
