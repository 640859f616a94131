"""Rows of features that are zero for most elements: of every row no more than the blocks of its own elements.

20,000 frameworks of 80 elements, five or six in each, have 0.2 GB of features that are not zero, of 2.9 GB in all
(float32).  Blocks of one element lie together, so that products of rows are products of dense matrices, one an element.

Describe structures by SOAP averaged over their atoms: where in chemical space they lie.

The settings are those of Sanocki and Zavadlav (2026).  Crossover compression of dscribe 2.1 drops the terms between
species, which leaves 450 features of each: the block of an element knows of no other, and is zero where the element is
not.  So a structure can be described by the blocks of its own elements (`blocks`), whatever others a set has; in a set
of 80 elements that is a tenth of the time and of the memory.

A structure that repeats is described with its images.  What SOAP describes is what lies within 4 A of an atom, whatever
made it lie there: a molecule in a cell wide enough has the features that it has alone, and both may be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.splits.similarity import check_lengths

if TYPE_CHECKING:
    from dscribe.descriptors import SOAP


FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Values = NDArray[np.float32]

_DENSE = 0.4
"""Share of blocks that are not zero from which a dense matrix costs no more than a sparse one."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Rows by blocks (`Rows`).

    Attributes
    ----------
    rows, elements : (K,) int arrays
        Row and atomic number of every block; ascending by element, then by row, no pair twice.
    values : (K, d) float32 array
    count : int
        Rows.
    """

    rows: IntArray
    elements: IntArray
    values: Values
    count: int

    @classmethod
    def of(cls, rows: IntArray, elements: IntArray, values: Values, count: int) -> Blocks:
        """Blocks in any order."""
        order = np.lexsort((rows, elements))
        return cls(rows[order], elements[order], values[order], count)

    @classmethod
    def join(cls, indices: Sequence[tuple[IntArray, IntArray, int]], values: Iterable[Values], width: int) -> Blocks:
        """The rows of several, one after the other.

        Parameters
        ----------
        indices : sequence of tuple
            ``rows``, ``elements`` and ``count`` of each.
        values : iterable of (K, width) array
            Of each; no more than one of them is in memory beside the whole.
        width : int
        """
        first = np.cumsum([0, *(count for _, _, count in indices)])
        rows = np.concatenate([rows + start for (rows, _, _), start in zip(indices, first, strict=False)])
        elements = np.concatenate([elements for _, elements, _ in indices])
        order = np.lexsort((rows, elements))
        place = np.empty(len(rows), dtype=np.int64)
        place[order] = np.arange(len(rows))
        joined = np.empty((len(rows), width), dtype=np.float32)
        done = 0
        for one in values:
            joined[place[done : done + len(one)]] = one
            done += len(one)
        return cls(rows[order], elements[order], joined, int(first[-1]))

    def __len__(self) -> int:
        return self.count

    @property
    def species(self) -> IntArray:
        """Elements that some row has, ascending."""
        return np.unique(self.elements)

    @property
    def lengths(self) -> FloatArray:
        """Of every row, (count,)."""
        squares = np.einsum("kd,kd->k", self.values, self.values, dtype=np.float64)
        return np.sqrt(np.bincount(self.rows, weights=squares, minlength=self.count))

    def unit(self) -> Blocks:
        lengths = self.lengths
        check_lengths(lengths)
        values = self.values * (1.0 / lengths[self.rows, None]).astype(np.float32)
        return Blocks(self.rows, self.elements, values, self.count)

    def single(self) -> Blocks:
        return self

    @cached_property
    def _of_rows(self) -> tuple[IntArray, IntArray]:
        """Places of all blocks row by row, and where those of each row end."""
        return np.argsort(self.rows, kind="stable"), np.cumsum(np.bincount(self.rows, minlength=self.count))

    def take(self, places: IntArray) -> Blocks:
        order, ends = self._of_rows
        begins = np.concatenate([[0], ends])[places]
        counts = ends[places] - begins
        first = np.cumsum(counts) - counts
        kept = order[np.arange(counts.sum()) + np.repeat(begins - first, counts)]
        return Blocks.of(np.repeat(np.arange(len(places)), counts), self.elements[kept], self.values[kept], len(places))

    def sums(self, of: IntArray, count: int) -> Blocks:
        from scipy.sparse import csr_array

        rows_, elements, values_ = [], [], []
        for element, rows, values in self._by_element():
            groups, member = np.unique(of[rows], return_inverse=True)
            entries = np.ones(len(rows), np.float32), (member, np.arange(len(rows)))
            rows_.append(groups)
            elements.append(np.full(len(groups), element))
            values_.append(csr_array(entries, shape=(len(groups), len(rows))) @ values)
        return Blocks(np.concatenate(rows_), np.concatenate(elements), np.concatenate(values_), count)

    def dots(self, others: Blocks) -> Values:
        found = np.zeros((self.count, others.count), dtype=np.float32)
        theirs = {element: (rows, values) for element, rows, values in others._by_element()}
        for element, rows, values in self._by_element():
            if element in theirs:
                columns, right = theirs[element]
                product = values @ right.T
                if len(rows) == self.count and len(columns) == others.count:
                    found += product
                else:
                    found[np.ix_(rows, columns)] += product
        return found

    def along(self, others: Blocks, place: int) -> Values:
        return self.dots(others.take(np.array([place])))[:, 0]

    def matrix(self) -> Any:
        """All as a float32 matrix, dense or sparse, whichever is smaller."""
        from scipy.sparse import csr_array

        species, width = self.species, self.values.shape[1]
        shape = (self.count, len(species) * width)
        column = np.searchsorted(species, self.elements)
        if len(self.rows) >= _DENSE * self.count * len(species):
            dense = np.zeros((self.count, len(species), width), dtype=np.float32)
            dense[self.rows, column] = self.values
            return dense.reshape(shape)
        order = np.lexsort((column, self.rows))
        columns = (column[order, None] * width + np.arange(width)).astype(np.int32)
        ends = np.cumsum(np.bincount(self.rows, minlength=self.count)) * width
        pointers = np.concatenate([[0], ends]).astype(np.int32)
        return csr_array((self.values[order].ravel(), columns.ravel(), pointers), shape)

    def _by_element(self) -> Iterator[tuple[int, IntArray, Values]]:
        starts = np.flatnonzero(np.diff(self.elements, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(self.elements)], strict=True):
            yield int(self.elements[start]), self.rows[start:end], self.values[start:end]


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
