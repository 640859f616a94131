"""Rows of features of structures, dense or by blocks of elements: cosines between rows, sums over groups of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from hbcoop_dist.core.arrays import Float32Array, FloatArray, FloatingArray, IntArray

_DENSE_SHARE = 0.4
"""Share of non-zero blocks from which a dense matrix costs no more than a sparse one."""


class Rows(Protocol):
    """Rows of features."""

    def __len__(self) -> int: ...

    def unit(self) -> Self:
        """Return rows of unit length, whose products are cosine similarities.

        Raises
        ------
        ValueError
            When a row is zero or not finite.
        """
        ...

    def single(self) -> Self:
        """Return the rows in float32."""
        ...

    def take(self, indices: IntArray) -> Self:
        """Return the rows at these indices, in this order."""
        ...

    def dots(self, others: Self) -> FloatingArray:
        """Return the products of all rows with all others: (rows, others)."""
        ...

    def along(self, others: Self, index: int) -> FloatingArray:
        """Return the products of all rows with one row of others: (rows,)."""
        ...

    def sums(self, groups: IntArray, count: int) -> Self:
        """Return the sums of the rows of `count` groups; `groups`, (rows,), is the group of every row."""
        ...

    def matrix(self) -> Any:
        """Return all rows as one matrix, dense or sparse."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DenseRows:
    """Rows of a dense matrix.

    Attributes
    ----------
    values : (n, d) array
    """

    values: FloatingArray

    def __len__(self) -> int:
        return len(self.values)

    def unit(self) -> DenseRows:
        lengths = np.linalg.norm(self.values, axis=1)
        require_directions(lengths)
        return DenseRows(self.values / lengths[:, None])

    def single(self) -> DenseRows:
        return DenseRows(self.values.astype(np.float32))

    def take(self, indices: IntArray) -> DenseRows:
        return DenseRows(self.values[indices])

    def dots(self, others: DenseRows) -> FloatingArray:
        return self.values @ others.values.T

    def along(self, others: DenseRows, index: int) -> FloatingArray:
        return np.asarray(self.values @ others.values[index])

    def sums(self, groups: IntArray, count: int) -> DenseRows:
        from scipy.sparse import csr_array

        # features of large sets take hundreds of megabytes: a sparse product sums them without a sorted copy
        indicator = csr_array((np.ones(len(groups)), (groups, np.arange(len(groups)))), shape=(count, len(groups)))
        return DenseRows(indicator @ self.values)

    def matrix(self) -> Any:
        return self.values


