"""Put molecules beside each other at wanted distances, without clashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Van der Waals radii, A (Bondi, J. Phys. Chem. 1964, 68, 441). At 0.7 of their sum H..O is at 1.90 and O..O at 2.13 A:
# as close as strong hydrogen bonds bring H, and on the repulsive wall for all else.
_RADII = {1: 1.20, 6: 1.70, 7: 1.55, 8: 1.52}
CONTACT = 0.7


def contact_distances(one: IntArray, other: IntArray) -> FloatArray:
    """Sums of van der Waals radii, A, of the atoms (n,) and (m,) of two molecules: (n, m)."""
    radii = np.zeros(9)
    radii[list(_RADII)] = list(_RADII.values())
    return np.asarray(radii[one][:, None] + radii[other][None, :])


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """A rotation matrix, (3, 3), uniform over all."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_quat(rng.normal(size=4)).as_matrix())


def random_direction(rng: np.random.Generator) -> FloatArray:
    """A unit vector, (3,), uniform over the sphere."""
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def touching_shift(fixed: FloatArray, mover: FloatArray, direction: FloatArray, reach: FloatArray) -> float | None:
    """How far `mover` lies along `direction` when, coming from far away, it first touches `fixed`.

    Parameters
    ----------
    fixed, mover : (n, 3) and (m, 3) arrays
        A.
    direction : (3,) array
        Unit vector.
    reach : (n, m) array
        Distance, A, at which two atoms touch.

    Returns
    -------
    float or None
        Shift, A; None where it passes without touching.
    """
    apart = mover[None, :, :] - fixed[:, None, :]
    along = apart @ direction
    under_root = along**2 - np.einsum("ijk,ijk->ij", apart, apart) + reach**2
    hit = under_root >= 0
    if not hit.any():
        return None
    return float((np.sqrt(under_root[hit]) - along[hit]).max())


def arrange(
    molecules: Sequence[tuple[IntArray, FloatArray]],
    excess: Sequence[float | None],
    far: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Positions, (N, 3) A, of molecules that come one after another from a random side.

    Parameters
    ----------
    molecules : sequence of (numbers, positions)
        Each about its own centroid.
    excess : sequence of float or None
        For every molecule after the first, what is added to the contact distances at which it stops, A; None for one
        that stops as soon as any atom is nearer than `far`.
    far : float
        A.
    rng : numpy Generator
    """
    placed = [molecules[0][1] @ random_rotation(rng).T]
    numbers = [molecules[0][0]]
    for (own, shape), extra in zip(molecules[1:], excess, strict=True):
        fixed, present = np.concatenate(placed), np.concatenate(numbers)
        contacts = contact_distances(present, own)
        reach = np.full_like(contacts, far) if extra is None else CONTACT * contacts + extra
        shift = None
        while shift is None:
            target = placed[rng.integers(len(placed))].mean(axis=0)
            mover, direction = shape @ random_rotation(rng).T + target, random_direction(rng)
            shift = touching_shift(fixed, mover, direction, reach)
        placed.append(mover + shift * direction)
        numbers.append(own)
    together = np.concatenate(placed)
    return np.asarray(together - together.mean(axis=0))
