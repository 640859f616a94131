"""Is a planar stationary point a minimum? The lowest mode that leaves the plane, phi1 and phi2 of every H-bond held.

A symmetric stationary point can be a saddle, so this is checked for every chain.  A displacement out of the plane
changes the out-of-plane (A'') forces oddly: one force call gives one column of that Hessian, to second order.  Short
chains get the whole Hessian; longer ones a few Davidson steps that start from the Hessians of the short ones.

A model whose energies are not those of mirror images has out-of-plane forces in the plane too; they are no part of a
Hessian, and are taken off.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.optimize.constraints import odd_basis
from hbcoop_dist.optimize.hessians import DISPLACEMENT
from hbcoop_dist.optimize.quasi_newton import reflect
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.tree_coordinates import Tree

FloatArray = NDArray[np.float64]

PRECISE = 3.0e-4
"""Residual norm, eV/A^2, at which the lowest mode is good enough: the eigenvalue's error is its square over the gap."""
ANHARMONIC = 2.0e-3
"""What finite displacements leave uncertain of a stiff mode, relative to its curvature; no iteration gets below it."""
BLOCK, MAX_ROUNDS = 3, 25


@dataclass(frozen=True, slots=True)
class Planar:
    """One planar stationary structure to be judged.

    Attributes
    ----------
    tree : Tree
    q : (n_q,) array
    structure : Structure
    guess : (m, m) array or None
        Approximate Hessian in the odd tree coordinates (`odd_basis`); None asks for the whole Hessian.
    """

    tree: Tree
    q: FloatArray
    structure: Structure
    guess: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The lowest out-of-plane mode of one structure.

    Attributes
    ----------
    eigenvalue : float
        eV/A^2, of the Cartesian Hessian without rigid motions.
    force_calls : int
        Columns of the Hessian, one a call.
    hessian : (m, m) array or None
        The whole Hessian in odd tree coordinates, where it was asked for.
    residual : float
        Norm of H v - lambda v, eV/A^2; zero for a whole Hessian.
    mode : (N, 3) array
        The mode itself: a Cartesian displacement of unit norm, odd under the mirror, without rigid motion. Of its two
        signs always the same: the first large component is positive.
    """

    eigenvalue: float
    force_calls: int
    hessian: FloatArray | None
    residual: float
    mode: FloatArray


Columns = Generator[FloatArray, FloatArray, Verdict]


def out_of_plane(potential: Potential, planars: Sequence[Planar], batch: BatchSize | None = None) -> list[Verdict]:
    """Judge many structures at once: what every live one asks for goes into one batch.

    Parameters
    ----------
    potential : Potential
    planars : sequence of Planar
    batch : BatchSize, optional
        Atoms per call of the potential; a new one for its device by default.
    """
    live: dict[int, tuple[Columns, FloatArray]] = {}
    done: dict[int, Verdict] = {}
    rest = _forces_in_the_plane(potential, planars, batch)
    for index, planar in enumerate(planars):
        steps = _whole(planar) if planar.guess is None else _davidson(planar, planar.guess)
        live[index] = (steps, next(steps))
    while live:
        moved: list[Structure] = []
        for index, (_, directions) in live.items():
            x = planars[index].structure.positions
            moved += [
                planars[index].structure.with_positions(x + DISPLACEMENT * d.reshape(x.shape)) for d in directions.T
            ]
        forces = iter([np.asarray(e.forces).ravel() for e in evaluate(potential, moved, batch=batch)])
        for index, (steps, directions) in list(live.items()):
            columns = np.array([rest[index] - next(forces) for _ in directions.T]).T / DISPLACEMENT
            try:
                live[index] = (steps, steps.send(columns))
            except StopIteration as stop:
                done[index] = stop.value
                del live[index]
    return [done[index] for index in range(len(planars))]


def _forces_in_the_plane(
    potential: Potential, planars: Sequence[Planar], batch: BatchSize | None
) -> list[FloatArray | float]:
    """(3 N,) of every structure; zero, for which nothing is computed, where symmetry leaves no odd ones."""
    if potential.card.abilities.mirror_invariant and potential.card.abilities.rotation_invariant:
        return [0.0] * len(planars)
    return [
        np.asarray(e.forces).ravel() for e in evaluate(potential, [planar.structure for planar in planars], batch=batch)
    ]


@dataclass(frozen=True, slots=True)
class _Space:
    """Orthonormal odd displacements (3 N, m) without rigid motion, and how odd tree coordinates map onto them."""

    directions: FloatArray
    to_tree: FloatArray

    @classmethod
    def of(cls, planar: Planar) -> _Space:
        """Odd tree directions in Cartesian coordinates, rigid motions projected out, made orthonormal by an SVD."""
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
    """The odd part of Hessian columns (3 N, k); what is even is of second order in the displacement."""
    n = len(planar.structure)
    vectors = columns.T.reshape(-1, n, 3)
    return np.asarray((0.5 * (vectors - reflect(planar.tree, vectors))).reshape(len(vectors), -1).T, dtype=float)


def _whole(planar: Planar) -> Columns:
    space = _Space.of(planar)
    columns = yield space.directions
    hessian = space.directions.T @ _odd(planar, columns)
    hessian = 0.5 * (hessian + hessian.T)
    in_tree = space.to_tree.T @ hessian @ space.to_tree
    values, vectors = np.linalg.eigh(hessian)
    return Verdict(float(values[0]), len(hessian), in_tree, 0.0, _signed(space.directions @ vectors[:, 0]))


def _davidson(planar: Planar, guess: FloatArray) -> Columns:
    """Lowest eigenpair by block Davidson (J. Comput. Phys. 1975, 17, 87).

    The guess gives the first space and the preconditioner.
    """
    space = _Space.of(planar)
    back = np.linalg.inv(space.to_tree)
    model = back.T @ guess @ back
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
        lowest, wanted = values[:BLOCK], ritz[:, :BLOCK]
        residuals = images @ wanted - (basis @ wanted) * lowest
        residual = float(np.linalg.norm(residuals[:, 0]))
        if residual < PRECISE + ANHARMONIC * abs(float(values[0])):
            mode = _signed(space.directions @ (basis @ ritz[:, 0]))
            return Verdict(float(values[0]), basis.shape[1], None, residual, mode)
        # the first residual alone once the others are good: a force call each is what this costs
        open_ones = [k for k in range(len(lowest)) if k == 0 or np.linalg.norm(residuals[:, k]) > 10 * PRECISE]
        gaps = levels[:, None] - lowest[None, open_ones]
        gaps = np.where(np.abs(gaps) < 0.05, np.copysign(0.05, gaps), gaps)
        vectors = modes @ ((modes.T @ residuals[:, open_ones]) / gaps)
    # a mode that is not converged is no verdict
    whole = yield from _whole(planar)
    return replace(whole, force_calls=whole.force_calls + basis.shape[1])


def _signed(mode: FloatArray) -> FloatArray:
    """A mode (3 N,) as displacements (N, 3) of unit norm, always the same one of its two signs."""
    # not the largest component: mirrored atoms share it, with opposite signs along x and y
    large = mode[np.abs(mode) > 0.5 * np.abs(mode).max()]
    return np.asarray(mode.reshape(-1, 3) / (np.linalg.norm(mode) * np.sign(large[0])), dtype=float)


def _orthonormal(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """What of `vectors` is new to `basis`, orthonormal; twice, since once leaves round-off."""
    norms = np.linalg.norm(vectors, axis=0)
    left = vectors / np.where(norms > 0, norms, 1.0)
    for _ in range(2):
        left = left - basis @ (basis.T @ left)
    u, values, _ = np.linalg.svd(left, full_matrices=False)
    return np.asarray(u[:, values > 1e-6], dtype=float)
