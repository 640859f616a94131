"""Similarity of tested structures to the nearest trained ones, and maps of chemical space."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.learning.splits.feature_rows import DenseRows, Rows, as_rows
from hbcoop_dist.learning.splits.strategies import Split

_BLOCK = 32 * 2**20
"""Bytes of one block of similarities."""

_MAP_DIMENSIONS, _MAP_SAMPLE = 50, 2000
SIDES = ("none", "train", "validation", "test")
"""Names of the sides of a split, by the numbers of `side_indices`."""


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
