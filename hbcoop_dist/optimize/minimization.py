"""Constrained minimisation of many chains in common batches.

Every chain is minimised by a generator of its own (`quasi_newton.minimise_steps`). In each round the positions of all
active generators are evaluated as one batch. A chain that fails ends with a reason and does not affect the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import cast

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.optimize.constraints import Constraint, body_basis
from hbcoop_dist.optimize.quasi_newton import (
    MAX_COMPONENT,
    Goal,
    OptimizationPath,
    State,
    first_state,
    minimise_steps,
)
from hbcoop_dist.structures import Chain, Structure
from hbcoop_dist.structures.monomers import crude_start, nma_body, structure_of, tree_of
from hbcoop_dist.structures.tree_coordinates import Body, Tree

SHORT_COMPONENT = MAX_COMPONENT / 3.0
"""Largest change of one coordinate in one step, A or rad, where longer steps lost the minimum."""
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
    gradients = np.array([-body.gradient(s + move, force) for move, force in zip(moves, forces, strict=True)]) @ basis
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


@dataclass(frozen=True, slots=True)
class Start:
    """Start of one minimisation.

    Attributes
    ----------
    chain : Chain
    q : (n_q,) array
        Tree coordinates.
    hessian : (n_q, n_q) array
        First Hessian in tree coordinates.
    max_component : float
        Largest change of one coordinate in one step, A or rad.
    """

    chain: Chain
    q: FloatArray
    hessian: FloatArray
    max_component: float = MAX_COMPONENT


@dataclass(frozen=True, slots=True)
class Minimised:
    """Result of one minimisation.

    Attributes
    ----------
    chain : Chain
    structure : Structure
        Structure at the end point.
    path : OptimizationPath
        End point in tree coordinates, energy, forces and statistics.
    """

    chain: Chain
    structure: Structure
    path: OptimizationPath


def minimise(
    potential: Potential,
    starts: Sequence[Start],
    *,
    constraint: Constraint = "mirror",
    goal: Goal | None = None,
    batch: BatchSize | None = None,
    keep: Callable[[int, State], None] = lambda _, __: None,
    resume: Mapping[int, State] = MappingProxyType({}),
) -> list[Minimised]:
    """Minimise every start under a constraint.

    As many minimisations are active at a time as fit into one call of the potential; when one ends, the next begins.

    Parameters
    ----------
    potential : Potential
    starts : sequence of Start
    constraint : {"mirror", "torsions", "none"}
        ``mirror`` keeps the Cs plane; ``torsions`` freezes phi1 and phi2 of every H-bond (Feng, Xu, Huang 2025).
    goal : Goal, optional
        Convergence; 1e-5 eV/A by default, as in the paper for ANI and MACE-OFF.
    batch : BatchSize, optional
        Atoms per call of the potential; by default a new one for its device.
    keep : callable
        Called with the index of a start and its state after every evaluation, e.g. to write restart files.
    resume : mapping of int to State
        States to resume from, by index of the start. A resumed minimisation is identical to an uninterrupted one.

    Returns
    -------
    list of Minimised
        In the order of `starts`; ``path.converged`` and ``path.reason`` describe how each ended.
    """
    goal, batch = goal or Goal(), batch or BatchSize.of(potential.device)
    active: dict[int, _Active] = {}
    paths: dict[int, OptimizationPath] = {}
    waiting = deque(range(len(starts)))
    while waiting or active:
        while waiting and (not active or _atoms(active) + starts[waiting[0]].chain.n_atoms <= batch.atoms):
            index = waiting.popleft()
            state = resume.get(index) or _first(starts[index], constraint)
            active[index] = _Active(starts[index], state, constraint, goal, partial(keep, index))
        running = [minimisation for minimisation in active.values() if minimisation.path is None]
        evaluations = evaluate(potential, [minimisation.structure for minimisation in running], batch=batch)
        for minimisation, evaluation in zip(running, evaluations, strict=True):
            minimisation.advance(evaluation)
        for index, minimisation in list(active.items()):
            path = minimisation.path
            if path is None:
                continue
            if path.turned_over and minimisation.max_component == MAX_COMPONENT:
                # long steps may cross a barrier of a few hundredths of kcal/mol, so that it is repeated with short ones
                state = _first(replace(starts[index], max_component=SHORT_COMPONENT), constraint, path.force_calls)
                active[index] = _Active(starts[index], state, constraint, goal, partial(keep, index))
            else:
                paths[index] = path
                del active[index]
    return [
        Minimised(start.chain, structure_of(start.chain, paths[index].q), paths[index])
        for index, start in enumerate(starts)
    ]


class _Active:
    """A running minimisation: the structure to evaluate next, and the path once it has ended."""

    def __init__(
        self, start: Start, state: State, constraint: Constraint, goal: Goal, keep: Callable[[State], None]
    ) -> None:
        self.max_component = state.max_component
        self.path: OptimizationPath | None = None
        self.structure = structure_of(start.chain, start.q)
        self._steps = minimise_steps(tree_of(start.chain), state, constraint, goal, keep)
        self._update(lambda: next(self._steps))

    def advance(self, evaluation: Evaluation) -> None:
        """Take one step with the evaluation of `structure`."""
        self._update(lambda: self._steps.send((evaluation.energy, np.asarray(evaluation.forces))))

    def _update(self, step: Callable[[], FloatArray]) -> None:
        try:
            self.structure = self.structure.with_positions(step())
        except StopIteration as stop:
            self.path = cast(OptimizationPath, stop.value)


def _first(start: Start, constraint: Constraint, force_calls: int = 0) -> State:
    return first_state(tree_of(start.chain), start.q, start.hessian, constraint, start.max_component, force_calls)


def _atoms(active: Mapping[int, _Active]) -> int:
    return sum(len(minimisation.structure) for minimisation in active.values())


def monomer_start(potential: Potential, chain: Chain, constraint: Constraint = "mirror") -> Start:
    """Make the start of an isolated unit from its textbook geometry.

    Parameters
    ----------
    potential : Potential
    chain : Chain
        A single unit.
    constraint : {"mirror", "torsions", "none"}

    Returns
    -------
    Start
        With a finite-difference Hessian.
    """
    q = crude_start(chain)
    return Start(
        chain, q, guess_hessian(tree_of(chain), [body_hessian(potential, nma_body(chain.rotamers[0]), q, constraint)])
    )
