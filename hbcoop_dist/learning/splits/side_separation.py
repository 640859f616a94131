"""How far a split really is: how similar the tested structures are to the nearest that were trained on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.splits.similarity import Dense, Rows
from hbcoop_dist.learning.splits.strategies import Split

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BLOCK = 32 * 2**20
"""Bytes of one block of similarities."""

_MAP_DIMENSIONS, _MAP_SAMPLE = 50, 2000
LABELS = ("none", "train", "validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """Of every tested structure, how similar (cosine of averaged SOAP) its nearest training structure is.

    Attributes
    ----------
    similarity : (n_test,) array
        In the order of `Split.test`; 1 is the same environment.
    nearest : (n_test,) int array
        Place of that training structure.
    mean, median, low : float
        Mean, median and 5th percentile of `similarity`.
    """

    similarity: FloatArray
    nearest: IntArray
    mean: float
    median: float
    low: float


def separation(features: FloatArray | Rows, split: Split) -> Separation:
    """Similarity of tested to training structures; validation structures are neither.

    Parameters
    ----------
    features : (S, d) array or Rows
    split : Split
        Of these S structures.
    """
    rows_ = Dense(features) if isinstance(features, np.ndarray) else features
    train, test = (rows_.take(places).unit() for places in (split.train, split.test))
    similarity = np.empty(len(test))
    nearest = np.empty(len(test), dtype=np.int64)
    rows = max(1, _BLOCK // (8 * len(train)))
    for start in range(0, len(test), rows):
        block = test.take(np.arange(start, min(start + rows, len(test)))).dots(train)
        nearest[start : start + rows] = block.argmax(axis=1)
        similarity[start : start + rows] = block.max(axis=1)
    return Separation(
        similarity=similarity,
        nearest=split.train[nearest],
        mean=float(similarity.mean()),
        median=float(np.median(similarity)),
        low=float(np.percentile(similarity, 5.0)),
    )


def side_of(split: Split, count: int) -> IntArray:
    """Place in `LABELS` of each of `count` structures: which side of the split it is on."""
    sides = np.zeros(count, dtype=np.int64)
    for number, places in enumerate((split.train, split.validation, split.test), 1):
        sides[places] = number
    return sides


def flat_map(features: FloatArray | Rows, *, seed: int = 0, neighbours: int = 15) -> FloatArray:
    """Coordinates for a picture of chemical space, by UMAP (McInnes, Healy, Melville, arXiv:1802.03426).

    UMAP sees unit rows on their first 50 principal axes, whose distances grow as similarities fall.

    Parameters
    ----------
    features : (S, d) array or Rows
        Of at least 4 structures.
    seed : int
    neighbours : int
        How many neighbours of a structure shape the picture; fewer where there are fewer.

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
    _keep_openmp()
    rows = _principal(features, seed)
    with warnings.catch_warnings():
        # A seed means one thread, as UMAP says each time; and it announces that its parametric variant needs another
        # package, which is not used.
        warnings.filterwarnings("ignore", message="n_jobs value .* overridden to 1", category=UserWarning)
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        from umap import UMAP

        reducer = UMAP(
            n_neighbors=min(neighbours, len(rows) - 1),
            random_state=seed,
            # Its spectral start needs more points than it has dimensions, with room to spare.
            init="spectral" if len(rows) > 20 else "random",
        )
        return np.asarray(reducer.fit_transform(rows), dtype=np.float64)


def _principal(features: FloatArray | Rows, seed: int) -> FloatArray:
    """Unit rows on their first principal axes; those of blocks on the axes of a sample of them."""
    if not isinstance(features, np.ndarray):
        return _principal_of_sample(features.unit(), seed)
    from sklearn.decomposition import PCA

    rows = Dense(features).unit().values
    dimensions = min(_MAP_DIMENSIONS, *rows.shape)
    return np.asarray(PCA(dimensions, svd_solver="covariance_eigh").fit_transform(rows))


def _principal_of_sample(rows: Rows, seed: int) -> FloatArray:
    """Axes from products of rows alone: blocks of 80 elements have 36,000 columns, whose covariance would be 10 GB."""
    from sklearn.decomposition import KernelPCA

    sample = rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:_MAP_SAMPLE]))
    axes = KernelPCA(min(_MAP_DIMENSIONS, len(sample)), kernel="precomputed", eigen_solver="dense")
    axes.fit(sample.dots(sample).astype(np.float64))
    products = (rows.take(part).dots(sample).astype(np.float64) for part in _parts(len(rows)))
    return np.concatenate([axes.transform(one) for one in products])


def _parts(count: int) -> list[IntArray]:
    return np.array_split(np.arange(count), -(-count // _MAP_SAMPLE))


def _keep_openmp() -> None:
    """Have numba, which UMAP is compiled by, use threads of its own.

    With its OpenMP layer it sets the number of OpenMP threads of the whole process to that of the cores, and torch, in
    the same worker, then took twenty times as long for a step of a small network on a busy machine (measured).
    """
    import numba

    numba.config.THREADING_LAYER = "workqueue"
