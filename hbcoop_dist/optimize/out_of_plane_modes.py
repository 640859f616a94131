"""Lowest out-of-plane mode of a planar stationary structure, with phi1 and phi2 of every H-bond frozen.

A symmetric stationary point may be a saddle, so this mode is computed for every planar chain. An out-of-plane
displacement changes the out-of-plane (A'') forces in first order, so that one force call gives one column of their
Hessian, up to second order. Short chains get the whole Hessian; longer chains a few Davidson steps from a guess that is
assembled from the Hessians of short ones.

A model that is not invariant under reflection has out-of-plane forces in the plane too; they are subtracted.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.optimize.constraints import odd_basis
from hbcoop_dist.optimize.minimization import DISPLACEMENT
from hbcoop_dist.optimize.quasi_newton import reflect
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.tree_coordinates import Tree

PRECISE = 3.0e-4
"""Residual norm, eV/A^2, of a converged mode; the error of the eigenvalue is its square divided by the gap."""
ANHARMONIC = 2.0e-3
"""Error of the curvature of a stiff mode by finite displacements, relative; no iteration reduces it."""
BLOCK, MAX_ROUNDS = 3, 25
"""Number of vectors, and of iterations, of the Davidson method."""
_SMALLEST_GAP = 0.05


@dataclass(frozen=True, slots=True)
class Planar:
    """A planar stationary structure.

    Attributes
    ----------
    tree : Tree
    q : (n_q,) array
        Tree coordinates of the structure.
    structure : Structure
    guess : (m, m) array or None
        Approximate Hessian in the odd tree coordinates (`odd_basis`); None requests the whole Hessian.
    """

    tree: Tree
    q: FloatArray
    structure: Structure
    guess: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class OutOfPlaneMode:
    """Lowest out-of-plane mode of one structure.

    Attributes
    ----------
    eigenvalue : float
        eV/A^2, of the Cartesian Hessian without rigid motions.
    force_calls : int
        Number of Hessian columns computed, one per force call.
    hessian : (m, m) array or None
        Whole Hessian in the odd tree coordinates, where it was computed.
    residual : float
        Norm of H v - lambda v, eV/A^2; zero for a whole Hessian.
    mode : (N, 3) array
        Cartesian displacement of unit norm, odd under the mirror and without rigid motion. Its sign is fixed: the first
        large component is positive.
    """

    eigenvalue: float
    force_calls: int
    hessian: FloatArray | None
    residual: float
    mode: FloatArray


Columns = Generator[FloatArray, FloatArray, OutOfPlaneMode]
"""Yields orthonormal displacements (3 N, k), is sent the Hessian columns (3 N, k), and returns the mode."""


def out_of_plane(
    potential: Potential, planars: Sequence[Planar], batch: BatchSize | None = None
) -> list[OutOfPlaneMode]:
    """Compute the lowest out-of-plane mode of many structures in common batches.

    Parameters
    ----------
    potential : Potential
    planars : sequence of Planar
    batch : BatchSize, optional
        Atoms per call of the potential; by default a new one for its device.

    Returns
    -------
    list of OutOfPlaneMode
        One per structure.
    """
    active: dict[int, tuple[Columns, FloatArray]] = {}
    modes: dict[int, OutOfPlaneMode] = {}
    in_plane_forces = _forces_in_plane(potential, planars, batch)
    for index, planar in enumerate(planars):
        columns = _whole(planar) if planar.guess is None else _davidson(planar, planar.guess)
        active[index] = (columns, next(columns))
    while active:
        displaced: list[Structure] = []
        for index, (_, directions) in active.items():
            structure = planars[index].structure
            x = structure.positions
            displaced += [structure.with_positions(x + DISPLACEMENT * d.reshape(x.shape)) for d in directions.T]
        forces = iter([np.asarray(e.forces).ravel() for e in evaluate(potential, displaced, batch=batch)])
        for index, (columns, directions) in list(active.items()):
            values = np.array([in_plane_forces[index] - next(forces) for _ in directions.T]).T / DISPLACEMENT
            try:
                active[index] = (columns, columns.send(values))
            except StopIteration as stop:
                modes[index] = stop.value
                del active[index]
    return [modes[index] for index in range(len(planars))]


def _forces_in_plane(
    potential: Potential, planars: Sequence[Planar], batch: BatchSize | None
) -> list[FloatArray | float]:
    """Forces (3 N,) of every undisplaced structure; zero without a calculation where symmetry rules out odd ones."""
    if potential.card.abilities.mirror_invariant and potential.card.abilities.rotation_invariant:
        return [0.0] * len(planars)
    return [
        np.asarray(e.forces).ravel() for e in evaluate(potential, [planar.structure for planar in planars], batch=batch)
    ]


@dataclass(frozen=True, slots=True)
class _Space:
    """Orthonormal odd displacements (3 N, m) without rigid motion, and the map (m, m) from odd tree coordinates."""

    directions: FloatArray
    to_tree: FloatArray

    @classmethod
    def of(cls, planar: Planar) -> _Space:
        """Project rigid motions out of the odd tree directions in Cartesian coordinates and orthonormalise by SVD."""
        tree, x = planar.tree, planar.structure.positions
        n = len(x)
        columns = tree.jacobian(planar.q) @ odd_basis(tree)
        rigid = np.zeros((3, n, 3))
        rigid[0, :, 2] = 1.0
        rigid[1, :, 2], rigid[1, :, 1] = x[:, 1], -x[:, 2]
        rigid[2, :, 2], rigid[2, :, 0] = x[:, 0], -x[:, 2]
        frame, _ = np.linalg.qr(rigid.reshape(3, -1).T)
        left, values, right = np.linalg.svd(columns - frame @ (frame.T @ columns), full_matrices=False)
        return cls(left, values[:, None] * right)


def _odd(planar: Planar, columns: FloatArray) -> FloatArray:
    """Odd part of Hessian columns (3 N, k); their even part is of second order in the displacement."""
    n = len(planar.structure)
    vectors = columns.T.reshape(-1, n, 3)
    return np.asarray((0.5 * (vectors - reflect(planar.tree, vectors))).reshape(len(vectors), -1).T, dtype=float)


def _whole(planar: Planar) -> Columns:
    """Lowest eigenpair from the whole Hessian."""
    space = _Space.of(planar)
    columns = yield space.directions
    hessian = space.directions.T @ _odd(planar, columns)
    hessian = 0.5 * (hessian + hessian.T)
    in_tree = space.to_tree.T @ hessian @ space.to_tree
    values, vectors = np.linalg.eigh(hessian)
    return OutOfPlaneMode(float(values[0]), len(hessian), in_tree, 0.0, _signed(space.directions @ vectors[:, 0]))


def _davidson(planar: Planar, guess: FloatArray) -> Columns:
    """Lowest eigenpair by block Davidson (J. Comput. Phys. 1975, 17, 87), or from the whole Hessian if that fails.

    The eigenpairs of the guess are the first space and the preconditioner.
    """
    space = _Space.of(planar)
    from_tree = np.linalg.inv(space.to_tree)
    model = from_tree.T @ guess @ from_tree
    model = 0.5 * (model + model.T)
    levels, modes = np.linalg.eigh(model)
    vectors = modes[:, :BLOCK]
    basis = np.zeros((len(model), 0))
    images = np.zeros((len(model), 0))
    for _ in range(MAX_ROUNDS):
        fresh = _orthonormal(vectors, basis)
        if not fresh.shape[1]:
            break
        columns = yield space.directions @ fresh
        basis = np.hstack([basis, fresh])
        images = np.hstack([images, space.directions.T @ _odd(planar, columns)])
        small = basis.T @ images
        values, ritz = np.linalg.eigh(0.5 * (small + small.T))
        lowest, coefficients = values[:BLOCK], ritz[:, :BLOCK]
        residuals = images @ coefficients - (basis @ coefficients) * lowest
        residual = float(np.linalg.norm(residuals[:, 0]))
        if residual < PRECISE + ANHARMONIC * abs(float(values[0])):
            mode = _signed(space.directions @ (basis @ ritz[:, 0]))
            return OutOfPlaneMode(float(values[0]), basis.shape[1], None, residual, mode)
        # every residual costs a force call, so that those of converged higher modes are left out
        unconverged = [k for k in range(len(lowest)) if k == 0 or np.linalg.norm(residuals[:, k]) > 10 * PRECISE]
        gaps = levels[:, None] - lowest[None, unconverged]
        gaps = np.where(np.abs(gaps) < _SMALLEST_GAP, np.copysign(_SMALLEST_GAP, gaps), gaps)
        vectors = modes @ ((modes.T @ residuals[:, unconverged]) / gaps)
    whole = yield from _whole(planar)
    return replace(whole, force_calls=whole.force_calls + basis.shape[1])


def _signed(mode: FloatArray) -> FloatArray:
    """Displacements (N, 3) of unit norm from a mode (3 N,), with its sign fixed."""
    # the largest component is ambiguous: mirrored atoms share it with opposite signs along x and y
    large = mode[np.abs(mode) > 0.5 * np.abs(mode).max()]
    return np.asarray(mode.reshape(-1, 3) / (np.linalg.norm(mode) * np.sign(large[0])), dtype=float)


def _orthonormal(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """Orthonormal basis of the part of `vectors` outside `basis`, projected twice against round-off."""
    norms = np.linalg.norm(vectors, axis=0)
    outside = vectors / np.where(norms > 0, norms, 1.0)
    for _ in range(2):
        outside = outside - basis @ (basis.T @ outside)
    u, values, _ = np.linalg.svd(outside, full_matrices=False)
    return np.asarray(u[:, values > 1e-6], dtype=float)
