"""Constrained minimisation of a batch: a list of starts in, a list of minimised structures out.

Every start is its own generator (`quasi_newton`); each round, what the live ones ask for is evaluated in batches.
A structure that fails is a result with a reason; the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.engine.constraint import Constraint
from hbcoop_dist.engine.evaluate import DEFAULT_BATCH_ATOMS, evaluate
from hbcoop_dist.engine.hessian import body_hessian, guess_hessian
from hbcoop_dist.engine.quasi_newton import MAX_COMPONENT, Goal, Path, Steps, minimise_steps
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.structures import Structure, System
from hbcoop_dist.structures.bodies import nma_body
from hbcoop_dist.structures.build import crude_start, structure_of, tree_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Start:
    """Where one minimisation begins: q (n_q,) and a first Hessian (n_q, n_q) in tree coordinates."""

    system: System
    q: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True)
class Minimised:
    """A minimised structure and how it got there; `structure` holds it in Cartesian coordinates, A."""

    system: System
    structure: Structure
    path: Path


def minimise(
    potential: Potential,
    starts: Sequence[Start],
    *,
    constraint: Constraint = "mirror",
    goal: Goal | None = None,
    batch_atoms: int = DEFAULT_BATCH_ATOMS,
) -> list[Minimised]:
    """Minimise every start under the constraint.

    Parameters
    ----------
    potential : Potential
    starts : sequence of Start
    constraint : {"mirror", "torsions", "none"}
        ``mirror`` keeps the Cs plane; ``torsions`` freezes phi1 and phi2 of every H-bond (Feng, Xu, Huang 2025).
    goal : Goal, optional
        Convergence; 1e-5 eV/A by default, the paper's for ANI and MACE-OFF.
    batch_atoms : int
        Atoms per call of the potential.

    Returns
    -------
    list of Minimised
        In the order of `starts`; look at ``path.converged`` and ``path.reason`` of each.
    """
    goal = goal or Goal()
    templates = [structure_of(start.system, start.q) for start in starts]
    live = {index: _Live.begin(start, constraint, goal, MAX_COMPONENT) for index, start in enumerate(starts)}
    paths: dict[int, Path] = {}
    while live:
        asked = [templates[index].with_positions(one.asked) for index, one in live.items()]
        found = evaluate(potential, asked, batch_atoms=batch_atoms)
        for index, evaluation in zip(list(live), found, strict=True):
            path = live[index].answer(evaluation)
            if path is None:
                continue
            if path.turned_over and index not in paths:
                # A long step may hop over a barrier of a few hundredths of kcal/mol: once more, with short ones.
                live[index] = _Live.begin(starts[index], constraint, goal, MAX_COMPONENT / 3.0)
                paths[index] = path
                continue
            before = paths[index].force_calls if index in paths else 0
            paths[index] = replace(path, force_calls=before + path.force_calls)
            del live[index]
    return [
        Minimised(start.system, structure_of(start.system, paths[index].q), paths[index])
        for index, start in enumerate(starts)
    ]


@dataclass(slots=True)
class _Live:
    """A minimisation that is not over, and the positions it wants evaluated next."""

    steps: Steps
    asked: FloatArray

    @classmethod
    def begin(cls, start: Start, constraint: Constraint, goal: Goal, max_component: float) -> _Live:
        steps = minimise_steps(tree_of(start.system), start.q, start.hessian, constraint, goal, max_component)
        return cls(steps, next(steps))

    def answer(self, evaluation: Evaluation) -> Path | None:
        """Hand over what was asked for; the path when that was the end of it."""
        try:
            self.asked = self.steps.send((evaluation.energy, np.asarray(evaluation.forces)))
        except StopIteration as stop:
            return cast(Path, stop.value)
        return None


def monomer_start(potential: Potential, system: System, constraint: Constraint = "mirror") -> Start:
    """Start of an isolated unit, with its finite-difference Hessian at the crude geometry."""
    q = crude_start(system)
    return Start(system, q, guess_hessian(tree_of(system), [body_hessian(potential, nma_body(), q, constraint)]))
