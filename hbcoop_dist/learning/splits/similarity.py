"""What is asked of rows of features, however they are kept: cosines, and sums over groups of rows.

Order points so that each is the least like all before it: farthest-point sampling with a running maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
AnyFloats = NDArray[np.floating]


class Rows(Protocol):
    """Rows of features."""

    def __len__(self) -> int: ...

    def unit(self) -> Self:
        """Rows of unit length, whose products are similarities.

        Raises
        ------
        ValueError
            When a row is zero or not finite.
        """
        ...

    def single(self) -> Self:
        """The same in float32."""
        ...

    def take(self, places: IntArray) -> Self:
        """These rows, in this order."""
        ...

    def dots(self, others: Self) -> AnyFloats:
        """Products of all with all: (rows, others)."""
        ...

    def along(self, others: Self, place: int) -> AnyFloats:
        """Products of all with row `place` of others: (rows,)."""
        ...

    def sums(self, of: IntArray, count: int) -> Self:
        """Sums of the rows of `count` groups; `of` (rows,) says which group each is of."""
        ...

    def matrix(self) -> Any:
        """All as one matrix, dense or sparse."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Rows as they are: `values` (n, d)."""

    values: AnyFloats

    def __len__(self) -> int:
        return len(self.values)

    def unit(self) -> Dense:
        lengths = np.linalg.norm(self.values, axis=1)
        check_lengths(lengths)
        return Dense(self.values / lengths[:, None])

    def single(self) -> Dense:
        return Dense(self.values.astype(np.float32))

    def take(self, places: IntArray) -> Dense:
        return Dense(self.values[places])

    def dots(self, others: Dense) -> AnyFloats:
        return self.values @ others.values.T

    def along(self, others: Dense, place: int) -> AnyFloats:
        return np.asarray(self.values @ others.values[place])

    def sums(self, of: IntArray, count: int) -> Dense:
        from scipy.sparse import csr_array

        # Large sets have features of hundreds of megabytes: a sparse product sums them without another copy in order.
        return Dense(csr_array((np.ones(len(of)), (of, np.arange(len(of)))), shape=(count, len(of))) @ self.values)

    def matrix(self) -> Any:
        return self.values


def check_lengths(lengths: FloatArray) -> None:
    """Refuse rows that have no direction."""
    if bad := np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0))).tolist():
        raise ValueError(f"features, row {bad[0]}: expected finite values that are not all zero, found others")


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
