"""One minimisation as a generator: it yields positions, is sent energy and forces, and returns when it is over.

Written that way so that many run in lockstep: the driver collects what every live one asks for into one batch.
Dense BFGS with Powell damping; the step is capped, and taken back when the energy rises.  After every evaluation its
whole `State` is offered for keeping: from one that was kept it goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.optimize.constraints import Constraint, free_basis
from hbcoop_dist.optimize.step_limits import STRAIGHT, clash_limit, straight_limit
from hbcoop_dist.structures.tree_coordinates import Tree

FloatArray = NDArray[np.float64]

Steps = Generator[FloatArray, tuple[float, FloatArray], "Path"]

_NO_TORQUE = 1e-6  # eV/A and eV, far above the round-off of float64 forces, far below what a grid does
MAX_COMPONENT = 0.15
"""Largest change of one coordinate in one step, A or rad."""
_SHRINK, _SMALLEST = 0.3, 1e-7


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
class State:
    """Where a minimisation stands after an evaluation: all that its next step depends on.

    Attributes
    ----------
    q : (n_q,) array
        The best point so far.
    curvature : (n_free, n_free) array
        BFGS Hessian on the free directions of the constraint.
    energy : float
        eV; meaningless while `forces` is None.
    forces : (N, 3) array or None
        eV/A at q; None before the first evaluation.
    cap, max_component : float
        Largest change of one coordinate in the next step, and in any, A or rad.
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


def first_state(
    tree: Tree,
    q: FloatArray,
    hessian: FloatArray,
    constraint: Constraint,
    max_component: float = MAX_COMPONENT,
    force_calls: int = 0,
) -> State:
    """The state before the first evaluation, from q and a Hessian (n_q, n_q) in tree coordinates."""
    basis = free_basis(tree, constraint)
    curvature = basis.T @ hessian @ basis
    return State(np.array(q), curvature, cap=max_component, max_component=max_component, force_calls=force_calls)


def minimise_steps(
    tree: Tree, state: State, constraint: Constraint, goal: Goal, keep: Callable[[State], None] = lambda _: None
) -> Steps:
    """Minimise one structure from a state; `keep` is offered every state there was.  The module has the protocol."""
    basis = free_basis(tree, constraint)
    if state.forces is None:
        energy, forces = yield tree.positions(state.q)
        state = replace(state, energy=float(energy), forces=forces, force_calls=state.force_calls + 1)
    turned_over = False
    while True:
        keep(state)
        assert state.forces is not None
        gradient = basis.T @ tree.gradient(state.q, -state.forces)
        largest, rms = constrained_force(tree, state.q, basis, constraint, state.forces)
        over, reason = _over(state, largest, rms, goal)
        if over:
            break
        step = _step(state.curvature, gradient, state.cap)
        fraction, guarded = straight_limit(tree, state.q, basis @ step)
        if fraction < 1e-3:
            reason = f"H-bond {guarded} turns over: C-O..N passes {np.degrees(STRAIGHT):.0f} degrees on the way down"
            turned_over = True
            break
        step = fraction * step
        step = clash_limit(tree, state.q, basis @ step) * step
        energy, forces = yield tree.positions(state.q + basis @ step)
        state = _judged(tree, state, basis, step, gradient, float(energy), forces, goal)
    final = basis @ state.curvature @ basis.T
    return Path(state.q, state.energy, largest, rms, state.steps, state.force_calls, reason, turned_over, final)


def _over(state: State, largest: float, rms: float, goal: Goal) -> tuple[bool, str]:
    """Whether a minimisation ends here, and why if not because it is converged."""
    if not (np.isfinite(state.energy) and np.isfinite(largest)):
        return True, f"energy or forces are not finite (energy {state.energy})"
    if largest <= goal.max_force and (goal.rms_force is None or rms <= goal.rms_force):
        return True, ""
    if state.force_calls >= goal.max_calls:
        asked = f"asked for {goal.max_force:.2e}"
        return True, f"max force {largest:.2e} eV/A after {state.force_calls} force calls, {asked}"
    if state.cap < _SMALLEST:
        return True, f"no step lowers the energy at max force {largest:.2e} eV/A, asked for {goal.max_force:.2e}"
    return False, ""


def _judged(
    tree: Tree,
    state: State,
    basis: FloatArray,
    step: FloatArray,
    gradient: FloatArray,
    energy: float,
    forces: FloatArray,
    goal: Goal,
) -> State:
    """The state after a step was tried: moved on, or still there with a shorter cap; either way the Hessian learns."""
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
    """Largest force on an atom and RMS over components, eV/A, of the part of `forces` (N, 3) the constraint leaves.

    An energy that depends on how the whole lies in space, as on the grid of a density functional, pulls on atoms even
    at its minimum (5e-4 eV/A were seen), where q cannot follow. What counts is the force without net force and torque
    that does the same along q; for every other energy that is `forces`.
    """
    forces = _without_rigid_part(tree, q, forces)
    if constraint == "mirror":
        left = 0.5 * (forces + reflect(tree, forces))
    elif constraint == "torsions":
        columns = tree.jacobian(q) @ basis
        along, *_ = np.linalg.lstsq(columns, forces.ravel(), rcond=None)
        left = (columns @ along).reshape(forces.shape)
    else:
        left = forces
    return float(np.linalg.norm(left, axis=1).max()), float(np.sqrt(np.mean(left**2)))


def _without_rigid_part(tree: Tree, q: FloatArray, forces: FloatArray) -> FloatArray:
    positions = tree.positions(q)
    around = positions - positions.mean(axis=0)
    axes = np.eye(3)
    rigid = [np.broadcast_to(axis, forces.shape) for axis in axes] + [np.cross(axis, around) for axis in axes]
    columns = np.stack([motion.ravel() for motion in rigid], axis=1)
    if np.abs(columns.T @ forces.ravel()).max() < _NO_TORQUE:
        return forces
    along = tree.jacobian(q)
    wanted = np.concatenate([along.T @ forces.ravel(), np.zeros(columns.shape[1])])
    found, *_ = np.linalg.lstsq(np.concatenate([along, columns], axis=1).T, wanted, rcond=None)
    return np.asarray(found, dtype=float).reshape(forces.shape)


def reflect(tree: Tree, vectors: FloatArray) -> FloatArray:
    """Reflect one vector per atom (..., N, 3) through z = 0, swapping mirrored atoms."""
    order = np.concatenate([tree.atom_slice(i).start + body.mirror for i, body in enumerate(tree.bodies)])
    return np.asarray(vectors[..., order, :] * np.array([1.0, 1.0, -1.0]), dtype=float)


def _step(curvature: FloatArray, gradient: FloatArray, cap: float) -> FloatArray:
    step = -np.linalg.solve(curvature, gradient)
    return np.asarray(step * min(1.0, cap / float(np.abs(step).max())), dtype=float)


def _bfgs(curvature: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """BFGS update with Powell's damping (Nocedal & Wright, Procedure 18.2): stays positive definite."""
    bs = curvature @ step
    sbs, sy = float(step @ bs), float(step @ change)
    if sbs < 1e-16:
        return curvature
    weight = 1.0 if sy >= 0.2 * sbs else 0.8 * sbs / (sbs - sy)
    r = weight * change + (1.0 - weight) * bs
    return curvature - np.outer(bs, bs) / sbs + np.outer(r, r) / float(step @ r)
