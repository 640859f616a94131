"""Choose points on the sphere that average plane waves to a stated tolerance: how Euclidean attention stays invariant.

The average of exp(i b u.n) over all directions u is sin(b) / b.  In spherical waves, a rule exact to degree d makes no
error in the terms l <= d, and one that holds -u with every u none in the odd ones; its error is then at most
sum_{even l > d} (2 l + 1) |j_l(b)| whatever the direction n, since its weights are positive and sum to 1.  This bound
grows with b, so it is known at once up to which b a rule may be used.  Real errors are some 5 to 20 times smaller.

Sources: Lebedev and Laikov, Dokl. Math. 59, 477 (1999), the rules; DLMF 10.60.7, the plane wave in spherical waves.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import lebedev_rule
from scipy.special import spherical_jn

FloatArray = NDArray[np.float64]

# Without 13, 25 and 27: some weights of theirs are negative, and the bound would not hold.
DEGREES: tuple[int, ...] = (3, 5, 7, 9, 11, 15, 17, 19, 21, 23, 29, 31, *range(35, 132, 6))


@functools.cache
def half_sphere(degree: int) -> tuple[FloatArray, FloatArray]:
    """Directions, (G, 3), one of u and -u each, and weights, (G,), that sum to 1, of the Lebedev rule of this degree.

    For functions that are the same at u and -u, half of a rule is as exact as the whole.
    """
    points, weights = lebedev_rule(degree)
    rounded = np.round(points, 9)
    leading = np.where(rounded[2] != 0, rounded[2], np.where(rounded[1] != 0, rounded[1], rounded[0]))
    upper = leading > 0
    return np.ascontiguousarray(points[:, upper].T), weights[upper] / weights[upper].sum()


@dataclass(frozen=True, slots=True, eq=False)
class PlaneWaves:
    """F plane waves whose weighted sums are averages over directions, for each of K frequencies.

    Attributes
    ----------
    vectors : (F, 3) array
        Wave vectors, 1/A.
    weights : (F,) array
        Those of one frequency sum to 1.
    owners : (K, F) array
        1 where a wave belongs to a frequency, 0 elsewhere.
    """

    vectors: FloatArray
    weights: FloatArray
    owners: FloatArray


@functools.cache
def plane_waves(omega: tuple[float, ...], degrees: tuple[int, ...]) -> PlaneWaves:
    """Plane waves of frequencies `omega`, 1/A, each by the rule of its degree: low ones need few directions."""
    spheres = [half_sphere(degree) for degree in degrees]
    sizes = [len(weights) for _, weights in spheres]
    return PlaneWaves(
        vectors=np.concatenate([one * points for one, (points, _) in zip(omega, spheres, strict=True)]),
        weights=np.concatenate([weights for _, weights in spheres]),
        owners=np.repeat(np.eye(len(omega)), sizes, axis=1),
    )


def error_bound(degree: int, b: float) -> float:
    """Largest error of the average of exp(i b u.n) by the rule of this degree, over all directions n."""
    first = degree + 1
    orders = np.arange(first, first + 2 * int(b) + 40, 2)
    return float(np.sum((2 * orders + 1) * np.abs(spherical_jn(orders, b))))


@functools.cache
def largest_b(tolerance: float) -> tuple[float, ...]:
    """For every rule of `DEGREES`, the b up to which its error stays within `tolerance`; they ascend."""
    return tuple(_largest(degree, tolerance) for degree in DEGREES)


def choose_degree(b: float, tolerance: float) -> int:
    """Least degree whose rule averages plane waves up to `b` to within `tolerance`.

    Parameters
    ----------
    b : float
        Highest frequency times largest distance.
    tolerance : float
        Of an average whose value at b = 0 is 1.

    Raises
    ------
    ValueError
        If no rule does.
    """
    reached = largest_b(tolerance)
    place = int(np.searchsorted(reached, b))
    if place == len(reached):
        raise ValueError(
            f"points on the sphere: expected frequency times distance up to {reached[-1]:.1f} "
            f"for a tolerance of {tolerance:g}, found {b:.1f}: lower the frequency"
        )
    return DEGREES[place]


def _largest(degree: int, tolerance: float) -> float:
    low, high = 0.0, float(degree)
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if error_bound(degree, middle) <= tolerance else (low, middle)
    return low
