"""Averaged SOAP: the size the compression promises, and the invariances of what it describes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hbcoop_dist.learning.datasets.cluster_generation import generate_clusters, random_rotation
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure, UnlabelledStructure
from hbcoop_dist.learning.splits.feature_rows import DenseRows
from hbcoop_dist.learning.splits.soap_descriptors import soap_features

SPECIES = (1, 6, 7, 8)


@pytest.fixture(scope="module")
def made() -> tuple[UnlabelledStructure, ...]:
    pytest.importorskip("dscribe", reason="SOAP needs dscribe")
    return generate_clusters("neutral", 6, seed=0)


def test_450_features_of_each_species(made: tuple[UnlabelledStructure, ...]) -> None:
    assert soap_features(made, SPECIES).shape == (6, 450 * 4)
    assert soap_features(made, SPECIES).dtype == np.float64


def test_rotation_translation_and_order_do_not_matter(made: tuple[UnlabelledStructure, ...]) -> None:
    rng = np.random.default_rng(0)
    for one in made:
        order = rng.permutation(len(one))
        moved = (one.positions @ random_rotation(rng).T + [3.0, -1.0, 2.0])[order]
        other = replace(one, numbers=one.numbers[order], positions=moved)
        before, after = soap_features([one, other], SPECIES)
        np.testing.assert_allclose(after, before, rtol=1e-8, atol=1e-8 * np.abs(before).max())


def test_a_row_does_not_depend_on_the_others(made: tuple[UnlabelledStructure, ...]) -> None:
    np.testing.assert_array_equal(soap_features(made, SPECIES)[3], soap_features([made[3]], SPECIES)[0])


def test_molecules_farther_apart_than_the_cutoff_average_by_their_atoms(made: tuple[UnlabelledStructure, ...]) -> None:
    one, other = made[1], made[2]
    far = UnlabelledStructure(
        np.concatenate([one.numbers, other.numbers]),
        np.concatenate([one.positions, other.positions + 200.0]),
        np.repeat([0, 1], [len(one), len(other)]),
        (0, 0),
        "",
        "",
    )
    alone = soap_features([one, other], SPECIES)
    expected = (len(one) * alone[0] + len(other) * alone[1]) / len(far)
    np.testing.assert_allclose(soap_features([far], SPECIES)[0], expected, rtol=1e-9, atol=1e-9 * alone.max())


def test_elements_beyond_the_species_are_named(made: tuple[UnlabelledStructure, ...]) -> None:
    with pytest.raises(ValueError, match="structure 0: expected elements"):
        soap_features(made, (6, 7))
    with pytest.raises(ValueError, match="expected structures"):
        soap_features([], SPECIES)


def test_rows_without_direction_are_refused() -> None:
    np.testing.assert_allclose(DenseRows(np.array([[3.0, 4.0]])).unit().values, [[0.6, 0.8]])
    with pytest.raises(ValueError, match="row 1"):
        DenseRows(np.array([[1.0, 0.0], [0.0, 0.0]])).unit()


def repeated(one: LabelledStructure, times: int) -> LabelledStructure:
    """The same crystal in a cell so many times as long."""
    assert one.cell is not None
    moved = [one.positions + k * one.cell[0] for k in range(times)]
    cell = one.cell * np.array([[times], [1], [1]])
    return LabelledStructure(np.tile(one.numbers, times), np.concatenate(moved), 0.0, None, "", "", cell=cell)


def crystal() -> LabelledStructure:
    rng = np.random.default_rng(1)
    cell = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.5, 6.0]])
    return LabelledStructure(np.array([1, 6, 8, 8]), rng.random((4, 3)) @ cell, 0.0, None, "", "", cell=cell)


def test_a_crystal_is_the_same_in_any_cell_of_it(made: tuple[UnlabelledStructure, ...]) -> None:
    one = crystal()
    assert one.cell is not None
    shifted = replace(one, positions=one.positions + one.cell[1] - 2 * one.cell[2])
    other = replace(one, cell=one.cell + np.array([[0, 0, 0], 1 * one.cell[0], [0, 0, 0]]))
    rows = soap_features([one, repeated(one, 2), repeated(one, 3), shifted, other], SPECIES)
    for row in rows[1:]:
        np.testing.assert_allclose(row, rows[0], rtol=1e-7, atol=1e-8 * rows.max())
    alone = soap_features([replace(one, cell=None)], SPECIES)[0]
    assert np.abs(alone - rows[0]).max() > 0.01 * rows.max()


def test_a_molecule_is_the_same_alone_and_in_a_wide_cell(made: tuple[UnlabelledStructure, ...]) -> None:
    one = made[1]
    cell = np.diag(np.ptp(one.positions, axis=0) + 12.0)
    boxed = LabelledStructure(one.numbers, one.positions, 0.0, None, "", "", cell=cell)
    both = soap_features([one, boxed, crystal()], SPECIES)
    np.testing.assert_allclose(both[1], both[0], rtol=1e-9, atol=1e-10 * both.max())