@dataclass(frozen=True, eq=False)
class ElementBlocks:
    """Rows that are zero for most elements, stored as the blocks of the elements of each row.

    20,000 frameworks of 80 elements, five or six in each, have 0.2 GB of features that are not zero, of 2.9 GB in all
    (float32). Blocks of one element are contiguous, so that products of rows are dense products, one per element.

    Attributes
    ----------
    rows, elements : (K,) int arrays
        Row and atomic number of every block, ascending by element, then by row, without duplicates.
    values : (K, d) float32 array
    count : int
        Number of rows.
    """

    rows: IntArray
    elements: IntArray
    values: Float32Array
    count: int

    @classmethod
    def of(cls, rows: IntArray, elements: IntArray, values: Float32Array, count: int) -> ElementBlocks:
        """Sort blocks given in any order; parameters as the attributes of the class."""
        order = np.lexsort((rows, elements))
        return cls(rows[order], elements[order], values[order], count)

    @classmethod
    def join(
        cls, indices: Sequence[tuple[IntArray, IntArray, int]], values: Iterable[Float32Array], width: int
    ) -> ElementBlocks:
        """Concatenate the rows of several parts.

        Parameters
        ----------
        indices : sequence of tuple
            ``rows``, ``elements`` and ``count`` of each part.
        values : iterable of (K, width) array
            Values of each part; only one of them is in memory beside the result.
        width : int
        """
        first = np.cumsum([0, *(count for _, _, count in indices)])
        rows = np.concatenate([rows + start for (rows, _, _), start in zip(indices, first, strict=False)])
        elements = np.concatenate([elements for _, elements, _ in indices])
        order = np.lexsort((rows, elements))
        position = np.empty(len(rows), dtype=np.int64)
        position[order] = np.arange(len(rows))
        joined = np.empty((len(rows), width), dtype=np.float32)
        filled = 0
        for part in values:
            joined[position[filled : filled + len(part)]] = part
            filled += len(part)
        return cls(rows[order], elements[order], joined, int(first[-1]))

    def __len__(self) -> int:
        return self.count

    @property
    def species(self) -> IntArray:
        """Atomic numbers that occur, ascending."""
        return np.unique(self.elements)

    @property
    def lengths(self) -> FloatArray:
        """Norm of every row, (count,)."""
        squares = np.einsum("kd,kd->k", self.values, self.values, dtype=np.float64)
        return np.sqrt(np.bincount(self.rows, weights=squares, minlength=self.count))

    def unit(self) -> ElementBlocks:
        lengths = self.lengths
        require_directions(lengths)
        values = self.values * (1.0 / lengths[self.rows, None]).astype(np.float32)
        return ElementBlocks(self.rows, self.elements, values, self.count)

    def single(self) -> ElementBlocks:
        return self

    @cached_property
    def _blocks_by_row(self) -> tuple[IntArray, IntArray]:
        """Indices of all blocks sorted by row, and the end of each row among them."""
        return np.argsort(self.rows, kind="stable"), np.cumsum(np.bincount(self.rows, minlength=self.count))

    def take(self, indices: IntArray) -> ElementBlocks:
        order, ends = self._blocks_by_row
        begins = np.concatenate([[0], ends])[indices]
        counts = ends[indices] - begins
        first = np.cumsum(counts) - counts
        kept = order[np.arange(counts.sum()) + np.repeat(begins - first, counts)]
        rows = np.repeat(np.arange(len(indices)), counts)
        return ElementBlocks.of(rows, self.elements[kept], self.values[kept], len(indices))

    def sums(self, groups: IntArray, count: int) -> ElementBlocks:
        from scipy.sparse import csr_array

        rows_, elements, values_ = [], [], []
        for element, rows, values in self._by_element():
            members, member = np.unique(groups[rows], return_inverse=True)
            entries = np.ones(len(rows), np.float32), (member, np.arange(len(rows)))
            rows_.append(members)
            elements.append(np.full(len(members), element))
            values_.append(csr_array(entries, shape=(len(members), len(rows))) @ values)
        return ElementBlocks(np.concatenate(rows_), np.concatenate(elements), np.concatenate(values_), count)

    def dots(self, others: ElementBlocks) -> Float32Array:
        products = np.zeros((self.count, others.count), dtype=np.float32)
        other_blocks = {element: (rows, values) for element, rows, values in others._by_element()}
        for element, rows, values in self._by_element():
            if element in other_blocks:
                columns, right = other_blocks[element]
                product = values @ right.T
                if len(rows) == self.count and len(columns) == others.count:
                    products += product
                else:
                    products[np.ix_(rows, columns)] += product
        return products

    def along(self, others: ElementBlocks, index: int) -> Float32Array:
        return self.dots(others.take(np.array([index])))[:, 0]

    def matrix(self) -> Any:
        """Return all rows as a float32 matrix, dense or sparse, whichever is smaller."""
        from scipy.sparse import csr_array

        species, width = self.species, self.values.shape[1]
        shape = (self.count, len(species) * width)
        column = np.searchsorted(species, self.elements)
        if len(self.rows) >= _DENSE_SHARE * self.count * len(species):
            dense = np.zeros((self.count, len(species), width), dtype=np.float32)
            dense[self.rows, column] = self.values
            return dense.reshape(shape)
        order = np.lexsort((column, self.rows))
        columns = (column[order, None] * width + np.arange(width)).astype(np.int32)
        ends = np.cumsum(np.bincount(self.rows, minlength=self.count)) * width
        pointers = np.concatenate([[0], ends]).astype(np.int32)
        return csr_array((self.values[order].ravel(), columns.ravel(), pointers), shape)

    def _by_element(self) -> Iterator[tuple[int, IntArray, Float32Array]]:
        starts = np.flatnonzero(np.diff(self.elements, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(self.elements)], strict=True):
            yield int(self.elements[start]), self.rows[start:end], self.values[start:end]


def as_rows(features: FloatArray | Rows) -> Rows:
    """Return features as `Rows`; an array, (n, d), becomes `DenseRows`."""
    return DenseRows(features) if isinstance(features, np.ndarray) else features


def require_directions(lengths: FloatArray) -> None:
    """Raise `ValueError` when the norm of a row, (n,), is zero or not finite."""
    if bad := np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0))).tolist():
        raise ValueError(f"features, row {bad[0]}: expected finite values that are not all zero, found others")
