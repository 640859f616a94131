"""Constraints as linear subspaces of the tree coordinates.

``mirror`` keeps the Cs plane (22 n - 3 coordinates for n bare units), ``torsions`` freezes phi1 and phi2 of all H-bonds
(Feng, Xu, Huang 2025), and ``none`` frees all coordinates. With q = q0 + basis @ y constraints hold exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.structures.tree_coordinates import Body, Joint, Tree

Constraint = Literal["mirror", "torsions", "none"]
CONSTRAINTS: tuple[str, ...] = get_args(Constraint)
SADDLE = -2.0e-4
"""Eigenvalue, eV/A^2, below which a stationary point is called a saddle: finite differences of forces good to
1e-6 eV/A at 0.005 A carry about this much noise."""

_R, _THETA1, _PHI1, _THETA2, _PHI2, _PHI3 = range(6)
TORSIONS = (_PHI1, _PHI2, _PHI3)
"""Torsions among the six coordinates of a joint."""


def body_basis(body: Body, constraint: Constraint) -> FloatArray:
    """Return the free directions of the coordinates of one body.

    Parameters
    ----------
    body : Body
    constraint : {"mirror", "torsions", "none"}

    Returns
    -------
    (n_dof, n_free) array
        Orthonormal columns.
    """
    if constraint != "mirror":
        return np.eye(body.n_dof)
    return _symmetric(body.reflection())


def free_basis(tree: Tree, constraint: Constraint) -> FloatArray:
    """Return the free directions of the tree coordinates.

    Parameters
    ----------
    tree : Tree
    constraint : {"mirror", "torsions", "none"}

    Returns
    -------
    (n_q, n_free) array
        Orthonormal columns.

    Raises
    ------
    ValueError
        When the constraint is unknown.
    """
    if constraint not in CONSTRAINTS:
        raise ValueError(f"constraint: expected one of {', '.join(CONSTRAINTS)}, found {constraint!r}")
    return _basis(tree, lambda body: body_basis(body, constraint), lambda joint: _free_joint(joint, constraint))


def odd_basis(tree: Tree) -> FloatArray:
    """Return the directions that leave the mirror plane at constant phi1 and phi2.

    Parameters
    ----------
    tree : Tree

    Returns
    -------
    (n_q, m) array
        Orthonormal columns, antisymmetric (A'') under the mirror; m = 12 n - 1 for n bare units.
    """

    def odd_joint(joint: Joint) -> tuple[int, ...]:
        even = _free_joint(joint, "mirror")
        return tuple(k for k in _free_joint(joint, "torsions") if k not in even)

    return _basis(tree, lambda body: _symmetric(-body.reflection()), odd_joint)


def reflection(tree: Tree) -> FloatArray:
    """Return the matrix (n_q, n_q) of the reflection through the mirror plane, up to full turns of torsions."""
    out = np.eye(tree.n_q)
    for index, body in enumerate(tree.bodies):
        out[tree.body_slice(index), tree.body_slice(index)] = body.reflection()
        if index:
            odd = tree.joint_slice(index).start + np.array(TORSIONS)
            out[odd, odd] = -1.0
    return out


def _basis(
    tree: Tree, of_body: Callable[[Body], FloatArray], of_joint: Callable[[Joint], tuple[int, ...]]
) -> FloatArray:
    """Directions of q from those of every body, (n_dof, k), and the coordinates of every joint."""
    columns: list[FloatArray] = []
    for index, body in enumerate(tree.bodies):
        block = of_body(body)
        wide = np.zeros((tree.n_q, block.shape[1]))
        wide[tree.body_slice(index)] = block
        columns.append(wide)
        joint = tree.joints[index]
        if joint is not None:
            start = tree.joint_slice(index).start
            columns.append(np.eye(tree.n_q)[:, [start + k for k in of_joint(joint)]])
    return np.hstack(columns)


def _free_joint(joint: Joint, constraint: Constraint) -> tuple[int, ...]:
    """Indices of the free joint coordinates."""
    if constraint == "mirror":
        return (_R, _THETA1, _THETA2)
    if constraint == "torsions" and joint.hbond:
        return (_R, _THETA1, _THETA2, _PHI3)
    return (_R, _THETA1, _PHI1, _THETA2, _PHI2, _PHI3)


def _symmetric(reflection: FloatArray) -> FloatArray:
    """Orthonormal columns invariant under a reflection, each a coordinate or a sum or difference of two."""
    return _symmetric_columns(reflection.tobytes(), len(reflection))


# cached because every step of every chain needs the columns of the same three kinds of body
@functools.lru_cache(maxsize=64)
def _symmetric_columns(content: bytes, n: int) -> FloatArray:
    reflection: FloatArray = np.frombuffer(content).reshape(n, n)
    columns: list[FloatArray] = []
    for index in range(n):
        column = np.eye(n)[:, index] + reflection[:, index]
        norm = np.linalg.norm(column)
        if norm > 1e-8 and not any(abs(column @ other) > 1e-8 for other in columns):
            columns.append(column / norm)
    basis = np.array(columns).reshape(-1, n).T
    basis.setflags(write=False)
    return basis
