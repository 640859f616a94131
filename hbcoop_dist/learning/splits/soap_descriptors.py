"""Descriptors of structures: SOAP averaged over atoms, with the settings of Sanocki and Zavadlav (2026).

Crossover compression of dscribe 2.1 drops the terms between species, which leaves 450 features per element. The block
of an element does not depend on other elements and is zero where the element is absent, so a structure can be described
by the blocks of its own elements (`soap_blocks`); in a set of 80 elements that takes a tenth of the time and memory.

A periodic structure is described with its images. SOAP describes what lies within 4 A of an atom, so a molecule in a
wide cell has the features of the isolated molecule, and both can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.learning.splits.feature_rows import ElementBlocks

if TYPE_CHECKING:
    from dscribe.descriptors import SOAP

R_CUT, SIGMA, N_MAX, L_MAX = 4.0, 0.1, 9, 9
"""Cutoff, A, and width of the atoms' Gaussians, A; radial functions and highest angular momentum."""

FEATURES = N_MAX * (N_MAX + 1) // 2 * (L_MAX + 1)
"""Features of every element."""

_STRUCTURES_PER_CALL = 256


class DescribedStructure(Protocol):
    """What SOAP needs of a structure; one with a cell is periodic."""

    @property
    def numbers(self) -> IntArray: ...
    @property
    def positions(self) -> FloatArray: ...
    @property
    def cell(self) -> FloatArray | None: ...


def soap_features(structures: Sequence[DescribedStructure], species: Sequence[int]) -> FloatArray:
    """Compute the averaged SOAP vector of every structure.

    Parameters
    ----------
    structures : sequence of S structures
    species : sequence of int
        Atomic numbers of all sets to be compared, which define the columns.

    Returns
    -------
    (S, 450 x species) array
        float64. The row of a structure does not depend on the others.

    Raises
    ------
    ValueError
        When a structure contains an element outside `species`, or there are no structures.
    """
    elements = sorted({int(z) for z in species})
    if not structures or not elements:
        raise ValueError(f"SOAP: expected structures and species, found {len(structures)} and {len(elements)}")
    for index, structure in enumerate(structures):
        if unknown := sorted({int(z) for z in structure.numbers} - set(elements)):
            raise ValueError(f"SOAP, structure {index}: expected elements {elements}, found {unknown}")
    rows = np.empty((len(structures), FEATURES * len(elements)))
    is_periodic = np.array([structure.cell is not None for structure in structures])
    for periodic in (False, True):
        for part in _parts(np.flatnonzero(is_periodic == periodic)):
            rows[part] = _describe([structures[index] for index in part], tuple(elements), periodic)
    return rows


def soap_blocks(structures: Sequence[DescribedStructure]) -> ElementBlocks:
    """Compute the averaged SOAP vector of every structure in float32, for the blocks of its own elements only."""
    groups: dict[tuple[tuple[int, ...], bool], list[int]] = {}
    for index, structure in enumerate(structures):
        elements = tuple(sorted({int(z) for z in structure.numbers}))
        groups.setdefault((elements, structure.cell is not None), []).append(index)
    rows, block_elements = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    values = [np.zeros((0, FEATURES), dtype=np.float32)]
    for (elements, periodic), indices in groups.items():
        for part in _parts(np.array(indices)):
            features = _describe([structures[index] for index in part], elements, periodic)
            rows.append(np.repeat(part, len(elements)))
            block_elements.append(np.tile(elements, len(part)))
            values.append(features.reshape(-1, FEATURES).astype(np.float32))
    return ElementBlocks.of(
        np.concatenate(rows), np.concatenate(block_elements), np.concatenate(values), len(structures)
    )


def _describe(structures: Sequence[DescribedStructure], species: tuple[int, ...], periodic: bool) -> FloatArray:
    from ase import Atoms

    atoms = [
        Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=periodic) for structure in structures
    ]
    # dscribe returns a vector for one structure and a matrix for several
    features: FloatArray = np.atleast_2d(_descriptor(species, periodic).create(atoms))
    return features


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


def _parts(indices: IntArray) -> list[IntArray]:
    return [indices[start : start + _STRUCTURES_PER_CALL] for start in range(0, len(indices), _STRUCTURES_PER_CALL)]
