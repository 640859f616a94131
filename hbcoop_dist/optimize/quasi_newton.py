"""Quasi-Newton minimisation of one structure as a generator of positions, which lets many structures share a batch.

Dense BFGS with Powell damping in tree coordinates. Steps are limited in length, and before the model is evaluated they
are shortened further so that no H-bond changes its conformer and no molecules collide. A step that raises the energy is
rejected. The `State` after every evaluation determines all later steps, so that a saved state can be resumed exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.optimize.constraints import Constraint, free_basis
from hbcoop_dist.structures.tree_coordinates import Tree

Steps = Generator[FloatArray, tuple[float, FloatArray], "OptimizationPath"]
"""Yields positions (N, 3), A; is sent their energy, eV, and forces (N, 3), eV/A; returns the path."""

MAX_COMPONENT = 0.15
"""Largest change of one coordinate in one step, A or rad."""
_SHRINK, _SMALLEST_CAP = 0.3, 1e-7
_NO_TORQUE = 1e-6
"""Net force, eV/A, and torque, eV, that count as zero: above the round-off of float64, below the effect of a grid."""

STRAIGHT = np.radians(179.0)
"""Largest C-O..N angle, rad: beyond 180 degrees a syn H-bond becomes anti, which the mirror plane allows."""
_SMALLEST_FRACTION = 1e-3
"""Part of a step below which the C-O..N angle counts as straight."""

# In a long chain small bends of all joints move the ends by many A. Without a limit the ends collide, which costs force
# calls and spoils the Hessian (SO3LR, capped arc of 11 units: 67 force calls, 36 with this limit).
CLOSEST = 1.5
"""Distance, A, between atoms of different molecules below which they approach by smaller steps."""
APPROACH, CLOSE_APPROACH = 0.75, 0.9
"""Smallest ratio of such a distance after and before one step, above and below `CLOSEST`."""
_SHORTEN = 0.6


@dataclass(frozen=True, slots=True)
class Goal:
    """Convergence criteria and budget of a minimisation.

    Attributes
    ----------
    max_force : float
        Largest remaining force on an atom, eV/A.
    rms_force : float or None
        Root mean square over all force components, eV/A; None for no such criterion.
    max_calls : int
        Force calls after which the minimisation ends unconverged.
    energy_noise : float
        Rise of the energy, eV, that counts as round-off.
    """

    max_force: float = 1.0e-5
    rms_force: float | None = None
    max_calls: int = 500
    energy_noise: float = 1.0e-7

    def is_met(self, max_force: float, rms_force: float) -> bool:
        """Return whether the remaining forces, eV/A, meet both criteria."""
        return max_force <= self.max_force and (self.rms_force is None or rms_force <= self.rms_force)


@dataclass(frozen=True, slots=True)
class State:
    """State of a minimisation after an evaluation; it determines all later steps.

    Attributes
    ----------
    q : (n_q,) array
        Best point so far.
    curvature : (n_free, n_free) array
        BFGS Hessian in the free directions of the constraint.
    energy : float
        eV at q; undefined while `forces` is None.
    forces : (N, 3) array or None
        eV/A at q; None before the first evaluation.
    cap, max_component : float
        Largest change of one coordinate in the next step, and in any step, A or rad.
    steps, force_calls : int
        Accepted steps and evaluations so far.
    """

    q: FloatArray
    curvature: FloatArray
    energy: float = np.nan
    forces: FloatArray | None = None
    cap: float = MAX_COMPONENT
    max_component: float = MAX_COMPONENT
    steps: int = 0
    force_calls: int = 0


@dataclass(frozen=True, slots=True)
class OptimizationPath:
    """End point and statistics of a minimisation.

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
        Why the minimisation is not converged; empty when it is.
    turned_over : bool
        Whether it ended because an H-bond was about to change its conformer.
    hessian : (n_q, n_q) array
        BFGS Hessian in q, zero in the directions that the constraint freezes.
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
        """Whether the goal was met."""
        return not self.reason


def first_state(
    tree: Tree,
    q: FloatArray,
    hessian: FloatArray,
    constraint: Constraint,
    max_component: float = MAX_COMPONENT,
    force_calls: int = 0,
) -> State:
    """Make the state before the first evaluation.

    Parameters
    ----------
    tree : Tree
    q : (n_q,) array
    hessian : (n_q, n_q) array
        In tree coordinates.
    constraint : {"mirror", "torsions", "none"}
    max_component : float
        Largest change of one coordinate in one step, A or rad.
    force_calls : int
        Evaluations that count as already used.

    Returns
    -------
    State
    """
    basis = free_basis(tree, constraint)
    curvature = basis.T @ hessian @ basis
    return State(np.array(q), curvature, cap=max_component, max_component=max_component, force_calls=force_calls)


