"""Divide structures into training, validation and test sets, at random or so that the test set lies elsewhere.

Structures of one parent stay together in training or in test. A parent is placed by the mean of its structures'
features, a point that lies among them; a vote of its structures would need a rule for ties and would put the outvoted
ones into a part that they do not resemble. Similarity is the cosine of averaged SOAP (Sanocki and Zavadlav 2026).

Validation structures are drawn at random from the training side, one by one: they decide when to stop and measure no
transfer, so conformers of their parents may be trained on.

The name of a split does not make it far. Half of a set in the order of farthest-point sampling covers all of it, and
the other half lies in between: on 1,000 ionic and 1,000 neutral clusters the tested structures are as near to the
trained ones as in a random split (mean similarity 0.997 to 0.998; random 0.995 to 0.998; `maxsep_paper` 0.95 to 0.985),
on 476 SPICE molecules somewhat farther (0.970; random 0.991; `maxsep_paper` 0.957). The other way round, trained on
that half and tested on the rest, every tested structure has a neighbour (0.998 to 0.999). `separation` measures it
for every split.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from hbcoop_dist.core.arrays import Float32Array, FloatArray, IntArray
from hbcoop_dist.learning.splits.feature_rows import DenseRows, Rows, as_rows

KINDS = ("random", "size", "cluster", "maxsep_paper", "maxsep_fps")
NEED_FEATURES = frozenset({"cluster", "maxsep_paper", "maxsep_fps"})
N_CLUSTERS = 20

_LARGEST_BLOCK = 32
"""Points of farthest-point sampling that are compared with all others in one matrix product."""
_BLOCK = 32 * 2**20
"""Bytes of one block of similarities."""
_MAP_DIMENSIONS, _MAP_SAMPLE = 50, 2000
SIDES = ("none", "train", "validation", "test")
"""Names of the sides of a split, by the numbers of `side_indices`."""


class HasParent(Protocol):
    """What a split needs of a structure: its parent and, by ``len``, its number of atoms."""

    @property
    def parent(self) -> str: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Indices of structures, ascending, in three disjoint sets.

    Attributes
    ----------
    kind : str
    seed : int
    train, validation, test : (n,) int arrays
    notes : tuple of str
        Deviations from the request, in words.
    """

    kind: str
    seed: int
    train: IntArray
    validation: IntArray
    test: IntArray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Parents:
    """P parents of S structures.

    Attributes
    ----------
    of_structure : (S,) int array
        Parent of every structure.
    counts : (P,) int array
        Structures of every parent.
    sizes : (P,) array
        Mean number of atoms.
    features, structure_features : Rows
        Unit rows of the parents, and rows of the structures.
    """

    of_structure: IntArray
    counts: IntArray
    sizes: FloatArray
    features: Rows
    structure_features: Rows


_Selection = tuple[IntArray, tuple[str, ...]]
"""Selected indices, and notes."""


def split(
    kind: str,
    structures: Sequence[HasParent],
    features: FloatArray | Rows | None = None,
    *,
    seed: int = 0,
    test_fraction: float = 0.5,
    validation_fraction: float = 0.1,
    largest_train: int | None = None,
    most_train: int | None = None,
    most_test: int | None = None,
) -> Split:
    """Divide structures.

    Parameters
    ----------
    kind : {"random", "size", "cluster", "maxsep_paper", "maxsep_fps"}
        ``random``: parents are tested on at random. ``size``: the larger ones are tested on. ``cluster``: half of 20
        clusters (k-means) are tested on. ``maxsep_paper``: the parents least similar to one random structure are tested
        on, as the code of the paper does. ``maxsep_fps``: the parents that farthest-point sampling from a random parent
        takes first are tested on, as the text of the paper describes; the outermost are tested on, those in between
        trained on.
    structures : sequence of S structures
    features : (S, d) array or Rows, optional
        Averaged SOAP; not needed for ``random`` and ``size``.
    seed : int
        Not negative.
    test_fraction : float
        Fraction of all structures, as near as whole parents allow; ``cluster`` takes half of its clusters instead.
    validation_fraction : float
        Fraction of the training side.
    largest_train : int, optional
        For ``size``: structures of up to so many atoms are trained on. By default the limit between two sizes that
        comes nearest to `test_fraction`; no size is on both sides.
    most_train, most_test : int, optional
        Largest number of structures on a side (training and validation together), drawn at random, so that kinds of
        splits can be compared at equal numbers.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        When the kind is unknown, there are fewer than two parents or training structures, features are missing, or a
        side would be empty.
    """
    parents = _group_by_parent(kind, structures, features)
    rng = np.random.default_rng([KINDS.index(kind), seed])
    if kind == "size":
        tested, notes = _select_size(parents, test_fraction, largest_train)
    else:
        tested, notes = _RULES[kind](parents, test_fraction, rng)
    is_test = np.isin(parents.of_structure, tested)
    train, train_notes = _limit(np.flatnonzero(~is_test), most_train, "training", rng)
    test, test_notes = _limit(np.flatnonzero(is_test), most_test, "test", rng)
    if len(train) < 2:
        raise ValueError(f"split {kind}: expected at least 2 structures to train and validate on, found {len(train)}")
    n_validation = min(max(1, round(validation_fraction * len(train))), len(train) - 1)
    validation = np.sort(rng.choice(train, n_validation, replace=False))
    all_notes = (*notes, *train_notes, *test_notes)
    return Split(kind, seed, np.setdiff1d(train, validation), validation, test, all_notes)


