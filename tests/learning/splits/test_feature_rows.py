"""Rows by blocks: whatever is asked of them is what the dense matrix says; SOAP by blocks is SOAP."""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.learning.datasets.cluster_generation import generate_clusters
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.splits import strategies as separation_module
from hbcoop_dist.learning.splits.feature_rows import DenseRows, ElementBlocks
from hbcoop_dist.learning.splits.soap_descriptors import FEATURES, soap_blocks, soap_features
from hbcoop_dist.learning.splits.strategies import KINDS, farthest_points, separation, split, umap_coordinates

WIDTH, SPECIES = 5, (1, 6, 8, 26, 30)


def made(count: int, share: float, seed: int = 0) -> tuple[ElementBlocks, np.ndarray]:
    """ElementBlocks, of which so large a share is not zero, and the dense matrix."""
    rng = np.random.default_rng(seed)
    there = rng.random((count, len(SPECIES))) < share
    there[:, 0] = True
    dense = rng.random((count, len(SPECIES), WIDTH)).astype(np.float32) * there[:, :, None]
    rows, column = np.nonzero(there)
    order = rng.permutation(len(rows))
    elements = np.array(SPECIES)[column]
    found = ElementBlocks.of(rows[order], elements[order], dense[rows, column][order], count)
    return found, dense.reshape(count, -1)


def dense_of(found: ElementBlocks) -> np.ndarray:
    whole = np.zeros((len(found), len(SPECIES), found.values.shape[1]))
    whole[found.rows, np.searchsorted(SPECIES, found.elements)] = found.values
    return whole.reshape(len(found), -1)


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_everything_is_as_of_the_dense_matrix(share: float) -> None:
    one, dense = made(40, share)
    other, theirs = made(7, share, seed=1)
    np.testing.assert_array_equal(dense_of(one), dense)
    np.testing.assert_allclose(dense_of(one.unit()), DenseRows(dense).unit().values, rtol=1e-6)
    places = np.array([5, 0, 39, 5])
    np.testing.assert_array_equal(dense_of(one.take(places)), dense[places])
    np.testing.assert_allclose(one.dots(other), dense @ theirs.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.along(other, 3), dense @ theirs[3], rtol=1e-5, atol=1e-6)
    of = np.random.default_rng(2).integers(0, 6, 40)
    np.testing.assert_allclose(dense_of(one.sums(of, 6)), DenseRows(dense).sums(of, 6).values, rtol=1e-5)
    assert one.single() is one
    assert len(one.take(np.zeros(0, dtype=np.int64))) == 0


def test_a_matrix_is_dense_or_sparse_whichever_is_smaller() -> None:
    full, dense = made(40, 1.0)
    np.testing.assert_array_equal(full.matrix(), dense)
    few, dense = made(40, 0.1)
    matrix = few.matrix()
    assert matrix.nnz == few.values.size
    columns = np.isin(np.repeat(SPECIES, WIDTH), few.species)
    np.testing.assert_array_equal(matrix.toarray(), dense[:, columns])


def test_parts_are_joined_in_their_order() -> None:
    parts = [made(count, 0.4, seed=count) for count in (4, 1, 9)]
    empty = ElementBlocks.of(np.zeros(0, int), np.zeros(0, int), np.zeros((0, WIDTH), np.float32), 0)
    every = [parts[0][0], empty, parts[1][0], parts[2][0]]
    joined = ElementBlocks.join(
        [(one.rows, one.elements, one.count) for one in every], (one.values for one in every), WIDTH
    )
    np.testing.assert_array_equal(dense_of(joined), np.concatenate([dense for _, dense in parts]))
    assert (np.lexsort((joined.rows, joined.elements)) == np.arange(len(joined.rows))).all()


def test_rows_without_direction_are_refused() -> None:
    one, _ = made(4, 0.5)
    values = one.values.copy()
    values[one.rows == 2] = 0.0
    with pytest.raises(ValueError, match="features, row 2"):
        ElementBlocks(one.rows, one.elements, values, 4).unit()


@pytest.mark.parametrize("kind", KINDS)
def test_splits_are_those_of_the_dense_matrix(kind: str) -> None:
    pytest.importorskip("sklearn", reason="splits by clusters need scikit-learn")
    one, dense = made(120, 0.4)
    structures = [
        LabelledStructure(np.ones(2 + n % 5, int), np.zeros((2 + n % 5, 3)), 0.0, None, f"p{n // 2}", "")
        for n in range(120)
    ]
    by_blocks, by_rows = split(kind, structures, one, seed=3), split(kind, structures, dense.astype(float), seed=3)
    for side in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(by_blocks, side), getattr(by_rows, side))
    apart, expected = separation(one, by_blocks), separation(dense.astype(float), by_rows)
    np.testing.assert_allclose(apart.similarity, expected.similarity, rtol=1e-5)


def test_farthest_points_are_those_of_the_dense_matrix() -> None:
    one, dense = made(300, 0.4)
    np.testing.assert_array_equal(farthest_points(one, 4, 300), farthest_points(dense.astype(float), 4, 300))


@pytest.mark.parametrize("sample", [50, 400])
def test_pictures_of_blocks(monkeypatch: pytest.MonkeyPatch, sample: int) -> None:
    pytest.importorskip("umap", reason="pictures of chemical space need umap-learn")
    monkeypatch.setattr(separation_module, "_MAP_SAMPLE", sample)
    one, dense = made(120, 0.4)
    found = umap_coordinates(one, seed=1)
    assert found.shape == (120, 2)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, umap_coordinates(one, seed=1))
    if sample > 120:
        axes = separation_module._principal_axes(one, 0)
        expected = separation_module._principal_axes(dense.astype(float), 0)
        count = expected.shape[1]
        np.testing.assert_allclose(np.abs(axes[:, :count]), np.abs(expected), atol=2e-5)


def test_soap_by_blocks_is_soap() -> None:
    pytest.importorskip("dscribe", reason="SOAP needs dscribe")
    structures = generate_clusters("neutral", 12, seed=0)
    whole = soap_features(structures, (1, 6, 7, 8, 30))
    found = soap_blocks(structures)
    expected = whole.reshape(12, 5, FEATURES)
    assert found.values.dtype == np.float32
    there = np.zeros((12, 5), dtype=bool)
    column = np.searchsorted((1, 6, 7, 8, 30), found.elements)
    there[found.rows, column] = True
    np.testing.assert_array_equal(found.values, expected[found.rows, column].astype(np.float32))
    assert not expected[~there].any()
    assert len(soap_blocks([])) == 0
