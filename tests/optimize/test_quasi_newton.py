"""Quasi-Newton steps on known surfaces, convergence criteria, constrained forces, and limits of steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.optimize.constraints import CONSTRAINTS, free_basis
from hbcoop_dist.optimize.quasi_newton import (
    MAX_COMPONENT,
    STRAIGHT,
    Goal,
    OptimizationPath,
    State,
    clash_limit,
    constrained_force,
    first_state,
    force_norms,
    minimise_steps,
    reflect,
    straight_limit,
)
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.monomers import crude_start, tree_of
from hbcoop_dist.structures.tree_coordinates import Tree

DIMER = make_chain("arc", 2)
TREE, Q = tree_of(DIMER), crude_start(DIMER)
Surface = Callable[[FloatArray], tuple[float, FloatArray]]


def springs(tree: Tree, q: FloatArray) -> Surface:
    """Harmonic springs, 5 eV/A^2, between all pairs of atoms, with their minimum at q."""
    pairs = np.triu_indices(len(tree.positions(q)), 1)

    def lengths(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        vectors = x[pairs[0]] - x[pairs[1]]
        return vectors, np.linalg.norm(vectors, axis=1)

    rest = lengths(tree.positions(q))[1]

    def evaluate(x: FloatArray) -> tuple[float, FloatArray]:
        vectors, distances = lengths(x)
        pulls = 5.0 * (distances - rest)[:, None] * vectors / distances[:, None]
        forces = np.zeros_like(x)
        np.add.at(forces, pairs[0], -pulls)
        np.add.at(forces, pairs[1], pulls)
        return float(2.5 * ((distances - rest) ** 2).sum()), forces

    return evaluate


def drive(surface: Surface, state: State, goal: Goal, constraint="none") -> tuple[OptimizationPath, list[FloatArray]]:
    """Run a minimisation to its end; return its path and all positions evaluated."""
    steps, visited = minimise_steps(TREE, state, constraint, goal), []
    x = next(steps)
    while True:
        visited.append(x)
        try:
            x = steps.send(surface(x))
        except StopIteration as stop:
            return stop.value, visited


def displaced(scale: float, constraint="none", seed: int = 0) -> State:
    basis = free_basis(TREE, constraint)
    q = Q + basis @ np.random.default_rng(seed).uniform(-scale, scale, basis.shape[1])
    return first_state(TREE, q, 50.0 * np.eye(len(Q)), constraint)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_minimum_of_springs_is_found(constraint) -> None:
    path, visited = drive(springs(TREE, Q), displaced(0.05, constraint), Goal(1e-6), constraint)
    assert path.converged, path.reason
    assert path.force_calls == len(visited)
    assert path.energy < 1e-10
    assert TREE.positions(path.q) == pytest.approx(TREE.positions(Q), abs=1e-5)


def states_of(surface: Surface, state: State, goal: Goal) -> tuple[list[State], OptimizationPath]:
    """All states of a minimisation, and its path."""
    states: list[State] = []
    steps = minimise_steps(TREE, state, "none", goal, states.append)
    x = next(steps)
    while True:
        try:
            x = steps.send(surface(x))
        except StopIteration as stop:
            return states, stop.value


def test_the_hessian_learns_the_curvature_of_the_surface() -> None:
    """Undamped BFGS updates satisfy the secant equation: H s is the change of the gradient."""
    states, _ = states_of(springs(TREE, Q), displaced(0.05), Goal(1e-7))
    basis, undamped = free_basis(TREE, "none"), 0
    for before, after in itertools.pairwise(states):
        assert np.linalg.eigvalsh(after.curvature).min() > 0
        if after.steps == before.steps:
            continue
        gradients = [basis.T @ TREE.gradient(s.q, -np.asarray(s.forces)) for s in (before, after)]
        step, change = basis.T @ (after.q - before.q), gradients[1] - gradients[0]
        if step @ change > 0.2 * step @ before.curvature @ step:
            undamped += 1
            assert after.curvature @ step == pytest.approx(change, rel=1e-6, abs=1e-6 * np.abs(change).max())
    assert undamped > 3


def test_no_step_changes_a_coordinate_by_more_than_the_cap() -> None:
    """On a slope without minimum every step has the full length."""
    direction = np.zeros((24, 3))
    direction[12:, 0] = 1e3
    states, _ = states_of(lambda x: (float(-(direction * x).sum()), direction), displaced(0.0), Goal(max_calls=6))
    changes = [np.abs(after.q - before.q).max() for before, after in itertools.pairwise(states)]
    assert max(changes) <= MAX_COMPONENT * (1 + 1e-9)
    assert states[-1].energy < states[0].energy


def test_a_step_that_raises_the_energy_is_rejected_and_shortened() -> None:
    soft = first_state(TREE, displaced(0.05).q, 0.5 * np.eye(len(Q)), "none")
    states, path = states_of(springs(TREE, Q), soft, Goal(1e-6))
    energies = [state.energy for state in states]
    assert all(after <= before + 1e-7 for before, after in itertools.pairwise(energies))
    rejected = [(s, t) for s, t in itertools.pairwise(states) if t.steps == s.steps]
    assert rejected
    assert all(after.cap < before.cap for before, after in rejected)
    assert all(np.array_equal(after.q, before.q) for before, after in rejected)
    assert path.converged


def test_a_surface_on_which_no_step_helps_ends_with_a_reason() -> None:
    calls = iter(range(10_000))
    path, _ = drive(lambda x: (float(next(calls)), _pull(x)), displaced(0.0), Goal())
    assert path.reason.startswith("no step lowers the energy at max force")
    assert path.steps == 0


def _pull(x: FloatArray) -> FloatArray:
    """A force that stretches one bond."""
    forces = np.zeros_like(x)
    bond = (x[1] - x[0]) / np.linalg.norm(x[1] - x[0])
    forces[0], forces[1] = -bond, bond
    return forces


@pytest.mark.parametrize(
    ("max_force", "rms_force", "met"), [(1.0, None, True), (0.9, None, False), (1.0, 0.5, True), (1.0, 0.4, False)]
)
def test_a_goal_bounds_the_largest_force_and_the_rms(max_force: float, rms_force: float | None, met: bool) -> None:
    assert Goal(max_force, rms_force).is_met(1.0, 0.5) == met


def test_norms_of_forces() -> None:
    forces = np.array([[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]])
    assert force_norms(forces) == pytest.approx((5.0, np.sqrt(26.0 / 6.0)))


def test_a_reflection_undoes_itself_and_keeps_planar_chains() -> None:
    x = TREE.positions(Q)
    assert reflect(TREE, x) == pytest.approx(x)
    vectors = np.random.default_rng(0).normal(size=(4, *x.shape))
    assert reflect(TREE, reflect(TREE, vectors)) == pytest.approx(vectors)


def test_forces_along_frozen_torsions_do_not_count() -> None:
    """A force along the gradient of phi1 vanishes under the constraint; one along a bond does not."""
    basis = free_basis(TREE, "torsions")
    phi1 = TREE.joint_slice(1).start + 2
    inertia_free = np.linalg.pinv(TREE.jacobian(Q))  # rows: gradients of q without net force and torque
    along_phi1 = inertia_free[phi1].reshape(-1, 3)
    free = constrained_force(TREE, Q, free_basis(TREE, "none"), "none", along_phi1)
    held = constrained_force(TREE, Q, basis, "torsions", along_phi1)
    assert held[0] < 1e-8 < 0.01 < free[0]
    pull = _pull(TREE.positions(Q))
    assert constrained_force(TREE, Q, basis, "torsions", pull)[0] == pytest.approx(1.0, rel=0.05)


def test_out_of_plane_forces_do_not_count_in_the_mirror_plane() -> None:
    basis = free_basis(TREE, "mirror")
    forces = _pull(TREE.positions(Q))
    assert constrained_force(TREE, Q, basis, "mirror", forces)[0] == pytest.approx(1.0)
    out_of_plane = np.zeros_like(forces)
    out_of_plane[[0, 1, 2, 3], 2] = [1.0, -1.0, -1.0, 1.0]
    odd = 0.5 * (out_of_plane - reflect(TREE, out_of_plane))
    assert constrained_force(TREE, Q, basis, "mirror", odd)[0] < 1e-9


def test_a_part_that_no_coordinate_can_follow_does_not_count() -> None:
    """Six combinations of forces do no work along any tree coordinate: those are a matter of the whole in space."""
    left, values, _ = np.linalg.svd(TREE.jacobian(Q))
    idle = left[:, len(values) :]
    assert idle.shape[1] == 6
    basis, pull = free_basis(TREE, "none"), _pull(TREE.positions(Q))
    for column in idle.T:
        assert constrained_force(TREE, Q, basis, "none", column.reshape(-1, 3))[0] < 1e-9
        pushed = pull + 0.1 * column.reshape(-1, 3)
        assert constrained_force(TREE, Q, basis, "none", pushed) == pytest.approx(force_norms(pull))


@pytest.mark.parametrize(("bend", "fraction"), [(0.1, 1.0), (0.6, 0.9 * 0.5 / 0.6)])
def test_a_step_stops_before_an_hbond_is_straight(bend: float, fraction: float) -> None:
    q, change = Q.copy(), np.zeros_like(Q)
    theta1 = TREE.joint_slice(1).start + 1
    q[theta1], change[theta1] = STRAIGHT - 0.5, bend
    assert straight_limit(TREE, q, change)[0] == pytest.approx(fraction)
    assert straight_limit(TREE, q, change)[1] == (1 if fraction < 1 else 0)
    assert straight_limit(TREE, q, -change) == (1.0, 0)


def test_an_hbond_that_turns_over_ends_the_minimisation() -> None:
    """The surface pulls the second unit of a syn dimer over to the anti side."""
    q = Q.copy()
    theta1 = TREE.joint_slice(1).start + 1
    target = q.copy()
    target[theta1], q[theta1] = np.pi + 0.5, STRAIGHT - 0.01
    path, _ = drive(springs(TREE, target), first_state(TREE, q, 50.0 * np.eye(len(Q)), "mirror"), Goal(), "mirror")
    assert path.turned_over
    assert path.reason.startswith("H-bond 1 turns over: C-O..N passes 179 degrees")
    assert path.q[theta1] < STRAIGHT


def test_no_step_runs_molecules_into_one_another() -> None:
    """An arc of twelve units all of whose joints bend a little: its ends would pass through each other."""
    chain = make_chain("arc", 12)
    tree, q = tree_of(chain), crude_start(chain)
    change = np.zeros_like(q)
    for unit in range(1, 12):
        change[tree.joint_slice(unit).start + np.array([1, 3])] = [-0.06, 0.06]
    owner = np.repeat(np.arange(12), 12)

    def closest(fraction: float) -> float:
        x = tree.positions(q + fraction * change)
        d = np.linalg.norm(x[:, None] - x[None], axis=-1)
        return float(d[owner[:, None] < owner[None, :]].min())

    assert closest(1.0) < 0.8 < 1.8 < closest(0.0)
    fraction = clash_limit(tree, q, change)
    assert 0.0 < fraction < 1.0
    assert all(closest(part * fraction) > 1.4 for part in np.linspace(0.0, 1.0, 20))
    assert clash_limit(tree, q, 0.1 * fraction * change) == 1.0


def test_what_is_close_already_may_come_closer_slowly() -> None:
    chain = make_chain("arc", 2)
    tree, q = tree_of(chain), crude_start(chain)
    r = tree.joint_slice(1).start
    q[r] -= 0.6  # H..O 1.3 A
    step = np.eye(len(q))[r]
    assert clash_limit(tree, q, -0.05 * step) == 1.0
    assert clash_limit(tree, q, -0.5 * step) < 0.4
    assert clash_limit(tree, q, 0.5 * step) == 1.0
