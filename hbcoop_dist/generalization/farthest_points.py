"""Order points so that each is the least like all before it: farthest-point sampling with a running maximum."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.generalization.similarity import Dense, Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Kind = TypeVar("Kind", bound=Rows)

_LARGEST_BLOCK = 32


def farthest_points(rows: FloatArray | Rows, first: int, count: int) -> IntArray:
    """The first `count` points in the order of farthest-point sampling (Gonzalez, Theor. Comput. Sci. 1985, 38, 293).

    Every step takes the point whose largest similarity (cosine, in float32) to those taken is the smallest.  A maximum
    can only grow, so the smallest of maxima that are out of date is a candidate: brought up to date, it is taken if it
    is still the smallest.  All are brought up to date by blocks of taken points, in one matrix product, which reads
    the points once a block and not once a step.

    Parameters
    ----------
    rows : (n, d) array or Rows
        Features of n rows.
    first : int
        Where to start.
    count : int
        At most n.

    Returns
    -------
    (count,) int array
    """
    points = (Dense(rows) if isinstance(rows, np.ndarray) else rows).unit().single()
    taken = np.empty(count, dtype=np.int64)
    nearest = np.full(len(points), -np.inf, dtype=np.float32)
    place, known = first, 0
    for step in range(count):
        taken[step] = place
        nearest[place] = np.inf
        # Early on every point that is taken is the nearest to many, and nothing is gained by waiting.
        if step + 1 - known >= min(max(1, step // 8), _LARGEST_BLOCK):
            fresh = points.take(taken[known : step + 1])
            np.maximum(nearest, points.dots(fresh).max(axis=1), out=nearest)
            known = step + 1
        place = _least_similar(points, points.take(taken[known : step + 1]), nearest)
    return taken


def _least_similar(points: Kind, waiting: Kind, nearest: NDArray[np.float32]) -> int:
    """Place of the smallest maximum; `nearest` (n,) does not know of the points that are `waiting`, and is told."""
    while True:
        place = int(nearest.argmin())
        if not len(waiting) or (true := waiting.along(points, place).max()) <= nearest[place]:
            return place
        nearest[place] = true
