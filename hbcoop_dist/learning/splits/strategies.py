"""Divide structures into training, validation and test sets, at random or so that the test lies elsewhere.

Structures of one parent stay together in training or in test.  What decides where a parent goes is the mean of its
structures' features: one point that lies among them.  A vote of its structures would need a rule for ties, and would
put the outvoted into a part they are not like.  Similarity is the cosine of averaged SOAP (Sanocki and Zavadlav 2026).

Validation is drawn at random from the training side, structure by structure: it tells when to stop and nothing about
transfer, so conformers of its parents may be trained on.

A name does not make a split far.  Half of a set in the order of farthest-point sampling is a net over all of it, with
the other half in its meshes: measured on 1,000 ionic and 1,000 neutral clusters the tested structures are as near to
the trained ones as in a random split (mean similarity 0.997 to 0.998; random 0.995 to 0.998; `maxsep_paper` 0.95 to
0.985), on 476 SPICE molecules somewhat farther (0.970; random 0.991; `maxsep_paper` 0.957).  The other way round,
trained on that half and tested on the rest, everything tested has a neighbour (0.998 to 0.999).  `separation` tells it
for every split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.splits.similarity import Dense, Rows, farthest_points

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

KINDS = ("random", "size", "cluster", "maxsep_paper", "maxsep_fps")
NEED_FEATURES = frozenset({"cluster", "maxsep_paper", "maxsep_fps"})
N_CLUSTERS = 20


class Parented(Protocol):
    """What a split needs to know of a structure."""

    @property
    def parent(self) -> str: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Places of structures, ascending, in three sets that have none in common.

    Attributes
    ----------
    kind : str
    seed : int
    train, validation, test : (n,) int arrays
    notes : tuple of str
        What is not as asked for, in words.
    """

    kind: str
    seed: int
    train: IntArray
    validation: IntArray
    test: IntArray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Parents:
    """P parents of S structures: whose each structure is, counts, mean sizes (atoms) and features; features of all."""

    names: tuple[str, ...]
    of: IntArray
    counts: IntArray
    sizes: FloatArray
    features: Any
    of_structures: Any


_Sides = tuple[IntArray, tuple[str, ...]]
"""Parents that are tested on, and notes."""


