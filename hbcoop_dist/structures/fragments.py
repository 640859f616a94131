"""Fragments of every H-bond, and how few distinct points Eq. 1 needs (Feng, Xu, Huang 2025)."""

from __future__ import annotations

from functools import lru_cache

from hbcoop_dist.structures.structure import Structure

Molecules = tuple[int, ...]


def fragments_of(structure: Structure, hbond: int) -> dict[str, Molecules]:
    """Molecule indices of ABC, BC, AC, C, AB, A and B of one H-bond (1-based).

    A is unit `hbond`, B the next unit, C every other molecule, waters included.  An empty tuple is no molecule at all.
    """
    return dict(_fragments_of(structure.kinds, hbond))


@lru_cache(maxsize=1024)
def _fragments_of(kinds: tuple[str, ...], hbond: int) -> dict[str, Molecules]:
    units = [m for m, kind in enumerate(kinds) if kind == "nma"]
    if not 1 <= hbond < len(units):
        raise ValueError(f"H-bond: expected 1..{len(units) - 1}, found {hbond}")
    a, b = units[hbond - 1], units[hbond]
    rest = tuple(m for m in range(len(kinds)) if m not in (a, b))
    return {
        "ABC": tuple(sorted((a, b, *rest))),
        "BC": tuple(sorted((b, *rest))),
        "AC": tuple(sorted((a, *rest))),
        "C": rest,
        "AB": (a, b),
        "A": (a,),
        "B": (b,),
    }


def distinct_fragments(structure: Structure, electronic: bool = True) -> tuple[Molecules, ...]:
    """Every distinct non-empty fragment of all H-bonds, the whole complex first.

    Without the electronic part (AB, A and B at the complex's geometry) these are 2 n points for a chain of n units (3
    for the bare dimer); with it 4 n - 1 (bare n = 2, 3, 4: 3, 7, 13, where fragments coincide).
    """
    wanted = ("ABC", "BC", "AC", "C", "AB", "A", "B") if electronic else ("ABC", "BC", "AC", "C")
    found: dict[Molecules, None] = {}
    for hbond in range(1, len(structure.units)):
        parts = fragments_of(structure, hbond)
        for name in wanted:
            if parts[name]:
                found.setdefault(parts[name])
    return tuple(sorted(found, key=lambda molecules: (-len(molecules), molecules)))
