"""Lowest mode of a stationary structure under its constraint: a minimum has no negative one.

Under ``torsions`` and ``none`` the Hessian is that of the free tree coordinates, by central differences along them, so
that every displaced structure meets the constraint exactly. Under ``mirror`` all in-plane directions have been relaxed,
and the search is for the lowest mode out of the plane (A''), with phi1 and phi2 held. By symmetry an out-of-plane
displacement changes the out-of-plane forces in first order, so that one force call gives one column there.

Short chains get the whole Hessian; longer chains a few Davidson steps from a guess that is assembled from the Hessians
of short ones. Eigenvalues are those of the Cartesian Hessian without rigid motions.

A model that is not invariant under reflection has out-of-plane forces in the plane too; they are subtracted.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.optimize.constraints import SADDLE, Constraint, free_basis, odd_basis
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
class StationaryPoint:
    """A structure whose lowest mode is computed.

    Attributes
    ----------
    tree : Tree
    q : (n_q,) array
        Tree coordinates of the structure.
    structure : Structure
    constraint : {"mirror", "torsions", "none"}
        Under which the structure is stationary.
    guess : (m, m) array or None
        Approximate Hessian in the directions of `mode_basis`; None requests the whole Hessian.
    """

    tree: Tree
    q: FloatArray
    structure: Structure
    constraint: Constraint = "mirror"
    guess: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class LowestMode:
    """Lowest mode of one structure.

    Attributes
    ----------
    eigenvalue : float
        eV/A^2, of the Cartesian Hessian without rigid motions.
    force_calls : int
        Number of force calls for Hessian columns.
    hessian : (m, m) array or None
        Whole Hessian in the directions of `mode_basis`, where it was computed.
    residual : float
        Norm of H v - lambda v, eV/A^2; zero for a whole Hessian.
    mode : (N, 3) array
        Cartesian displacement of unit norm without rigid motion. Its sign is fixed: the first large component is
        positive.
    descents : (k, n_q) array
        Displacements in tree coordinates along the known modes below `SADDLE`, lowest first.
    """

    eigenvalue: float
    force_calls: int
    hessian: FloatArray | None
    residual: float
    mode: FloatArray
    descents: FloatArray


Columns = Generator[FloatArray, FloatArray, LowestMode]
"""Yields orthonormal vectors (m, k), is sent their images (m, k) under the Hessian, and returns the mode."""


def mode_basis(tree: Tree, constraint: Constraint) -> FloatArray:
    """Return the directions (n_q, m) among which the lowest mode is searched: odd ones under ``mirror``, else free."""
    return odd_basis(tree) if constraint == "mirror" else free_basis(tree, constraint)


def find_lowest_modes(
    potential: Potential, points: Sequence[StationaryPoint], batch: BatchSize | None = None
) -> list[LowestMode]:
    """Compute the lowest mode of many structures in common batches.

    Parameters
    ----------
    potential : Potential
    points : sequence of StationaryPoint
    batch : BatchSize, optional
        Atoms per call of the potential; by default a new one for its device.

    Returns
    -------
    list of LowestMode
        One per structure.
    """
    plane_forces = _plane_forces(potential, points, batch)
    hessians = [_Hessian.of(point, forces) for point, forces in zip(points, plane_forces, strict=True)]
    active: dict[int, tuple[Columns, FloatArray]] = {}
    modes: dict[int, LowestMode] = {}
    for index, (point, hessian) in enumerate(zip(points, hessians, strict=True)):
        columns = _whole(hessian) if point.guess is None else _davidson(hessian, point.guess)
        active[index] = (columns, next(columns))
    while active:
        displaced = [
            structure for index, (_, vectors) in active.items() for structure in hessians[index].displaced(vectors)
        ]
        forces = iter([np.asarray(e.forces) for e in evaluate(potential, displaced, batch=batch)])
        for index, (columns, vectors) in list(active.items()):
            try:
                active[index] = (columns, columns.send(hessians[index].images(vectors, forces)))
            except StopIteration as stop:
                modes[index] = stop.value
                del active[index]
    return [modes[index] for index in range(len(points))]


def _plane_forces(
    potential: Potential, points: Sequence[StationaryPoint], batch: BatchSize | None
) -> Iterator[FloatArray | float]:
    """Forces (N, 3) of undisplaced planar structures; zero without a calculation where symmetry rules out odd ones."""
    abilities = potential.card.abilities
    symmetric = abilities.mirror_invariant and abilities.rotation_invariant
    planar = [] if symmetric else [point.structure for point in points if point.constraint == "mirror"]
    forces = iter([np.asarray(e.forces) for e in evaluate(potential, planar, batch=batch)] if planar else [])
    for point in points:
        yield 0.0 if symmetric or point.constraint != "mirror" else next(forces)


@dataclass(frozen=True, slots=True)
class _Hessian:
    """Hessian of one structure in orthonormal Cartesian displacements, by finite differences.

    Attributes
    ----------
    directions : (3 N, m) array
        The displacements, without rigid motion.
    to_tree : (m, m) array
        From coordinates along `mode_basis` to coordinates along `directions`.
    in_tree : (n_q, m) array
        The displacements in tree coordinates.
    plane_forces : (N, 3) array or float
        Forces at the structure itself, under ``mirror``.
    """

    point: StationaryPoint
    directions: FloatArray
    to_tree: FloatArray
    in_tree: FloatArray
    plane_forces: FloatArray | float

    @classmethod
    def of(cls, point: StationaryPoint, plane_forces: FloatArray | float) -> _Hessian:
        """Project rigid motions out of the basis in Cartesian coordinates and orthonormalise by SVD."""
        x, basis = point.structure.positions, mode_basis(point.tree, point.constraint)
        columns = point.tree.jacobian(point.q) @ basis
        axes = np.eye(3)
        rigid = [np.tile(axis, len(x)) for axis in axes] + [np.cross(axis, x - x.mean(axis=0)).ravel() for axis in axes]
        frame, _ = np.linalg.qr(np.array(rigid).T)
        left, values, right = np.linalg.svd(columns - frame @ (frame.T @ columns), full_matrices=False)
        to_tree = values[:, None] * right
        return cls(point, left, to_tree, basis @ (right.T / values), plane_forces)

    @property
    def calls_per_column(self) -> int:
        return 1 if self.point.constraint == "mirror" else 2

    def displaced(self, vectors: FloatArray) -> list[Structure]:
        """Structures whose forces give the images of vectors (m, k)."""
        point = self.point
        if point.constraint == "mirror":
            shifts = (self.directions @ vectors).T.reshape(-1, len(point.structure), 3)
            return [point.structure.with_positions(point.structure.positions + DISPLACEMENT * d) for d in shifts]
        steps = [sign * DISPLACEMENT * step for step in (self.in_tree @ vectors).T for sign in (1.0, -1.0)]
        return [point.structure.with_positions(point.tree.positions(point.q + step)) for step in steps]

    def images(self, vectors: FloatArray, forces: Iterator[FloatArray]) -> FloatArray:
        """Images (m, k) of vectors (m, k) from the forces of `displaced`."""
        point = self.point
        if point.constraint == "mirror":
            columns = np.array([self.plane_forces - next(forces) for _ in vectors.T]) / DISPLACEMENT
            # the even part is of second order in the displacement
            odd = 0.5 * (columns - reflect(point.tree, columns))
            return np.asarray(self.directions.T @ odd.reshape(len(odd), -1).T, dtype=float)
        steps = [sign * DISPLACEMENT * step for step in (self.in_tree @ vectors).T for sign in (1.0, -1.0)]
        gradients = np.array([point.tree.gradient(point.q + step, -next(forces)) for step in steps])
        return np.asarray(self.in_tree.T @ (gradients[0::2] - gradients[1::2]).T / (2 * DISPLACEMENT), dtype=float)

    def lowest(
        self, eigenvalues: FloatArray, vectors: FloatArray, columns: int, residual: float, whole: FloatArray | None
    ) -> LowestMode:
        """Describe eigenpairs (k,), (m, k) in ascending order, the first of which is converged."""
        mode = self.directions @ vectors[:, 0]
        # the largest component is ambiguous: mirrored atoms share it with opposite signs along x and y
        large = mode[np.abs(mode) > 0.5 * np.abs(mode).max()]
        scale = np.sign(large[0]) / np.linalg.norm(mode)
        calls = columns * self.calls_per_column
        descents = scale * (self.in_tree @ vectors[:, eigenvalues < SADDLE]).T
        return LowestMode(float(eigenvalues[0]), calls, whole, residual, scale * mode.reshape(-1, 3), descents)


def _whole(problem: _Hessian) -> Columns:
    """Lowest eigenpair from the whole Hessian."""
    size = problem.directions.shape[1]
    hessian = yield np.eye(size)
    hessian = 0.5 * (hessian + hessian.T)
    values, vectors = np.linalg.eigh(hessian)
    in_tree = problem.to_tree.T @ hessian @ problem.to_tree
    return problem.lowest(values, vectors, size, 0.0, in_tree)


def _davidson(problem: _Hessian, guess: FloatArray) -> Columns:
    """Lowest eigenpair by block Davidson (J. Comput. Phys. 1975, 17, 87), or from the whole Hessian if that fails.

    The eigenpairs of the guess are the first space and the preconditioner.
    """
    from_tree = np.linalg.inv(problem.to_tree)
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
        new = yield fresh
        basis = np.hstack([basis, fresh])
        images = np.hstack([images, new])
        small = basis.T @ images
        values, ritz = np.linalg.eigh(0.5 * (small + small.T))
        lowest, coefficients = values[:BLOCK], ritz[:, :BLOCK]
        residuals = images @ coefficients - (basis @ coefficients) * lowest
        residual = float(np.linalg.norm(residuals[:, 0]))
        if residual < PRECISE + ANHARMONIC * abs(float(values[0])):
            return problem.lowest(lowest, basis @ coefficients, basis.shape[1], residual, None)
        # every residual costs force calls, so that those of converged higher modes are left out
        unconverged = [k for k in range(len(lowest)) if k == 0 or np.linalg.norm(residuals[:, k]) > 10 * PRECISE]
        gaps = levels[:, None] - lowest[None, unconverged]
        gaps = np.where(np.abs(gaps) < _SMALLEST_GAP, np.copysign(_SMALLEST_GAP, gaps), gaps)
        vectors = modes @ ((modes.T @ residuals[:, unconverged]) / gaps)
    whole = yield from _whole(problem)
    return replace(whole, force_calls=whole.force_calls + basis.shape[1] * problem.calls_per_column)


def _orthonormal(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """Orthonormal basis of the part of `vectors` outside `basis`, projected twice against round-off."""
    norms = np.linalg.norm(vectors, axis=0)
    outside = vectors / np.where(norms > 0, norms, 1.0)
    for _ in range(2):
        outside = outside - basis @ (basis.T @ outside)
    u, values, _ = np.linalg.svd(outside, full_matrices=False)
    return np.asarray(u[:, values > 1e-6], dtype=float)
