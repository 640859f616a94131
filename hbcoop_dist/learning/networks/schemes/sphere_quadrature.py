"""Quadrature rules on the sphere that average plane waves to a given tolerance; needs no torch.

The average of exp(i b u.n) over all directions u is sin(b) / b. In spherical waves, a rule exact to degree d has no
error in the terms l <= d, and one that contains -u with every u has none in odd terms; its error is then at most
sum_{even l > d} (2 l + 1) |j_l(b)| for any direction n, because its weights are positive and sum to 1. This bound grows
with b, which gives the largest b for which a rule may be used. Actual errors are some 5 to 20 times smaller.

Sources: Lebedev and Laikov, Dokl. Math. 59, 477 (1999), the rules; DLMF 10.60.7, the plane wave in spherical waves.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.integrate import lebedev_rule
from scipy.special import spherical_jn

from hbcoop_dist.core.arrays import FloatArray

DEGREES: tuple[int, ...] = (3, 5, 7, 9, 11, 15, 17, 19, 21, 23, 29, 31, *range(35, 132, 6))
"""Degrees of the Lebedev rules in use; 13, 25 and 27 have negative weights, for which the bound does not hold."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaneWaves:
    """F plane waves whose weighted sums are averages over directions, for each of K frequencies.

    Attributes
    ----------
    vectors : (F, 3) array
        Wave vectors, 1/A.
    weights : (F,) array
        Weights, which sum to 1 for each frequency.
    owners : (K, F) array
        1 where a wave belongs to a frequency, 0 elsewhere.
    """

    vectors: FloatArray
    weights: FloatArray
    owners: FloatArray


@functools.cache
def half_sphere(degree: int) -> tuple[FloatArray, FloatArray]:
    """Return one of every two opposite points of a Lebedev rule, exact for functions that are equal at u and -u.

    Parameters
    ----------
    degree : int

    Returns
    -------
    directions : (G, 3) array
    weights : (G,) array
        They sum to 1.
    """
    points, weights = lebedev_rule(degree)
    rounded = np.round(points, 9)
    leading = np.where(rounded[2] != 0, rounded[2], np.where(rounded[1] != 0, rounded[1], rounded[0]))
    upper = leading > 0
    return np.ascontiguousarray(points[:, upper].T), weights[upper] / weights[upper].sum()


@functools.cache
def plane_waves(omega: tuple[float, ...], degrees: tuple[int, ...]) -> PlaneWaves:
    """Return the plane waves of several frequencies, each averaged by the rule of its own degree.

    Parameters
    ----------
    omega : tuple of K float
        Frequencies, 1/A.
    degrees : tuple of K int
    """
    spheres = [half_sphere(degree) for degree in degrees]
    sizes = [len(weights) for _, weights in spheres]
    return PlaneWaves(
        vectors=np.concatenate([frequency * points for frequency, (points, _) in zip(omega, spheres, strict=True)]),
        weights=np.concatenate([weights for _, weights in spheres]),
        owners=np.repeat(np.eye(len(omega)), sizes, axis=1),
    )


def error_bound(degree: int, b: float) -> float:
    """Return the bound of the error of the average of exp(i b u.n) by a rule, over all directions n.

    Parameters
    ----------
    degree : int
        Degree of the rule.
    b : float
        Frequency times distance.
    """
    first = degree + 1
    orders = np.arange(first, first + 2 * int(b) + 40, 2)
    return float(np.sum((2 * orders + 1) * np.abs(spherical_jn(orders, b))))


@functools.cache
def largest_b(tolerance: float) -> tuple[float, ...]:
    """Return, for every degree in `DEGREES`, the largest b with an error within the tolerance; ascending."""
    return tuple(_largest(degree, tolerance) for degree in DEGREES)


def choose_degree(b: float, tolerance: float) -> int:
    """Return the least degree whose rule averages plane waves up to `b` within a tolerance.

    Parameters
    ----------
    b : float
        Highest frequency times largest distance.
    tolerance : float
        Largest error of an average whose value at b = 0 is 1.

    Raises
    ------
    ValueError
        When no rule is fine enough.
    """
    reached = largest_b(tolerance)
    index = int(np.searchsorted(reached, b))
    if index == len(reached):
        raise ValueError(
            f"points on the sphere: expected frequency times distance up to {reached[-1]:.1f} "
            f"for a tolerance of {tolerance:g}, found {b:.1f}: lower the frequency"
        )
    return DEGREES[index]


def _largest(degree: int, tolerance: float) -> float:
    low, high = 0.0, float(degree)
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if error_bound(degree, middle) <= tolerance else (low, middle)
    return low
