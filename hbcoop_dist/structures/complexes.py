"""Complexes with a marked pair A, B and environment C, and the fragments that Eq. 1 takes from them and from chains."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from hbcoop_dist.structures.structure import Structure

Molecules = tuple[int, ...]
"""Molecule indices of one fragment, ascending; the empty tuple is the fragment without molecules, of zero energy."""

A, B, C = 0, 1, 2
"""Molecule indices of A, B and C in the structure of a `Complex`."""


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
