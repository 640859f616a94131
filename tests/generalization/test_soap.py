"""Averaged SOAP: the size the compression promises, and the invariances of what it describes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hbcoop_dist.generalization.arrange import random_rotation
from hbcoop_dist.generalization.bare import BareStructure
from hbcoop_dist.generalization.clusters import clusters
from hbcoop_dist.generalization.soap import features, unit

SPECIES = (1, 6, 7, 8)


@pytest.fixture(scope="module")
def made() -> tuple[BareStructure, ...]:
    pytest.importorskip("dscribe", reason="SOAP needs dscribe")
    return clusters("neutral", 6, seed=0)


def test_450_features_of_each_species(made: tuple[BareStructure, ...]) -> None:
    assert features(made, SPECIES).shape == (6, 450 * 4)
    assert features(made, SPECIES).dtype == np.float64


def test_rotation_translation_and_order_do_not_matter(made: tuple[BareStructure, ...]) -> None:
    rng = np.random.default_rng(0)
    for one in made:
        order = rng.permutation(len(one))
        moved = (one.positions @ random_rotation(rng).T + [3.0, -1.0, 2.0])[order]
        other = replace(one, numbers=one.numbers[order], positions=moved)
        before, after = features([one, other], SPECIES)
        np.testing.assert_allclose(after, before, rtol=1e-8, atol=1e-8 * np.abs(before).max())


def test_a_row_does_not_depend_on_the_others(made: tuple[BareStructure, ...]) -> None:
    np.testing.assert_array_equal(features(made, SPECIES)[3], features([made[3]], SPECIES)[0])


def test_molecules_farther_apart_than_the_cutoff_average_by_their_atoms(made: tuple[BareStructure, ...]) -> None:
    one, other = made[1], made[2]
    far = BareStructure(
        np.concatenate([one.numbers, other.numbers]),
        np.concatenate([one.positions, other.positions + 200.0]),
        np.repeat([0, 1], [len(one), len(other)]),
        (0, 0),
        "",
        "",
    )
    alone = features([one, other], SPECIES)
    expected = (len(one) * alone[0] + len(other) * alone[1]) / len(far)
    np.testing.assert_allclose(features([far], SPECIES)[0], expected, rtol=1e-9, atol=1e-9 * alone.max())


def test_elements_beyond_the_species_are_named(made: tuple[BareStructure, ...]) -> None:
    with pytest.raises(ValueError, match="structure 0: expected elements"):
        features(made, (6, 7))
    with pytest.raises(ValueError, match="expected structures"):
        features([], SPECIES)


def test_rows_without_direction_are_refused() -> None:
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0]])), [[0.6, 0.8]])
    with pytest.raises(ValueError, match="row 1"):
        unit(np.array([[1.0, 0.0], [0.0, 0.0]]))
