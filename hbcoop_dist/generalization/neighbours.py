"""Neighbours of atoms, in molecules and in crystals: there the images of an atom are neighbours like any others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.graphs import join_arrays

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Placed(Protocol):
    """What is asked of a structure."""

    @property
    def numbers(self) -> IntArray: ...
    @property
    def positions(self) -> FloatArray: ...
    @property
    def cell(self) -> FloatArray | None: ...


def edges_of(structures: Sequence[Placed], cutoff: float) -> tuple[IntArray, FloatArray | None]:
    """Ordered pairs of atoms within the cutoff, A, of structures one behind the other.

    Returns
    -------
    edges : (2, E) int array
        First and second atom of every pair.
    shifts : (E, 3) array or None
        Lattice vector, A, that moves the second atom to where it is a neighbour; None where no structure repeats.
    """
    if all(one.cell is None for one in structures):
        return join_arrays(
            [one.positions for one in structures], [one.numbers for one in structures], cutoff
        ).near, None
    found = [_edges(one, cutoff) for one in structures]
    starts = np.cumsum([0, *(len(one.numbers) for one in structures[:-1])])
    edges = np.concatenate([pairs + start for (pairs, _), start in zip(found, starts, strict=True)], axis=1)
    return edges, np.concatenate([shifts for _, shifts in found])


def images_within(positions: FloatArray, cell: FloatArray, cutoff: float) -> tuple[IntArray, FloatArray]:
    """The same of one crystal: (2, E) and (E, 3); an atom is a neighbour of its own images, not of itself.

    Cells smaller than the cutoff are no trouble: two atoms are then as many pairs as there are images within it.
    """
    from matscipy.neighbours import neighbour_list

    first, second, steps = neighbour_list("ijS", positions=positions, cell=cell, pbc=[True] * 3, cutoff=cutoff)
    return np.stack([first, second]).astype(np.int64), steps @ cell


def _edges(one: Placed, cutoff: float) -> tuple[IntArray, FloatArray]:
    if one.cell is not None:
        return images_within(one.positions, one.cell, cutoff)
    pairs = join_arrays([one.positions], [one.numbers], cutoff).near
    return pairs, np.zeros((pairs.shape[1], 3))
