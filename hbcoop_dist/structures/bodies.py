"""The three kinds of body a chain is made of: NMA, a water that donates, a water that accepts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.structures.structure import NMA_ATOMS
from hbcoop_dist.structures.tree import Body, frame_from

FloatArray = NDArray[np.float64]
X, Y, Z = range(3)


def _body(
    name: str,
    kind: str,
    m: int,
    dofs: list[list[tuple[int, int]]],
    mirror: list[int],
    frame: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
) -> Body:
    """A body from its coordinates, each a sum of Cartesian components (atom, axis) in the body frame."""
    basis = np.zeros((len(dofs), m, 3))
    for row, components in zip(basis, dofs, strict=True):
        for atom, axis in components:
            row[atom, axis] = 1.0 / np.sqrt(len(components))
    return Body(name, kind, basis, np.zeros((m, 3)), np.array(mirror), frame)


def _nma_frame(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    n, c, o = (x[NMA_ATOMS.index(name)] for name in ("N", "C", "O"))
    return n, frame_from(c - n, o - n)


def _donor_frame(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    return x[0], frame_from(x[2] - x[0], x[1] - x[0])


def _acceptor_frame(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    z = (x[1] - x[2]) / np.linalg.norm(x[1] - x[2])
    y = (x[1] - x[0]) - z * np.dot(z, x[1] - x[0])
    y /= np.linalg.norm(y)
    return x[0], np.column_stack([np.cross(y, z), y, z])


@cache
def nma_body() -> Body:
    """NMA: N at the origin, C on +x, O in the xy plane with y > 0; 30 coordinates, 19 of them in the mirror."""
    n, c, o = (NMA_ATOMS.index(name) for name in ("N", "C", "O"))
    dofs = [[(c, X)], [(o, X)], [(o, Y)]]
    dofs += [[(atom, axis)] for atom in range(12) if atom not in (n, c, o) for axis in (X, Y, Z)]
    mirror = list(range(12))
    for one, other in (("HA2", "HA3"), ("HN2", "HN3")):
        i, j = NMA_ATOMS.index(one), NMA_ATOMS.index(other)
        mirror[i], mirror[j] = j, i
    return _body("nma", "nma", 12, dofs, mirror, _nma_frame)


@cache
def donor_body() -> Body:
    """Water in the plane: O at the origin, its free H on +x, its donating H (the first) in the xy plane, y > 0.

    The x axis is the free O-H so that no joint angle comes near 0 or 180 degrees.
    """
    dofs = [[(2, X)], [(1, X)], [(1, Y)]]
    return _body("donor water", "water", 3, dofs, [0, 1, 2], _donor_frame)


@cache
def acceptor_body() -> Body:
    """Water mirrored by the plane: O at the origin, H-H along z, bisector along +y."""
    dofs = [[(1, Y), (2, Y)], [(1, Z)], [(2, Z)]]
    return _body("acceptor water", "water", 3, dofs, [0, 2, 1], _acceptor_frame)