def minimise_steps(
    tree: Tree, state: State, constraint: Constraint, goal: Goal, keep: Callable[[State], None] = lambda _: None
) -> Steps:
    """Minimise one structure from a state.

    Parameters
    ----------
    tree : Tree
    state : State
    constraint : {"mirror", "torsions", "none"}
    goal : Goal
    keep : callable
        Called with the state after every evaluation.

    Yields
    ------
    (N, 3) array
        Positions, A, to be evaluated; the caller sends energy, eV, and forces (N, 3), eV/A.

    Returns
    -------
    OptimizationPath
    """
    basis = free_basis(tree, constraint)
    if state.forces is None:
        energy, forces = yield tree.positions(state.q)
        state = replace(state, energy=float(energy), forces=forces, force_calls=state.force_calls + 1)
    turned_over = False
    while True:
        keep(state)
        assert state.forces is not None
        gradient = basis.T @ tree.gradient(state.q, -state.forces)
        max_force, rms_force = constrained_force(tree, state.q, basis, constraint, state.forces)
        ended, reason = _termination(state, max_force, rms_force, goal)
        if ended:
            break
        step = _newton_step(state.curvature, gradient, state.cap)
        fraction, hbond = straight_limit(tree, state.q, basis @ step)
        if fraction < _SMALLEST_FRACTION:
            reason = f"H-bond {hbond} turns over: C-O..N passes {np.degrees(STRAIGHT):.0f} degrees on the way down"
            turned_over = True
            break
        step = fraction * step
        step = clash_limit(tree, state.q, basis @ step) * step
        energy, forces = yield tree.positions(state.q + basis @ step)
        state = _next_state(tree, state, basis, step, gradient, float(energy), forces, goal)
    hessian = basis @ state.curvature @ basis.T
    return OptimizationPath(
        state.q, state.energy, max_force, rms_force, state.steps, state.force_calls, reason, turned_over, hessian
    )


def _termination(state: State, max_force: float, rms_force: float, goal: Goal) -> tuple[bool, str]:
    """Whether a minimisation ends at this state, and the reason unless it is converged."""
    if not (np.isfinite(state.energy) and np.isfinite(max_force)):
        return True, f"energy or forces are not finite (energy {state.energy})"
    if goal.is_met(max_force, rms_force):
        return True, ""
    if state.force_calls >= goal.max_calls:
        calls = f"after {state.force_calls} force calls"
        return True, f"max force {max_force:.2e} eV/A {calls}, asked for {goal.max_force:.2e}"
    if state.cap < _SMALLEST_CAP:
        return True, f"no step lowers the energy at max force {max_force:.2e} eV/A, asked for {goal.max_force:.2e}"
    return False, ""


def _next_state(
    tree: Tree,
    state: State,
    basis: FloatArray,
    step: FloatArray,
    gradient: FloatArray,
    energy: float,
    forces: FloatArray,
    goal: Goal,
) -> State:
    """Accept a step, or reject it and reduce the cap; the Hessian is updated in both cases."""
    q, length, calls = state.q + basis @ step, float(np.abs(step).max()), state.force_calls + 1
    curvature = state.curvature
    if np.isfinite(energy):
        curvature = _bfgs(curvature, step, basis.T @ tree.gradient(q, -forces) - gradient)
    if not energy <= state.energy + goal.energy_noise:
        return replace(state, curvature=curvature, cap=_SHRINK * length, force_calls=calls)
    cap = min(state.max_component, max(state.cap, 3.0 * length))
    return replace(
        state,
        q=q,
        curvature=curvature,
        energy=energy,
        forces=forces,
        cap=cap,
        steps=state.steps + 1,
        force_calls=calls,
    )


def constrained_force(
    tree: Tree, q: FloatArray, basis: FloatArray, constraint: Constraint, forces: FloatArray
) -> tuple[float, float]:
    """Measure the part of the forces that the constraint leaves.

    An energy that depends on the orientation in space, e.g. through the grid of a density functional, has a net force
    and torque (5e-4 eV/A were measured) even at its minimum in q. These are removed: the forces are replaced by those
    without net force and torque that have the same components along q.

    Parameters
    ----------
    tree : Tree
    q : (n_q,) array
    basis : (n_q, n_free) array
        Free directions of the constraint.
    constraint : {"mirror", "torsions", "none"}
    forces : (N, 3) array
        eV/A.

    Returns
    -------
    max_force, rms_force : float
        Largest force on an atom and RMS over components, eV/A.
    """
    forces = _without_rigid_part(tree, q, forces)
    if constraint == "mirror":
        forces = 0.5 * (forces + reflect(tree, forces))
    elif constraint == "torsions":
        columns = tree.jacobian(q) @ basis
        components, *_ = np.linalg.lstsq(columns, forces.ravel(), rcond=None)
        forces = (columns @ components).reshape(forces.shape)
    return force_norms(forces)


