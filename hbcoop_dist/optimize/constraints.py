"""Constraints as subspaces of the tree coordinates: what may move, and nothing else.

``mirror`` keeps the Cs plane (22 n - 3 coordinates for n bare units), ``torsions`` freezes phi1 and phi2 of every
H-bond (the paper's), ``none`` lets everything go.  q = q0 + basis @ y, so a constraint is exact at every step.
"""

from __future__ import annotations

import functools
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.structures.tree_coordinates import Body, Tree

FloatArray = NDArray[np.float64]
Constraint = Literal["mirror", "torsions", "none"]
CONSTRAINTS: tuple[str, ...] = get_args(Constraint)

_R, _THETA1, _PHI1, _THETA2, _PHI2, _PHI3 = range(6)


def body_basis(body: Body, constraint: Constraint) -> FloatArray:
    """Free directions of one body's coordinates, (n_dof, n_free), orthonormal."""
    if constraint != "mirror":
        return np.eye(body.n_dof)
    return _symmetric(body.reflection())


def free_basis(tree: Tree, constraint: Constraint) -> FloatArray:
    """Free directions of q, (n_q, n_free), orthonormal columns."""
    if constraint not in CONSTRAINTS:
        raise ValueError(f"constraint: expected one of {', '.join(CONSTRAINTS)}, found {constraint!r}")
    columns: list[FloatArray] = []
    for index, body in enumerate(tree.bodies):
        block = body_basis(body, constraint)
        wide = np.zeros((tree.n_q, block.shape[1]))
        wide[tree.body_slice(index)] = block
        columns.append(wide)
        joint = tree.joints[index]
        if joint is not None:
            start = tree.joint_slice(index).start
            columns.append(np.eye(tree.n_q)[:, [start + k for k in free_joint(joint.hbond, constraint)]])
    return np.hstack(columns)


def free_joint(hbond: bool, constraint: Constraint) -> tuple[int, ...]:
    """Which of the six joint coordinates are free."""
    if constraint == "mirror":
        return (_R, _THETA1, _THETA2)
    if constraint == "torsions" and hbond:
        return (_R, _THETA1, _THETA2, _PHI3)
    return (_R, _THETA1, _PHI1, _THETA2, _PHI2, _PHI3)


def odd_basis(tree: Tree) -> FloatArray:
    """Directions of q that leave the mirror plane with phi1 and phi2 held, (n_q, 12 n - 1) for n bare units."""
    columns: list[FloatArray] = []
    for index, body in enumerate(tree.bodies):
        block = _symmetric(-body.reflection())
        wide = np.zeros((tree.n_q, block.shape[1]))
        wide[tree.body_slice(index)] = block
        columns.append(wide)
        joint = tree.joints[index]
        if joint is not None:
            start = tree.joint_slice(index).start
            odd = sorted(set(free_joint(joint.hbond, "torsions")) - set(free_joint(joint.hbond, "mirror")))
            columns.append(np.eye(tree.n_q)[:, [start + k for k in odd]])
    return np.hstack(columns)


def _symmetric(reflection: FloatArray) -> FloatArray:
    """Orthonormal columns that a reflection leaves alone; no eigensolver, so that coordinates stay recognisable."""
    return _symmetric_columns(reflection.tobytes(), len(reflection))


# There are three kinds of body, and every start, step and verdict of every chain asks for theirs.
@functools.lru_cache(maxsize=64)
def _symmetric_columns(content: bytes, n: int) -> FloatArray:
    reflection: FloatArray = np.frombuffer(content).reshape(n, n)
    columns: list[FloatArray] = []
    for index in range(len(reflection)):
        column = np.eye(len(reflection))[:, index] + reflection[:, index]
        norm = np.linalg.norm(column)
        if norm > 1e-8 and not any(abs(column @ other) > 1e-8 for other in columns):
            columns.append(column / norm)
    found = np.array(columns).reshape(-1, len(reflection)).T
    found.setflags(write=False)
    return found
