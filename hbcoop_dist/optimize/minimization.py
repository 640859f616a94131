"""Constrained minimisation of a batch: a list of starts in, a list of minimised structures out.

Every start is its own generator (`quasi_newton`); each round, what the live ones ask for is evaluated in one batch.
A structure that fails is a result with a reason; the others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.optimize.constraints import Constraint
from hbcoop_dist.optimize.hessians import body_hessian, guess_hessian
from hbcoop_dist.optimize.quasi_newton import MAX_COMPONENT, Goal, Path, State, first_state, minimise_steps
from hbcoop_dist.structures import Chain, Structure
from hbcoop_dist.structures.construction import crude_start, structure_of, tree_of
from hbcoop_dist.structures.monomers import nma_body

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Start:
    """Where one minimisation begins: q (n_q,) and a first Hessian (n_q, n_q) in tree coordinates."""

    system: Chain
    q: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True)
class Minimised:
    """A minimised structure and how it got there; `structure` holds it in Cartesian coordinates, A."""

    system: Chain
    structure: Structure
    path: Path


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
    """Minimise every start under the constraint.

    As many as fit into one call of the potential are live at a time; one that is over makes room for the next.

    Parameters
    ----------
    potential : Potential
    starts : sequence of Start
    constraint : {"mirror", "torsions", "none"}
        ``mirror`` keeps the Cs plane; ``torsions`` freezes phi1 and phi2 of every H-bond (Feng, Xu, Huang 2025).
    goal : Goal, optional
        Convergence; 1e-5 eV/A by default, the paper's for ANI and MACE-OFF.
    batch : BatchSize, optional
        Atoms per call of the potential; a new one for its device by default.
    keep : callable
        Called with the number of a start and its state after every evaluation; what it keeps is up to it.
    resume : mapping of int to State
        States kept earlier, by the number of their start: those go on from there, bit for bit as if never stopped.

    Returns
    -------
    list of Minimised
        In the order of `starts`; look at ``path.converged`` and ``path.reason`` of each.
    """
    goal, batch = goal or Goal(), batch or BatchSize.of(potential.device)
    live: dict[int, _Live] = {}
    paths: dict[int, Path] = {}
    waiting = deque(range(len(starts)))
    while waiting or live:
        while waiting and (not live or _atoms(live) + starts[waiting[0]].system.n_atoms <= batch.atoms):
            index = waiting.popleft()
            state = resume.get(index) or _first(starts[index], constraint)
            live[index] = _Live(starts[index], state, constraint, goal, partial(keep, index))
        moving = [one for one in live.values() if one.over is None]
        for one, found in zip(moving, evaluate(potential, [one.asked for one in moving], batch=batch), strict=True):
            one.answer(found)
        for index, one in list(live.items()):
            if one.over is None:
                continue
            if one.over.turned_over and one.max_component == MAX_COMPONENT:
                # A long step may hop over a barrier of a few hundredths of kcal/mol: once more, with short ones.
                state = _first(starts[index], constraint, MAX_COMPONENT / 3.0, one.over.force_calls)
                live[index] = _Live(starts[index], state, constraint, goal, partial(keep, index))
            else:
                paths[index] = one.over
                del live[index]
    return [
        Minimised(start.system, structure_of(start.system, paths[index].q), paths[index])
        for index, start in enumerate(starts)
    ]


class _Live:
    """A minimisation that goes on: the structure it wants evaluated next, or its path once it is over."""

    def __init__(
        self, start: Start, state: State, constraint: Constraint, goal: Goal, keep: Callable[[State], None]
    ) -> None:
        self.max_component = state.max_component
        self.over: Path | None = None
        self.asked = structure_of(start.system, start.q)
        self._steps = minimise_steps(tree_of(start.system), state, constraint, goal, keep)
        self._go_on(lambda: next(self._steps))

    def answer(self, evaluation: Evaluation) -> None:
        """Hand over what was asked for."""
        self._go_on(lambda: self._steps.send((evaluation.energy, np.asarray(evaluation.forces))))

    def _go_on(self, step: Callable[[], FloatArray]) -> None:
        try:
            self.asked = self.asked.with_positions(step())
        except StopIteration as stop:
            self.over = cast(Path, stop.value)


def _first(start: Start, constraint: Constraint, max_component: float = MAX_COMPONENT, force_calls: int = 0) -> State:
    return first_state(tree_of(start.system), start.q, start.hessian, constraint, max_component, force_calls)


def _atoms(live: Mapping[int, _Live]) -> int:
    return sum(len(one.asked) for one in live.values())


def monomer_start(potential: Potential, system: Chain, constraint: Constraint = "mirror") -> Start:
    """Start of an isolated unit, with its finite-difference Hessian at the crude geometry."""
    q = crude_start(system)
    return Start(system, q, guess_hessian(tree_of(system), [body_hessian(potential, nma_body(), q, constraint)]))
