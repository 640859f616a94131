"""What is asked of rows of features, however they are kept: cosines, and sums over groups of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

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
