"""First Hessians of minimisations: finite differences for isolated molecules, estimates for the joints between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import evaluate
from hbcoop_dist.optimize.constraints import Constraint, body_basis
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.tree_coordinates import Body, Tree

DISPLACEMENT = 5.0e-3
"""Finite-difference step, A."""

_JOINT_GUESS = np.array([1.2, 2.0, 0.5, 2.0, 0.5, 0.5])
"""Estimated curvatures of the joint coordinates, eV/A^2 and eV/rad^2: H-bond stretch, bends and soft torsions."""


def body_hessian(potential: Potential, body: Body, s: FloatArray, constraint: Constraint) -> FloatArray:
    """Compute the Hessian of one isolated body by central differences of forces.

    Two force calls per free coordinate (38 for NMA in the mirror plane) are evaluated as one batch.

    Parameters
    ----------
    potential : Potential
    body : Body
    s : (n_dof,) array
        Body coordinates.
    constraint : {"mirror", "torsions", "none"}

    Returns
    -------
    (n_dof, n_dof) array
        eV/A^2, zero in the directions that the constraint freezes.
    """
    basis = body_basis(body, constraint)
    moves = [sign * DISPLACEMENT * column for column in basis.T for sign in (1.0, -1.0)]
    structures = [Structure.from_molecules([(body.kind, body.positions(s + move))]) for move in moves]
    forces = np.array([evaluation.forces for evaluation in evaluate(potential, structures)])
    gradients: FloatArray = -np.tensordot(forces, body.basis, ([1, 2], [1, 2])) @ basis
    hessian = (gradients[0::2] - gradients[1::2]) / (2 * DISPLACEMENT)
    return np.asarray(basis @ (0.5 * (hessian + hessian.T)) @ basis.T, dtype=float)


def guess_hessian(tree: Tree, blocks: Sequence[FloatArray]) -> FloatArray:
    """Assemble a first Hessian from those of the isolated bodies and estimates for the joints.

    Parameters
    ----------
    tree : Tree
    blocks : sequence of (n_dof, n_dof) arrays
        Hessian of every body, in tree order.

    Returns
    -------
    (n_q, n_q) array
    """
    hessian = np.zeros((tree.n_q, tree.n_q))
    for index, body_block in enumerate(blocks):
        block = tree.body_slice(index)
        hessian[block, block] = positive(body_block)
        if index:
            joint = tree.joint_slice(index)
            hessian[joint, joint] = np.diag(_JOINT_GUESS)
    return hessian


def positive(hessian: FloatArray, smallest: float = 0.05) -> FloatArray:
    """Make a Hessian positive: eigenvalues become their absolute values, at least `smallest`; zeros stay zero.

    Parameters
    ----------
    hessian : (n, n) array
    smallest : float
        Same unit as the Hessian.

    Returns
    -------
    (n, n) array
    """
    values, vectors = np.linalg.eigh(hessian)
    lifted = np.where(np.abs(values) < 1e-12, 0.0, np.maximum(np.abs(values), smallest))
    return np.asarray((vectors * lifted) @ vectors.T, dtype=float)
