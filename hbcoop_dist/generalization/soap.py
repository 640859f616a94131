"""Describe structures by SOAP averaged over their atoms: where in chemical space they lie.

The settings are those of Sanocki and Zavadlav (2026).  Crossover compression of dscribe 2.1 drops the terms between
species, which leaves 450 features of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

R_CUT, SIGMA, N_MAX, L_MAX = 4.0, 0.1, 9, 9
"""Cutoff and width of the atoms' Gaussians, A; radial functions and highest angular momentum."""

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
    from ase import Atoms
    from dscribe.descriptors import SOAP

    known = sorted({int(z) for z in species})
    if not structures or not known:
        raise ValueError(f"SOAP: expected structures and species, found {len(structures)} and {len(known)}")
    for place, one in enumerate(structures):
        if foreign := sorted({int(z) for z in one.numbers} - set(known)):
            raise ValueError(f"SOAP, structure {place}: expected elements {known}, found {foreign}")
    descriptor = SOAP(
        species=known,
        r_cut=R_CUT,
        n_max=N_MAX,
        l_max=L_MAX,
        sigma=SIGMA,
        rbf="gto",
        periodic=False,
        average="outer",
        compression={"mode": "crossover", "species_weighting": None},
        dtype="float64",
    )
    rows = np.empty((len(structures), descriptor.get_number_of_features()))
    for start in range(0, len(structures), _AT_ONCE):
        part = [Atoms(one.numbers, one.positions) for one in structures[start : start + _AT_ONCE]]
        rows[start : start + len(part)] = descriptor.create(part)
    return rows


def unit(rows: FloatArray) -> FloatArray:
    """Rows of unit length, whose products are similarities: (S, d) to (S, d).

    Raises
    ------
    ValueError
        When a row is zero or not finite.
    """
    lengths = np.linalg.norm(rows, axis=1)
    if bad := np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0))).tolist():
        raise ValueError(f"features, row {bad[0]}: expected finite values that are not all zero, found others")
    return np.asarray(rows / lengths[:, None])
