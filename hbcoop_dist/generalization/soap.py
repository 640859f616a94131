"""Describe structures by SOAP averaged over their atoms: where in chemical space they lie.

The settings are those of Sanocki and Zavadlav (2026).  Crossover compression of dscribe 2.1 drops the terms between
species, which leaves 450 features of each: the block of an element knows of no other, and is zero where the element is
not.  So a structure can be described by the blocks of its own elements (`blocks`), whatever others a set has; in a set
of 80 elements that is a tenth of the time and of the memory.

A structure that repeats is described with its images.  What SOAP describes is what lies within 4 A of an atom, whatever
made it lie there: a molecule in a cell wide enough has the features that it has alone, and both may be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.generalization.blocks import Blocks

if TYPE_CHECKING:
    from dscribe.descriptors import SOAP

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

R_CUT, SIGMA, N_MAX, L_MAX = 4.0, 0.1, 9, 9
"""Cutoff and width of the atoms' Gaussians, A; radial functions and highest angular momentum."""

FEATURES = N_MAX * (N_MAX + 1) // 2 * (L_MAX + 1)
"""Of every element."""

_AT_ONCE = 256


class Placed(Protocol):
    """What SOAP needs to know of a structure."""

    @property
    def numbers(self) -> IntArray: ...
    @property
    def positions(self) -> FloatArray: ...


def features(structures: Sequence[Placed], species: Sequence[int]) -> FloatArray:
    """Averaged SOAP of every structure.

    Parameters
    ----------
    structures : sequence of S structures
    species : sequence of int
        Atomic numbers of all sets that are compared, so that their features mean the same.

    Returns
    -------
    (S, 450 x species) array
        float64. A structure's row does not depend on the others.

    Raises
    ------
    ValueError
        When a structure holds an element that is not among the species, or there are no structures.
    """
    known = sorted({int(z) for z in species})
    if not structures or not known:
        raise ValueError(f"SOAP: expected structures and species, found {len(structures)} and {len(known)}")
    for place, one in enumerate(structures):
        if foreign := sorted({int(z) for z in one.numbers} - set(known)):
            raise ValueError(f"SOAP, structure {place}: expected elements {known}, found {foreign}")
    rows = np.empty((len(structures), FEATURES * len(known)))
    repeats = np.array([_cell(one) is not None for one in structures])
    for periodic in (False, True):
        for part in _parts(np.flatnonzero(repeats == periodic)):
            rows[part] = _described([structures[place] for place in part], tuple(known), periodic)
    return rows


def blocks(structures: Sequence[Placed]) -> Blocks:
    """Averaged SOAP of every structure in float32, blocks of its own elements alone."""
    alike: dict[tuple[tuple[int, ...], bool], list[int]] = {}
    for place, one in enumerate(structures):
        elements = tuple(sorted({int(z) for z in one.numbers}))
        alike.setdefault((elements, _cell(one) is not None), []).append(place)
    rows, elements_of = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    values = [np.zeros((0, FEATURES), dtype=np.float32)]
    for (elements, periodic), places in alike.items():
        for part in _parts(np.array(places)):
            found = _described([structures[place] for place in part], elements, periodic)
            rows.append(np.repeat(part, len(elements)))
            elements_of.append(np.tile(elements, len(part)))
            values.append(found.reshape(-1, FEATURES).astype(np.float32))
    return Blocks.of(np.concatenate(rows), np.concatenate(elements_of), np.concatenate(values), len(structures))


def _described(structures: Sequence[Placed], species: tuple[int, ...], periodic: bool) -> FloatArray:
    from ase import Atoms

    made = [Atoms(one.numbers, one.positions, cell=_cell(one), pbc=periodic) for one in structures]
    # of one structure dscribe gives a row, of several a matrix
    found: FloatArray = np.atleast_2d(_descriptor(species, periodic).create(made))
    return found


@lru_cache(maxsize=64)
def _descriptor(species: tuple[int, ...], periodic: bool) -> SOAP:
    from dscribe.descriptors import SOAP

    return SOAP(
        species=species,
        r_cut=R_CUT,
        n_max=N_MAX,
        l_max=L_MAX,
        sigma=SIGMA,
        rbf="gto",
        periodic=periodic,
        average="outer",
        compression={"mode": "crossover", "species_weighting": None},
        dtype="float64",
    )


def _cell(one: Placed) -> FloatArray | None:
    # structures that were generated have no cells at all
    found: FloatArray | None = getattr(one, "cell", None)
    return found


def _parts(places: IntArray) -> list[IntArray]:
    return [places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE)]
