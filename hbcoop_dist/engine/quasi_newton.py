"""One minimisation as a generator: it yields positions, is sent energy and forces, and returns when it is over.

Written that way so that many run in lockstep: the driver collects what every live one asks for into one batch.
Dense BFGS with Powell damping; the step is capped, and taken back when the energy rises.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.engine.constraint import Constraint, free_basis
from hbcoop_dist.structures.tree import Tree

FloatArray = NDArray[np.float64]

Steps = Generator[FloatArray, tuple[float, FloatArray], "Path"]

MAX_COMPONENT = 0.15
"""Largest change of one coordinate in one step, A or rad."""
_SHRINK, _SMALLEST = 0.3, 1e-7
# theta1 beyond 180 degrees turns a syn H-bond into an anti one; the mirror plane alone does not forbid it.
_STRAIGHT = np.radians(179.0)


@dataclass(frozen=True, slots=True)
class Goal:
    """When a minimisation is over.

    Attributes
    ----------
    max_force : float
        Largest force on an atom that is left, eV/A.
    rms_force : float or None
        Root mean square over all force components, eV/A; None asks for nothing more.
    max_calls : int
        Force calls before giving up.
    energy_noise : float
        Rise of the energy, eV, that is taken for round-off.
    """

    max_force: float = 1.0e-5
    rms_force: float | None = None
    max_calls: int = 500
    energy_noise: float = 1.0e-7


@dataclass(frozen=True, slots=True)
class Path:
    """Where a minimisation ended.

    Attributes
    ----------
    q : (n_q,) array
    energy : float
        eV.
    max_force, rms_force : float
        Constrained forces at q, eV/A.
    steps, force_calls : int
        Accepted steps and evaluations.
    reason : str
        Why it is not converged; empty when it is.
    turned_over : bool
        Whether it ended because an H-bond was about to change its conformer.
    hessian : (n_q, n_q) array
        BFGS Hessian in q, zero where the constraint holds.
    """

    q: FloatArray
    energy: float
    max_force: float
    rms_force: float
    steps: int
    force_calls: int
    reason: str
    turned_over: bool
    hessian: FloatArray

    @property
    def converged(self) -> bool:
        """Whether the goal was reached."""
        return not self.reason


def minimise_steps(
    tree: Tree,
    q: FloatArray,
    hessian: FloatArray,
    constraint: Constraint,
    goal: Goal,
    max_component: float = MAX_COMPONENT,
) -> Steps:
    """Minimise one structure from q with a first Hessian (n_q, n_q); see the module for the protocol."""
    basis = free_basis(tree, constraint)
    curvature = basis.T @ hessian @ basis
    q, cap, turned_over = np.array(q), max_component, False
    energy, forces = yield tree.positions(q)
    steps, calls, reason = 0, 1, ""
    gradient = basis.T @ tree.gradient(q, -forces)
    largest, rms = constrained_force(tree, q, basis, constraint, forces)
    while True:
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            reason = f"energy or forces are not finite (energy {energy})"
            break
        if largest <= goal.max_force and (goal.rms_force is None or rms <= goal.rms_force):
            break
        if calls >= goal.max_calls:
            reason = f"max force {largest:.2e} eV/A after {calls} force calls, asked for {goal.max_force:.2e}"
            break
        step = _step(curvature, gradient, cap)
        fraction, guarded = _guard(tree, q, basis @ step)
        if fraction < 1e-3:
            reason = f"H-bond {guarded} turns over: C-O..N passes {np.degrees(_STRAIGHT):.0f} degrees on the way down"
            turned_over = True
            break
        step = fraction * step
        trial = q + basis @ step
        trial_energy, trial_forces = yield tree.positions(trial)
        calls += 1
        trial_gradient = basis.T @ tree.gradient(trial, -trial_forces)
        rose = not np.isfinite(trial_energy) or trial_energy > energy + goal.energy_noise
        if not rose or np.isfinite(trial_energy):
            curvature = _bfgs(curvature, step, trial_gradient - gradient)
        if rose:
            cap = _SHRINK * float(np.abs(step).max())
            if cap < _SMALLEST:
                reason = f"no step lowers the energy at max force {largest:.2e} eV/A, asked for {goal.max_force:.2e}"
                break
            continue
        cap = min(max_component, max(cap, 3.0 * float(np.abs(step).max())))
        q, energy, forces, gradient = trial, trial_energy, trial_forces, trial_gradient
        largest, rms = constrained_force(tree, q, basis, constraint, forces)
        steps += 1
    final = basis @ curvature @ basis.T
    return Path(q, float(energy), largest, rms, steps, calls, reason, turned_over, final)


def constrained_force(
    tree: Tree, q: FloatArray, basis: FloatArray, constraint: Constraint, forces: FloatArray
) -> tuple[float, float]:
    """Largest force on an atom and RMS over components, eV/A, of the part of `forces` (N, 3) the constraint leaves."""
    if constraint == "mirror":
        left = 0.5 * (forces + reflect(tree, forces))
    elif constraint == "torsions":
        columns = tree.jacobian(q) @ basis
        along, *_ = np.linalg.lstsq(columns, forces.ravel(), rcond=None)
        left = (columns @ along).reshape(forces.shape)
    else:
        left = forces
    return float(np.linalg.norm(left, axis=1).max()), float(np.sqrt(np.mean(left**2)))


def reflect(tree: Tree, vectors: FloatArray) -> FloatArray:
    """Reflect one vector per atom (..., N, 3) through z = 0, swapping mirrored atoms."""
    order = np.concatenate([tree.atom_slice(i).start + body.mirror for i, body in enumerate(tree.bodies)])
    return np.asarray(vectors[..., order, :] * np.array([1.0, 1.0, -1.0]), dtype=float)


def _step(curvature: FloatArray, gradient: FloatArray, cap: float) -> FloatArray:
    step = -np.linalg.solve(curvature, gradient)
    return np.asarray(step * min(1.0, cap / float(np.abs(step).max())), dtype=float)


def _guard(tree: Tree, q: FloatArray, change: FloatArray) -> tuple[float, int]:
    """How much of a step keeps every C-O..N angle below straight, and which H-bond limits it."""
    fraction, guarded = 1.0, 0
    for index, joint in enumerate(tree.joints):
        if joint is None or not joint.hbond:
            continue
        theta1 = tree.joint_slice(index).start + 1
        if q[theta1] + change[theta1] > _STRAIGHT:
            allowed = 0.9 * max(_STRAIGHT - q[theta1], 0.0) / change[theta1]
            if allowed < fraction:
                fraction, guarded = allowed, index
    return fraction, guarded


def _bfgs(curvature: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """BFGS update with Powell's damping (Nocedal & Wright, Procedure 18.2): stays positive definite."""
    bs = curvature @ step
    sbs, sy = float(step @ bs), float(step @ change)
    if sbs < 1e-16:
        return curvature
    weight = 1.0 if sy >= 0.2 * sbs else 0.8 * sbs / (sbs - sy)
    r = weight * change + (1.0 - weight) * bs
    return curvature - np.outer(bs, bs) / sbs + np.outer(r, r) / float(step @ r)
