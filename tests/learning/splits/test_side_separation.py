"""Separation: the nearest is the nearest, blocks do not matter, and pictures are the same every time."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from hbcoop_dist.learning.splits import strategies as module
from hbcoop_dist.learning.splits.strategies import SIDES, Split, separation, side_indices, umap_coordinates


def places(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_the_nearest_of_points_on_a_circle() -> None:
    angles = np.radians([0.0, 90.0, 30.0, 80.0, 45.0])
    rows = 7.0 * np.column_stack([np.cos(angles), np.sin(angles)])
    found = separation(rows, Split("random", 0, places(0, 1), places(4), places(2, 3)))
    np.testing.assert_allclose(found.similarity, np.cos(np.radians([30.0, 10.0])))
    assert found.nearest.tolist() == [0, 1]
    assert found.mean == pytest.approx(np.cos(np.radians([30.0, 10.0])).mean())
    assert found.low < found.median


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.abs(np.random.default_rng(0).normal(size=(50, 6)))
    one = Split("random", 0, np.arange(20), places(20), np.arange(21, 50))
    whole = separation(rows, one)
    monkeypatch.setattr(module, "_BLOCK", 1)
    np.testing.assert_allclose(separation(rows, one).similarity, whole.similarity, rtol=1e-12)


def test_sides_are_labelled() -> None:
    sides = side_indices(Split("random", 0, places(0, 1), places(2), places(4)), 5)
    assert [SIDES[side] for side in sides] == ["train", "train", "validation", "none", "test"]


@pytest.mark.parametrize("count", [4, 60])
def test_a_seed_is_a_picture(count: int) -> None:
    pytest.importorskip("umap", reason="pictures of chemical space need umap-learn")
    rows = np.abs(np.random.default_rng(0).normal(size=(count, 8)))
    one = umap_coordinates(rows, seed=1)
    assert one.shape == (count, 2)
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one, umap_coordinates(rows, seed=1))


def test_too_few_for_a_picture() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        umap_coordinates(np.ones((3, 2)))


@pytest.mark.slow
def test_the_map_leaves_the_number_of_threads_alone() -> None:
    # in a process of its own: numba's threads are started once
    code = (
        "import numpy as np, torch; before = torch.get_num_threads();"
        "from hbcoop_dist.learning.splits.strategies import umap_coordinates;"
        "umap_coordinates(np.random.default_rng(0).random((30, 8)));"
        "assert torch.get_num_threads() == before, torch.get_num_threads()"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
