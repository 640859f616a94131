"""Splits: laws that hold for every kind, and what each kind promises beyond them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hbcoop_dist.learning.splits.feature_rows import DenseRows
from hbcoop_dist.learning.splits.strategies import KINDS, N_CLUSTERS, farthest_points, split

pytest.importorskip("sklearn", reason="splits by clusters need scikit-learn")


@dataclass(frozen=True)
class Named:
    parent: str
    size: int

    def __len__(self) -> int:
        return self.size


def drawn(n_parents: int, n_structures: int, seed: int = 0) -> tuple[list[Named], np.ndarray]:
    """Structures whose parents have 3 to 20 atoms and features about a point of their own."""
    rng = np.random.default_rng(seed)
    centres, sizes = np.abs(rng.normal(size=(n_parents, 12))), rng.integers(3, 21, n_parents)
    of = np.concatenate([np.arange(n_parents), rng.integers(n_parents, size=n_structures - n_parents)])
    rows = centres[of] + 0.02 * rng.normal(size=(n_structures, 12))
    return [Named(f"parent {parent}", int(sizes[parent])) for parent in of], rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_parents", "n_structures"), [(2, 6), (5, 5), (40, 300), (150, 150)])
@pytest.mark.parametrize("seed", [0, 1])
def test_laws(kind: str, n_parents: int, n_structures: int, seed: int) -> None:
    structures, rows = drawn(n_parents, n_structures)
    one = split(kind, structures, rows, seed=seed)
    sides = (one.train, one.validation, one.test)
    assert all(len(side) for side in sides), "no side is empty"
    np.testing.assert_array_equal(np.sort(np.concatenate(sides)), np.arange(n_structures), "disjoint and covering")
    for side in sides:
        assert (np.diff(side) > 0).all()
    learnt = {structures[place].parent for place in (*one.train, *one.validation)}
    assert not learnt & {structures[place].parent for place in one.test}, "no parent on both sides"
    again = split(kind, structures, rows, seed=seed)
    for side, other in zip(sides, (again.train, again.validation, again.test), strict=True):
        np.testing.assert_array_equal(side, other)


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_is_another_split(kind: str) -> None:
    structures, rows = drawn(40, 300)
    one, other = (split(kind, structures, rows, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.validation, other.validation)
    if kind != "size":
        assert not np.array_equal(one.test, other.test)


@pytest.mark.parametrize("kind", ["random", "size", "maxsep_paper", "maxsep_fps"])
def test_half_is_tested_on(kind: str) -> None:
    structures, rows = drawn(150, 1000)
    assert len(split(kind, structures, rows).test) == pytest.approx(500, abs=30)


def test_larger_structures_are_tested_on() -> None:
    structures, _ = drawn(40, 300)
    one = split("size", structures)
    learnt = max(len(structures[place]) for place in (*one.train, *one.validation))
    assert learnt < min(len(structures[place]) for place in one.test)
    limited = split("size", structures, largest_train=6)
    assert max(len(structures[place]) for place in (*limited.train, *limited.validation)) <= 6


def test_clusters_stay_whole() -> None:
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(N_CLUSTERS), 10)
    rows = np.eye(N_CLUSTERS)[of] + 0.001 * rng.random((len(of), N_CLUSTERS))
    structures = [Named(str(place), 3) for place in range(len(of))]
    tested = split("cluster", structures, rows).test
    assert len(tested) == 100
    assert len(set(of[tested])) == N_CLUSTERS // 2


def test_fewer_parents_mean_fewer_clusters_and_it_is_said() -> None:
    structures, rows = drawn(5, 30)
    assert split("cluster", structures, rows).notes == ("5 clusters, since no more than 5 parents differ",)
    many, more_rows = drawn(60, 100)
    assert split("cluster", many, more_rows).notes == ()


def test_the_least_similar_to_one_structure_are_tested_on() -> None:
    angles = np.linspace(0.0, np.pi / 2, 41)
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    structures = [Named(str(place), 3) for place in range(len(rows))]
    for seed in range(5):
        tested = np.isin(np.arange(41), split("maxsep_paper", structures, rows, seed=seed).test)
        changes = int(np.abs(np.diff(tested.astype(int))).sum())
        assert changes in (1, 2), "what is trained on is one arc about the structure"


def test_farthest_points_follow_their_definition() -> None:
    rows = np.abs(np.random.default_rng(0).normal(size=(60, 8)))
    points = DenseRows(rows).unit().values
    taken = [7]
    for _ in range(29):
        nearest = (points @ points[taken].T).max(axis=1)
        nearest[taken] = np.inf
        taken.append(int(nearest.argmin()))
    np.testing.assert_array_equal(farthest_points(rows, 7, 30), taken)


def test_farthest_points_of_few_points_in_many_dimensions() -> None:
    rows = np.abs(np.random.default_rng(1).normal(size=(10, 200)))
    assert sorted(farthest_points(rows, 0, 10)) == list(range(10))


def test_sides_can_be_cut_to_equal_numbers() -> None:
    structures, rows = drawn(40, 300)
    for kind in KINDS:
        one = split(kind, structures, rows, most_train=50, most_test=60)
        assert (len(one.train) + len(one.validation), len(one.test), one.notes) == (50, 60, ())
    assert "instead of 1000" in split("random", structures, most_train=1000).notes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_one_parent_cannot_be_split(kind: str) -> None:
    with pytest.raises(ValueError, match="at least 2 parents, found benzene"):
        split(kind, [Named("benzene", 12)] * 5, np.ones((5, 3)))


def test_what_makes_no_sense_is_refused() -> None:
    structures, rows = drawn(5, 30)
    with pytest.raises(ValueError, match="expected one of random"):
        split("scaffold", structures)
    with pytest.raises(ValueError, match="features of 30 structures, found none"):
        split("cluster", structures)
    with pytest.raises(ValueError, match="features of 30 structures"):
        split("cluster", structures, rows[:4])
    with pytest.raises(ValueError, match="all the same"):
        split("cluster", structures, np.ones((30, 4)))
    with pytest.raises(ValueError, match="only 3 atoms"):
        split("size", [Named("a", 3), Named("b", 3)])
    with pytest.raises(ValueError, match="up to 100 atoms"):
        split("size", structures, largest_train=100)
    with pytest.raises(ValueError, match="at least 2 structures"):
        split("random", [Named("a", 3), Named("b", 3)])