def force_norms(forces: FloatArray) -> tuple[float, float]:
    """Return the largest force on an atom and the RMS over components of forces (N, 3), in their unit."""
    return float(np.linalg.norm(forces, axis=1).max()), float(np.sqrt(np.mean(forces**2)))


def _without_rigid_part(tree: Tree, q: FloatArray, forces: FloatArray) -> FloatArray:
    positions = tree.positions(q)
    centred = positions - positions.mean(axis=0)
    axes = np.eye(3)
    rigid = [np.broadcast_to(axis, forces.shape) for axis in axes] + [np.cross(axis, centred) for axis in axes]
    columns = np.stack([motion.ravel() for motion in rigid], axis=1)
    if np.abs(columns.T @ forces.ravel()).max() < _NO_TORQUE:
        return forces
    jacobian = tree.jacobian(q)
    target = np.concatenate([jacobian.T @ forces.ravel(), np.zeros(columns.shape[1])])
    solution, *_ = np.linalg.lstsq(np.concatenate([jacobian, columns], axis=1).T, target, rcond=None)
    return np.asarray(solution, dtype=float).reshape(forces.shape)


def reflect(tree: Tree, vectors: FloatArray) -> FloatArray:
    """Reflect one vector per atom through z = 0, exchanging mirrored atoms.

    Parameters
    ----------
    tree : Tree
    vectors : (..., N, 3) array

    Returns
    -------
    (..., N, 3) array
    """
    order = np.concatenate([tree.atom_slice(i).start + body.mirror for i, body in enumerate(tree.bodies)])
    return np.asarray(vectors[..., order, :] * np.array([1.0, 1.0, -1.0]), dtype=float)


def _newton_step(curvature: FloatArray, gradient: FloatArray, cap: float) -> FloatArray:
    step = -np.linalg.solve(curvature, gradient)
    return np.asarray(step * min(1.0, cap / float(np.abs(step).max())), dtype=float)


def _bfgs(curvature: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """BFGS update with Powell's damping (Nocedal & Wright, Procedure 18.2), which stays positive definite."""
    bs = curvature @ step
    sbs, sy = float(step @ bs), float(step @ change)
    if sbs < 1e-16:
        return curvature
    weight = 1.0 if sy >= 0.2 * sbs else 0.8 * sbs / (sbs - sy)
    r = weight * change + (1.0 - weight) * bs
    return curvature - np.outer(bs, bs) / sbs + np.outer(r, r) / float(step @ r)


def straight_limit(tree: Tree, q: FloatArray, change: FloatArray) -> tuple[float, int]:
    """Limit a step so that every C-O..N angle stays below `STRAIGHT`.

    Parameters
    ----------
    tree : Tree
    q, change : (n_q,) arrays
        Coordinates and step.

    Returns
    -------
    fraction : float
        Part of the step that may be taken.
    hbond : int
        H-bond, from 1, that limits the step; 0 when none does.
    """
    fraction, hbond = 1.0, 0
    for index, joint in enumerate(tree.joints):
        if joint is None or not joint.hbond:
            continue
        theta1 = tree.joint_slice(index).start + 1
        if q[theta1] + change[theta1] > STRAIGHT:
            allowed = 0.9 * max(STRAIGHT - q[theta1], 0.0) / change[theta1]
            if allowed < fraction:
                fraction, hbond = allowed, index
    return fraction, hbond


def clash_limit(tree: Tree, q: FloatArray, change: FloatArray) -> float:
    """Limit a step so that molecules do not collide.

    Parameters
    ----------
    tree : Tree
    q, change : (n_q,) arrays
        Coordinates and step.

    Returns
    -------
    float
        Part of the step that may be taken.
    """
    if len(tree.bodies) < 2:
        return 1.0
    before = _intermolecular_distances(tree, q)
    smallest = np.minimum(CLOSE_APPROACH * before, np.maximum(APPROACH * before, CLOSEST))
    fraction = 1.0
    while fraction > _SMALLEST_FRACTION and (_intermolecular_distances(tree, q + fraction * change) < smallest).any():
        fraction *= _SHORTEN
    return fraction


def _intermolecular_distances(tree: Tree, q: FloatArray) -> FloatArray:
    """Distances (P,), A, of all pairs of atoms in different molecules."""
    x = tree.positions(q)
    molecules = np.repeat(np.arange(len(tree.bodies)), [body.n_atoms for body in tree.bodies])
    i, j = np.nonzero(molecules[:, None] < molecules[None, :])
    return np.asarray(np.linalg.norm(x[i] - x[j], axis=1), dtype=float)
