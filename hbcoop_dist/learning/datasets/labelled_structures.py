"""Structures without labels: what is generated, and what a teacher is asked about.

Structures with reference labels, and sets of them: what networks are trained on and tested against.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BareStructure:
    """Molecules at some place, and where they belong in chemical space.

    Attributes
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.
    molecules : (N,) int array
        Index of the molecule of every atom: 0, 1, ... in ascending order.
    molecule_charges : tuple of int
        Charge of every molecule, e.
    parent, domain : str
        As of `hbcoop_dist.learning.datasets.labelled_structures.LabelledStructure`.
    """

    numbers: IntArray
    positions: FloatArray
    molecules: IntArray
    molecule_charges: tuple[int, ...]
    parent: str
    domain: str

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def charge(self) -> int:
        """Total charge, e."""
        return sum(self.molecule_charges)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledStructure:
    """One structure and its labels.

    Attributes
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.
    energy : float
        eV.
    forces : (N, 3) array or None
        eV/A.
    parent : str
        Parent molecule (or composition of molecules): structures of one parent never lie on both sides of a split.
    domain : str
        Part of chemical space, by which errors are told apart.
    charge : int
        Total charge, e.
    charges : (N,) array or None
        Partial charges, e.
    dipole : (3,) array or None
        e A; of a charged structure, about the origin of `positions`. Not defined for a structure that repeats, where it
        counts for nothing.
    molecules : (N,) int array
        Index of the molecule of every atom: 0, 1, ... in ascending order; all 0 where they are not known.
    molecule_charges : tuple of int
        Charge of every molecule, e.
    interaction_energy : float or None
        Energy less that of its molecules each alone at the same geometry, eV; of a structure that repeats, each alone
        in the same cell, with its own images.
    cell : (3, 3) array or None
        Lattice vectors as rows, A, of a structure that repeats in all three directions; None of one that does not.
    """

    numbers: IntArray
    positions: FloatArray
    energy: float
    forces: FloatArray | None
    parent: str
    domain: str
    charge: int = 0
    charges: FloatArray | None = None
    dipole: FloatArray | None = None
    molecules: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    molecule_charges: tuple[int, ...] = ()
    interaction_energy: float | None = None
    cell: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.numbers)
        if len(self.molecules) != n:
            object.__setattr__(self, "molecules", np.zeros(n, dtype=np.int64))
        if not self.molecule_charges:
            object.__setattr__(self, "molecule_charges", (self.charge,))
        if self.positions.shape != (n, 3) or (self.forces is not None and self.forces.shape != (n, 3)):
            raise ValueError(f"labelled structure of {n} atoms: expected positions and forces ({n}, 3), found others")
        if self.cell is not None and (self.cell.shape != (3, 3) or not abs(np.linalg.det(self.cell)) > 0):
            raise ValueError(f"labelled structure of {n} atoms: expected three lattice vectors, found {self.cell}")
        if sum(self.molecule_charges) != self.charge or len(self.molecule_charges) != int(self.molecules.max()) + 1:
            raise ValueError(
                f"labelled structure of charge {self.charge}: expected molecules whose charges sum to it, one each, "
                f"found {self.molecule_charges} for {int(self.molecules.max()) + 1}"
            )

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def gap(self) -> float:
        """Smallest distance between atoms of different molecules, A; infinite where there is one molecule.

        Images of the others count, a molecule's own images do not.
        """
        apart = self.molecules[:, None] != self.molecules[None, :]
        if not apart.any():
            return float("inf")
        if self.cell is None:
            distances = np.linalg.norm(self.positions[:, None] - self.positions[None, :], axis=-1)
        else:
            from ase.geometry import get_distances

            _, distances = get_distances(self.positions, cell=self.cell, pbc=True)
        return float(distances[apart].min())


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """Labelled structures under a name.

    Attributes
    ----------
    name : str
    structures : tuple of LabelledStructure
    level_of_theory, source, licence : str
        What the labels are, where they come from, and under which terms.
    left_out : tuple of str
        Lines about structures of the files that could not be used.
    """

    name: str
    structures: tuple[LabelledStructure, ...]
    level_of_theory: str
    source: str
    licence: str
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.structures)

    def __iter__(self) -> Iterator[LabelledStructure]:
        return iter(self.structures)

    def take(self, places: Iterable[int]) -> tuple[LabelledStructure, ...]:
        """The structures at these places, in this order."""
        return tuple(self.structures[place] for place in places)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(int(z) for z in np.unique(np.concatenate([one.numbers for one in self.structures])))

    @property
    def sha256(self) -> str:
        """Hash of all that a network is trained on and tested against."""
        digest = hashlib.sha256()
        for one in self.structures:
            for array in (one.numbers, one.positions, one.forces, one.charges, one.dipole, one.molecules):
                digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
            labels = (one.energy, one.parent, one.domain, one.charge, one.molecule_charges, one.interaction_energy)
            digest.update(repr(labels).encode())
            if one.cell is not None:
                digest.update(np.ascontiguousarray(one.cell).tobytes())
        return digest.hexdigest()
