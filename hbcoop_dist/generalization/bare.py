"""Structures without labels: what is generated, and what a teacher is asked about."""

from __future__ import annotations

from dataclasses import dataclass

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
        As of `hbcoop_dist.generalization.labelled.LabelledStructure`.
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