def split(
    kind: str,
    structures: Sequence[Parented],
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
    kind : str
        ``random`` parents; ``size``, the larger are tested on; ``cluster``, half of 20 clusters (k-means) is tested on;
        ``maxsep_paper``, the parents least similar to one random structure are tested on, as the paper's code does it;
        ``maxsep_fps``, those that farthest-point sampling from a random parent takes first are tested on, as its text
        describes it: the outermost are tested on and what lies between them is trained on.
    structures : sequence of S structures
    features : (S, d) array or Rows, optional
        Averaged SOAP; not needed for ``random`` and ``size``.
    seed : int
        Not negative.
    test_fraction : float
        Of all structures, as near as whole parents allow it; ``cluster`` has half of its clusters instead.
    validation_fraction : float
        Of the training side.
    largest_train : int, optional
        ``size``: structures of up to so many atoms are trained on. Without it the limit between two sizes that comes
        nearest to `test_fraction`; no size is on both sides.
    most_train, most_test : int, optional
        So many structures of a side (training and validation together) are kept, drawn at random, that several kinds
        of split can be compared at equal numbers.

    Raises
    ------
    ValueError
        When there are fewer than two parents or training structures, no features where they are needed, or nothing on
        one side.
    """
    parents = _parents(kind, structures, features)
    rng = np.random.default_rng([KINDS.index(kind), seed])
    if kind == "size":
        tested, notes = _size(parents, test_fraction, largest_train)
    else:
        tested, notes = _RULES[kind](parents, test_fraction, rng)
    is_test = np.isin(parents.of, tested)
    train, few = _at_most(np.flatnonzero(~is_test), most_train, "training", rng)
    test, fewer = _at_most(np.flatnonzero(is_test), most_test, "test", rng)
    if len(train) < 2:
        raise ValueError(f"split {kind}: expected at least 2 structures to train and validate on, found {len(train)}")
    n_validation = min(max(1, round(validation_fraction * len(train))), len(train) - 1)
    validation = np.sort(rng.choice(train, n_validation, replace=False))
    return Split(kind, seed, np.setdiff1d(train, validation), validation, test, (*notes, *few, *fewer))


def _parents(kind: str, structures: Sequence[Parented], features: FloatArray | Rows | None) -> _Parents:
    if kind not in KINDS:
        raise ValueError(f"split: expected one of {', '.join(KINDS)}, found {kind!r}")
    names, of = np.unique([one.parent for one in structures], return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"split {kind}: expected structures of at least 2 parents, found {', '.join(names) or 'none'}")
    counts = np.bincount(of)
    sizes = np.bincount(of, weights=[len(one) for one in structures]) / counts
    if kind not in NEED_FEATURES:
        nothing = Dense(np.zeros((len(names), 0)))
        return _Parents(tuple(names.tolist()), of, counts, sizes, nothing, nothing)
    if features is None or len(features) != len(of):
        found = "none" if features is None else str(len(features))
        raise ValueError(f"split {kind}: expected features of {len(of)} structures, found {found}")
    rows: Rows = Dense(features) if isinstance(features, np.ndarray) else features
    of_parents = rows.unit().sums(of, len(names)).unit()
    return _Parents(tuple(names.tolist()), of, counts, sizes, of_parents, rows)


def _random(parents: _Parents, fraction: float, rng: np.random.Generator) -> _Sides:
    return _first(parents, rng.permutation(len(parents.names)), fraction), ()


def _size(parents: _Parents, fraction: float, limit: int | None) -> _Sides:
    sizes = np.unique(parents.sizes)
    if len(sizes) < 2:
        raise ValueError(f"split size: expected parents of several sizes, found only {sizes[0]:g} atoms")
    tested = np.array([parents.counts[parents.sizes > size].sum() for size in sizes[:-1]])
    nearest = float(sizes[np.abs(tested - fraction * parents.counts.sum()).argmin()])
    larger = np.flatnonzero(parents.sizes > (nearest if limit is None else limit))
    if not 0 < len(larger) < len(parents.names):
        raise ValueError(
            f"split size: expected parents of up to {limit} atoms and larger ones, found {sizes[0]:g} to {sizes[-1]:g}"
        )
    return larger, ()


def _cluster(parents: _Parents, fraction: float, rng: np.random.Generator) -> _Sides:
    """k-means of the parents, each as heavy as it has structures."""
    from sklearn.cluster import KMeans

    del fraction
    # Equal points cannot be told apart; k-means warns of them and leaves clusters empty. Points that differ do so on a
    # line of random direction too.
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


def _maxsep_paper(parents: _Parents, fraction: float, rng: np.random.Generator) -> _Sides:
    centre = int(rng.integers(len(parents.of)))
    similarity = parents.features.along(parents.of_structures.take(np.array([centre])).unit(), 0)
    # What everything is compared with is trained on, even where its conformers are so unlike that their mean is far.
    similarity[parents.of[centre]] = np.inf
    return _first(parents, np.argsort(similarity, kind="stable"), fraction), ()


def _maxsep_fps(parents: _Parents, fraction: float, rng: np.random.Generator) -> _Sides:
    start = int(rng.integers(len(parents.names)))
    return _first(parents, farthest_points(parents.features, start, len(parents.names) - 1), fraction), ()


_RULES: dict[str, Callable[[_Parents, float, np.random.Generator], _Sides]] = {
    "random": _random,
    "cluster": _cluster,
    "maxsep_paper": _maxsep_paper,
    "maxsep_fps": _maxsep_fps,
}


def _first(parents: _Parents, order: IntArray, fraction: float) -> IntArray:
    """As many parents from the front, neither none nor all, as come nearest to the fraction of structures."""
    reached = np.cumsum(parents.counts[order])[: len(parents.names) - 1]
    return order[: int(np.abs(reached - fraction * parents.counts.sum()).argmin()) + 1]


def _at_most(places: IntArray, most: int | None, side: str, rng: np.random.Generator) -> _Sides:
    if most is None or len(places) == most:
        return places, ()
    if len(places) < most:
        return places, (f"{len(places)} {side} structures instead of {most}",)
    return np.sort(rng.choice(places, most, replace=False)), ()
