"""Order points so that each is the least like all before it: farthest-point sampling with a running maximum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.generalization.soap import unit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LOST = 1e-8
"""Mean squared length of unit rows that may be lost where fewer dimensions describe them."""


def farthest_points(rows: FloatArray, first: int, count: int) -> IntArray:
    """The first `count` points in the order of farthest-point sampling (Gonzalez, Theor. Comput. Sci. 1985, 38, 293).

    Every step takes the point whose largest similarity (cosine) to those taken is the smallest; the maxima are carried
    on, so that a step costs one product of all points with the last.

    Parameters
    ----------
    rows : (n, d) array
        Features.
    first : int
        Where to start.
    count : int
        At most n.

    Returns
    -------
    (count,) int array
    """
    points = _fewer_dimensions(unit(rows)).astype(np.float32)
    taken = np.empty(count, dtype=np.int64)
    nearest = np.full(len(points), -np.inf, dtype=np.float32)
    place = first
    for step in range(count):
        taken[step] = place
        np.maximum(nearest, points @ points[place], out=nearest)
        nearest[place] = np.inf
        place = int(nearest.argmin())
    return taken


def _fewer_dimensions(points: FloatArray) -> FloatArray:
    """Rows turned onto their principal axes, without those that hold next to nothing of them.

    A step reads all points once, and averaged SOAP needs a tenth of its dimensions.
    """
    if len(points) < points.shape[1]:
        values, vectors = np.linalg.eigh(points @ points.T)
        kept = _kept(values, len(points))
        return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))
    values, vectors = np.linalg.eigh(points.T @ points)
    return np.asarray(points @ vectors[:, _kept(values, len(points))])


def _kept(values: FloatArray, count: int) -> IntArray:
    """Places of the largest of ascending eigenvalues, without the smallest that sum up to what may be lost."""
    small = np.cumsum(np.maximum(values, 0.0)) < _LOST * count
    return np.flatnonzero(~small)