def _group_by_parent(kind: str, structures: Sequence[HasParent], features: FloatArray | Rows | None) -> _Parents:
    if kind not in KINDS:
        raise ValueError(f"split: expected one of {', '.join(KINDS)}, found {kind!r}")
    names, of_structure = np.unique([structure.parent for structure in structures], return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"split {kind}: expected structures of at least 2 parents, found {', '.join(names) or 'none'}")
    counts = np.bincount(of_structure)
    sizes = np.bincount(of_structure, weights=[len(structure) for structure in structures]) / counts
    if kind not in NEED_FEATURES:
        empty = DenseRows(np.zeros((len(names), 0)))
        return _Parents(of_structure, counts, sizes, empty, empty)
    if features is None or len(features) != len(of_structure):
        found = "none" if features is None else str(len(features))
        raise ValueError(f"split {kind}: expected features of {len(of_structure)} structures, found {found}")
    rows = as_rows(features)
    of_parents = rows.unit().sums(of_structure, len(names)).unit()
    return _Parents(of_structure, counts, sizes, of_parents, rows)


def _select_random(parents: _Parents, fraction: float, rng: np.random.Generator) -> _Selection:
    return _first(parents, rng.permutation(len(parents.counts)), fraction), ()


def _select_size(parents: _Parents, fraction: float, limit: int | None) -> _Selection:
    sizes = np.unique(parents.sizes)
    if len(sizes) < 2:
        raise ValueError(f"split size: expected parents of several sizes, found only {sizes[0]:g} atoms")
    tested = np.array([parents.counts[parents.sizes > size].sum() for size in sizes[:-1]])
    nearest = float(sizes[np.abs(tested - fraction * parents.counts.sum()).argmin()])
    larger = np.flatnonzero(parents.sizes > (nearest if limit is None else limit))
    if not 0 < len(larger) < len(parents.counts):
        raise ValueError(
            f"split size: expected parents of up to {limit} atoms and larger ones, found {sizes[0]:g} to {sizes[-1]:g}"
        )
    return larger, ()


