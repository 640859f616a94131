"""Any cluster of molecules in which a pair is marked: A, B, and C, which is everything else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from hbcoop_dist.structures.fragments import Molecules
from hbcoop_dist.structures.structure import Structure

A, B, C = 0, 1, 2
"""Molecule indices in the structure of a marked system."""


@dataclass(frozen=True, slots=True)
class Complex:
    """A structure whose molecules are A, B and, where there is more, C.

    Attributes
    ----------
    name : str
    structure : Structure
        Atoms in the order of the file. The kind of A, B or C is ``nma`` or ``water`` where it is one such molecule with
        its atoms in our order, ``other`` elsewhere.
    free : bool
        Whether the complex and the pair alone are minimised freely before energies are taken; otherwise every fragment
        is taken as it lies.
    digest : str
        Hash of `structure` and `free`, by which systems are compared.
    """

    name: str
    structure: Structure = field(compare=False, repr=False)
    free: bool = False
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        total = hashlib.sha256(f"{self.free}\0".encode())
        for array in (self.structure.numbers, self.structure.molecules):
            total.update(np.asarray(array, dtype=np.int64).tobytes())
        total.update(np.asarray(self.structure.positions, dtype=np.float64).tobytes())
        object.__setattr__(self, "digest", total.hexdigest()[:32])

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.structure)

    @property
    def fragments(self) -> dict[str, Molecules]:
        """Molecules of the points of Eq. 1 in the complex; C and what it is in are missing where there is no C."""
        rest: Molecules = (C,) if C in self.structure.molecules else ()
        return {
            "ABC": (A, B, *rest),
            "BC": (B, *rest),
            "AC": (A, *rest),
            "C": rest,
            "AB": (A, B),
            "A": (A,),
            "B": (B,),
        }

    def pair(self) -> Complex:
        """A and B alone, as they lie in the complex."""
        return Complex(f"{self.name}, A and B alone", self.structure.subset((A, B)), self.free)

    def __str__(self) -> str:
        return self.name
