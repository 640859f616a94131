"""The Hessian of one body by finite differences of forces, and the first guess of a chain made of such."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import evaluate
from hbcoop_dist.optimize.constraints import Constraint, body_basis
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.tree_coordinates import Body, Tree

FloatArray = NDArray[np.float64]

DISPLACEMENT = 5.0e-3
"""Finite-difference step, A."""

# Guesses for the joints, eV/A^2 and eV/rad^2: the stretch of an H-bond, its bends, and its soft torsions.
_JOINT_GUESS = np.array([1.2, 2.0, 0.5, 2.0, 0.5, 0.5])


def body_hessian(potential: Potential, body: Body, s: FloatArray, constraint: Constraint) -> FloatArray:
    """Hessian (n_dof, n_dof), eV/A^2, of one isolated body at body coordinates s; zero outside the constraint.

    Central differences, two force calls per free coordinate (38 for NMA in the mirror plane), in one batch.
    """
    basis = body_basis(body, constraint)
    moves = [sign * DISPLACEMENT * column for column in basis.T for sign in (1.0, -1.0)]
    structures = [Structure.from_molecules([(body.kind, body.positions(s + move))]) for move in moves]
    forces = np.array([e.forces for e in evaluate(potential, structures)])
    gradients: FloatArray = -np.tensordot(forces, body.basis, ([1, 2], [1, 2])) @ basis
    hessian = (gradients[0::2] - gradients[1::2]) / (2 * DISPLACEMENT)
    return np.asarray(basis @ (0.5 * (hessian + hessian.T)) @ basis.T, dtype=float)


def guess_hessian(tree: Tree, blocks: Sequence[FloatArray]) -> FloatArray:
    """First Hessian (n_q, n_q): the Hessian of every isolated body, in tree order, and joint guesses."""
    hessian = np.zeros((tree.n_q, tree.n_q))
    for index, own in enumerate(blocks):
        block = tree.body_slice(index)
        hessian[block, block] = positive(own)
        if index:
            joint = tree.joint_slice(index)
            hessian[joint, joint] = np.diag(_JOINT_GUESS)
    return hessian


def positive(hessian: FloatArray, smallest: float = 0.05) -> FloatArray:
    """The same Hessian with curvatures below `smallest`, negative ones included, turned up to it; zeros stay zero."""
    values, vectors = np.linalg.eigh(hessian)
    lifted = np.where(np.abs(values) < 1e-12, 0.0, np.maximum(np.abs(values), smallest))
    return np.asarray((vectors * lifted) @ vectors.T, dtype=float)