def _select_clusters(parents: _Parents, fraction: float, rng: np.random.Generator) -> _Selection:
    """k-means of the parents, weighted by their numbers of structures."""
    from sklearn.cluster import KMeans

    del fraction
    # k-means warns of equal points and leaves clusters empty; distinct points are counted by their projections on a
    # line of random direction
    matrix = parents.features.matrix()
    decimals = 9 if matrix.dtype == np.float64 else 6
    distinct = len(np.unique((matrix @ rng.random(matrix.shape[1])).round(decimals)))
    count = min(N_CLUSTERS, distinct)
    if count < 2:
        raise ValueError("split cluster: expected parents with different features, found all the same")
    kmeans = KMeans(count, random_state=int(rng.integers(2**31)))
    labels = kmeans.fit_predict(matrix, sample_weight=parents.counts.astype(float))
    present = rng.permutation(np.unique(labels))
    notes = () if count == N_CLUSTERS else (f"{count} clusters, since no more than {distinct} parents differ",)
    return np.flatnonzero(np.isin(labels, present[: len(present) // 2])), notes


def _select_least_similar(parents: _Parents, fraction: float, rng: np.random.Generator) -> _Selection:
    centre = int(rng.integers(len(parents.of_structure)))
    row = parents.structure_features.take(np.array([centre])).unit()
    similarity = parents.features.along(row, 0)
    # the reference structure is trained on, even where its conformers differ so much that their mean is far from it
    similarity[parents.of_structure[centre]] = np.inf
    return _first(parents, np.argsort(similarity, kind="stable"), fraction), ()


def _select_farthest(parents: _Parents, fraction: float, rng: np.random.Generator) -> _Selection:
    start = int(rng.integers(len(parents.counts)))
    return _first(parents, farthest_points(parents.features, start, len(parents.counts) - 1), fraction), ()


_RULES: dict[str, Callable[[_Parents, float, np.random.Generator], _Selection]] = {
    "random": _select_random,
    "cluster": _select_clusters,
    "maxsep_paper": _select_least_similar,
    "maxsep_fps": _select_farthest,
}


def _first(parents: _Parents, order: IntArray, fraction: float) -> IntArray:
    """As many parents from the front, neither none nor all, as come nearest to the fraction of structures."""
    reached = np.cumsum(parents.counts[order])[: len(parents.counts) - 1]
    return order[: int(np.abs(reached - fraction * parents.counts.sum()).argmin()) + 1]


def _limit(indices: IntArray, most: int | None, side: str, rng: np.random.Generator) -> _Selection:
    if most is None or len(indices) == most:
        return indices, ()
    if len(indices) < most:
        return indices, (f"{len(indices)} {side} structures instead of {most}",)
    return np.sort(rng.choice(indices, most, replace=False)), ()


RowsT = TypeVar("RowsT", bound=Rows)


def farthest_points(rows: FloatArray | Rows, first: int, count: int) -> IntArray:
    """Return the first points in the order of farthest-point sampling (Gonzalez, Theor. Comput. Sci. 1985, 38, 293).

    Every step takes the point whose largest similarity (cosine, in float32) to those taken is the smallest. A maximum
    can only grow, so the smallest of outdated maxima is a candidate: it is updated, and taken if it is still the
    smallest. All maxima are updated by blocks of taken points in one matrix product, which reads the points once per
    block instead of once per step.

    Parameters
    ----------
    rows : (n, d) array or Rows
        Features of n points.
    first : int
        Index of the first point.
    count : int
        At most n.

    Returns
    -------
    (count,) int array
    """
    points = as_rows(rows).unit().single()
    taken = np.empty(count, dtype=np.int64)
    nearest = np.full(len(points), -np.inf, dtype=np.float32)
    index, updated = first, 0
    for step in range(count):
        taken[step] = index
        nearest[index] = np.inf
        # early on every taken point is the nearest to many others, so updates are not deferred
        if step + 1 - updated >= min(max(1, step // 8), _LARGEST_BLOCK):
            block = points.take(taken[updated : step + 1])
            np.maximum(nearest, points.dots(block).max(axis=1), out=nearest)
            updated = step + 1
        index = _least_similar(points, points.take(taken[updated : step + 1]), nearest)
    return taken


def _least_similar(points: RowsT, deferred: RowsT, nearest: Float32Array) -> int:
    """Index of the smallest maximum; maxima in `nearest`, (n,), that lack the deferred points are updated in place."""
    while True:
        index = int(nearest.argmin())
        if not len(deferred) or (true := deferred.along(points, index).max()) <= nearest[index]:
            return index
        nearest[index] = true


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """Cosine similarity (averaged SOAP) of every tested structure to its nearest training structure.

    Attributes
    ----------
    similarity : (n_test,) array
        In the order of `Split.test`; 1 means equal environments.
    nearest : (n_test,) int array
        Index of that training structure.
    mean, median, low : float
        Mean, median and 5th percentile of `similarity`.
    """

    similarity: FloatArray
    nearest: IntArray
    mean: float
    median: float
    low: float


def separation(features: FloatArray | Rows, split: Split) -> Separation:
    """Compare tested with training structures; validation structures are neither.

    Parameters
    ----------
    features : (S, d) array or Rows
    split : Split
        Of these S structures.
    """
    rows = as_rows(features)
    train, test = (rows.take(indices).unit() for indices in (split.train, split.test))
    similarity = np.empty(len(test))
    nearest = np.empty(len(test), dtype=np.int64)
    per_block = max(1, _BLOCK // (8 * len(train)))
    for start in range(0, len(test), per_block):
        block = test.take(np.arange(start, min(start + per_block, len(test)))).dots(train)
        nearest[start : start + per_block] = block.argmax(axis=1)
        similarity[start : start + per_block] = block.max(axis=1)
    low = float(np.percentile(similarity, 5.0))
    return Separation(similarity, split.train[nearest], float(similarity.mean()), float(np.median(similarity)), low)


def side_indices(split: Split, count: int) -> IntArray:
    """Return the index in `SIDES` of the side of every structure, (count,).

    Parameters
    ----------
    split : Split
    count : int
        Number of structures.
    """
    sides = np.zeros(count, dtype=np.int64)
    for number, indices in enumerate((split.train, split.validation, split.test), 1):
        sides[indices] = number
    return sides


def umap_coordinates(features: FloatArray | Rows, *, seed: int = 0, neighbours: int = 15) -> FloatArray:
    """Compute coordinates for a map of chemical space by UMAP (McInnes, Healy, Melville, arXiv:1802.03426).

    UMAP gets unit rows on their first 50 principal axes, whose distances grow as similarities fall.

    Parameters
    ----------
    features : (S, d) array or Rows
        Of at least 4 structures.
    seed : int
    neighbours : int
        Neighbours of a structure that shape the map; fewer where there are fewer structures.

    Returns
    -------
    (S, 2) array

    Raises
    ------
    ValueError
        When there are fewer than 4 structures.
    """
    if len(features) < 4:
        raise ValueError(f"map: expected at least 4 structures, found {len(features)}")
    _use_own_threads()
    rows = _principal_axes(features, seed)
    with warnings.catch_warnings():
        # a seed restricts UMAP to one thread, which it reports; it also reports a missing package of a variant not used
        warnings.filterwarnings("ignore", message="n_jobs value .* overridden to 1", category=UserWarning)
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        from umap import UMAP

        reducer = UMAP(
            n_neighbors=min(neighbours, len(rows) - 1),
            random_state=seed,
            # the spectral initialisation needs clearly more points than dimensions
            init="spectral" if len(rows) > 20 else "random",
        )
        return np.asarray(reducer.fit_transform(rows), dtype=np.float64)


def _principal_axes(features: FloatArray | Rows, seed: int) -> FloatArray:
    """Unit rows on their first principal axes; rows by blocks on the axes of a sample of them."""
    if not isinstance(features, np.ndarray):
        return _principal_axes_of_sample(features.unit(), seed)
    from sklearn.decomposition import PCA

    rows = DenseRows(features).unit().values
    dimensions = min(_MAP_DIMENSIONS, *rows.shape)
    return np.asarray(PCA(dimensions, svd_solver="covariance_eigh").fit_transform(rows))


def _principal_axes_of_sample(rows: Rows, seed: int) -> FloatArray:
    """Axes from products of rows: blocks of 80 elements have 36,000 columns, whose covariance would take 10 GB."""
    from sklearn.decomposition import KernelPCA

    sample = rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:_MAP_SAMPLE]))
    axes = KernelPCA(min(_MAP_DIMENSIONS, len(sample)), kernel="precomputed", eigen_solver="dense")
    axes.fit(sample.dots(sample).astype(np.float64))
    parts = np.array_split(np.arange(len(rows)), -(-len(rows) // _MAP_SAMPLE))
    products = (rows.take(part).dots(sample).astype(np.float64) for part in parts)
    return np.concatenate([axes.transform(product) for product in products])


def _use_own_threads() -> None:
    """Make numba, which compiles UMAP, use its own threads instead of OpenMP.

    With its OpenMP layer numba sets the number of OpenMP threads of the whole process to the number of cores; torch in
    the same worker then took twenty times as long for a step of a small network on a busy machine (measured).
    """
    import numba

    numba.config.THREADING_LAYER = "workqueue"
