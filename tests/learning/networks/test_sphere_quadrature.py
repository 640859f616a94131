"""Errors of averages over the sphere, against the exact average and against what is promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import lebedev_rule

from hbcoop_dist.learning.networks.schemes.sphere_quadrature import (
    DEGREES,
    choose_degree,
    error_bound,
    half_sphere,
    largest_b,
)

# Points of the rules that the published table is about, and their degrees.
DEGREE = {50: 11, 86: 15, 194: 23}


def worst(degree, b):
    """Largest error over many directions, the axes of the rule among them."""
    directions = np.random.default_rng(0).normal(size=(3000, 3))
    directions = np.concatenate([directions, np.eye(3), [[1, 1, 0], [1, 1, 1]]])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points, weights = half_sphere(degree)
    return np.abs(np.cos(b * directions @ points.T) @ weights - np.sin(b) / b).max()


@pytest.mark.parametrize(
    ("points", "b", "error", "within"),
    [(50, 2, 1.4e-3, 0.1), (50, 4, 0.46, 0.02), (86, 4, 0.025, 0.03), (194, 4, 5.0e-6, 0.05)],
)
def test_table_of_errors(points, b, error, within):
    assert lebedev_rule(DEGREE[points])[0].shape[1] == points
    assert worst(DEGREE[points], b * math.pi) == pytest.approx(error, rel=within)


@pytest.mark.parametrize("degree", DEGREES)
def test_half_of_a_rule_is_all_of_it(degree):
    points, weights = half_sphere(degree)
    assert 2 * len(points) == lebedev_rule(degree)[0].shape[1]
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.einsum("g,gx,gy->xy", weights, points, points), np.eye(3) / 3, atol=1e-12)


@pytest.mark.parametrize("degree", [5, 11, 19, 35])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_errors_stay_below_the_bound_and_near_it(degree, part):
    b = part * degree
    error, bound = worst(degree, b), error_bound(degree, b)
    assert error <= bound + 1e-15
    assert bound < 1e-13 or error > bound / 40


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
def test_the_rule_chosen_is_the_least_that_does(tolerance):
    for b in (0.5, math.pi, 10.0, 4 * math.pi, 40.0):
        degree = choose_degree(b, tolerance)
        assert worst(degree, b) <= tolerance
        coarser = DEGREES[DEGREES.index(degree) - 1] if degree > DEGREES[0] else None
        assert coarser is None or error_bound(coarser, b) > tolerance
    assert list(largest_b(tolerance)) == sorted(largest_b(tolerance))


def test_no_rule_is_fine_enough():
    with pytest.raises(ValueError, match=r"expected frequency times distance up to 1\d\d\.\d .* found 200.0"):
        choose_degree(200.0, 1e-4)
