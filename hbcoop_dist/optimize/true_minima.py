"""Minima in three dimensions: planar first, then under the constraint, then down the lowest mode until it is positive.

A planar stationary point is quick to find and stays planar by symmetry in any minimiser, also where it is a saddle. It
is therefore minimised in the mirror plane first, and left only along a mode of negative curvature, so that the minimum
depends on the model and not on round-off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.optimize.constraints import SADDLE, Constraint, reflection
from hbcoop_dist.optimize.lowest_modes import LowestMode, StationaryPoint, find_lowest_modes, mode_basis
from hbcoop_dist.optimize.minimization import SHORT_COMPONENT, Minimised, Start, positive
from hbcoop_dist.optimize.quasi_newton import MAX_COMPONENT
from hbcoop_dist.optimize.warm_starts import SMALLEST_CURVATURE, mirror_image
from hbcoop_dist.structures import Chain
from hbcoop_dist.structures.monomers import structure_of, tree_of

FOLLOW = 0.3
"""Length of the step down a mode of negative curvature, A in 3 N dimensions."""
MOST_COMBINED = 3
"""Number of negative modes of a whole Hessian that are followed together, with all combinations of signs."""
MOST_FOLLOWED = 3
"""Number of times that a mode is followed before a chain is left at a saddle."""
WHOLE = 2
"""Longest chain whose complete Hessian is computed in three dimensions."""
_PLANAR = 1.0e-6
"""Largest difference, A or rad, between the coordinates of a planar structure and those of its mirror image."""

Minimiser = Callable[[Sequence[int], Sequence[Start], Constraint, str], list[Minimised]]
"""Minimises starts under a constraint, for structures given by their positions; the last argument labels the stage."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Result of `find_minima` for one structure.

    Attributes
    ----------
    minimised : Minimised
        The lowest stationary point that was found.
    mode : LowestMode or None
        Its lowest mode; None unless the minimisation converged to an intact structure.
    search_calls : int
        Force calls besides those of ``minimised.path``: planar stationary points, other starts, steps down a mode.
    mode_calls : int
        Force calls for lowest modes.
    minima : tuple of Minimised
        Every stationary point that was found under the constraint, lowest first.
    """

    minimised: Minimised
    mode: LowestMode | None
    search_calls: int
    mode_calls: int
    minima: tuple[Minimised, ...]


def is_planar(chain: Chain, q: FloatArray) -> bool:
    """Return whether a structure at tree coordinates q, (n_q,), is its own mirror image."""
    return bool(np.abs(q - mirror_image(tree_of(chain), q)).max() < _PLANAR)


def find_minima(
    potential: Potential,
    starts: Sequence[Sequence[Sequence[Start]]],
    constraint: Constraint,
    minimise: Minimiser,
    is_intact: Callable[[Minimised], bool],
    batch: BatchSize | None = None,
) -> list[Relaxed]:
    """Find a minimum of every structure under ``torsions`` or ``none``, with proof or with a remaining negative mode.

    Parameters
    ----------
    potential : Potential
    starts : sequence of sequence of sequence of Start
        For every structure groups of starts: of each group the start of lowest energy is minimised, and of their
        results the lowest is kept.
    constraint : {"torsions", "none"}
    minimise : callable
        Minimises starts; see `Minimiser`.
    is_intact : callable
        Whether a result converged to an intact structure; the modes of others are not computed.
    batch : BatchSize, optional
        Atoms per call of the potential; by default a new one for its device.

    Returns
    -------
    list of Relaxed
        One per structure.
    """
    chosen, search_calls = _lowest_starts(potential, starts, batch)
    found = _first_minima(chosen, constraint, minimise, search_calls)
    relaxed = []
    for index, minima in enumerate(found):
        intact = [minimised for minimised in minima if is_intact(minimised)] or minima
        order = sorted(intact, key=lambda minimised: np.nan_to_num(minimised.path.energy, nan=np.inf))
        others = sum(minimised.path.force_calls for minimised in minima if minimised is not order[0])
        relaxed.append(Relaxed(order[0], None, search_calls[index] + others, 0, tuple(order)))
    active = [index for index, result in enumerate(relaxed) if is_intact(result.minimised)]
    for round_ in range(MOST_FOLLOWED + 1):
        points = [stationary_point(relaxed[index].minimised, constraint) for index in active]
        for index, mode in zip(active, find_lowest_modes(potential, points, batch), strict=True):
            calls = relaxed[index].mode_calls + mode.force_calls
            relaxed[index] = replace(relaxed[index], mode=mode, mode_calls=calls)
        active = [index for index in active if _eigenvalue(relaxed[index]) < SADDLE]
        if round_ == MOST_FOLLOWED or not active:
            break
        active = _follow(relaxed, active, constraint, minimise, is_intact, f"mode{round_ + 1}")
    return relaxed


def _eigenvalue(result: Relaxed) -> float:
    return np.inf if result.mode is None else result.mode.eigenvalue


def _lowest_starts(
    potential: Potential, starts: Sequence[Sequence[Sequence[Start]]], batch: BatchSize | None
) -> tuple[list[list[Start]], list[int]]:
    """Start of lowest energy of every group, and the number of energies computed for each structure."""
    compared = [start for groups in starts for group in groups for start in group if len(group) > 1]
    structures = [structure_of(start.chain, start.q) for start in compared]
    energies = iter([evaluation.energy for evaluation in evaluate(potential, structures, forces=False, batch=batch)])
    chosen, calls = [], []
    for groups in starts:
        best = [group[0] if len(group) == 1 else min(group, key=lambda _: next(energies)) for group in groups]
        chosen.append(best)
        calls.append(sum(len(group) for group in groups if len(group) > 1))
    return chosen, calls


def _first_minima(
    starts: Sequence[Sequence[Start]], constraint: Constraint, minimise: Minimiser, search_calls: list[int]
) -> list[list[Minimised]]:
    """Minimise every start, planar ones in the mirror plane first; add the calls of the latter to `search_calls`."""
    flat = [(index, start) for index, alternatives in enumerate(starts) for start in alternatives]
    planar = [position for position, (_, start) in enumerate(flat) if is_planar(start.chain, start.q)]
    indices, crude = [flat[position][0] for position in planar], [flat[position][1] for position in planar]
    for position, index, minimised in zip(planar, indices, minimise(indices, crude, "mirror", "planar"), strict=True):
        search_calls[index] += minimised.path.force_calls
        if minimised.path.converged:
            flat[position] = index, _released(flat[position][1], minimised)
    out: list[list[Minimised]] = [[] for _ in starts]
    results = minimise([index for index, _ in flat], [start for _, start in flat], constraint, "")
    for (index, _), minimised in zip(flat, results, strict=True):
        out[index].append(minimised)
    return out


def _released(start: Start, minimised: Minimised) -> Start:
    """Start at a planar stationary point, with its in-plane Hessian and the out-of-plane one of the first start."""
    flip = reflection(tree_of(start.chain))
    odd = 0.5 * (np.eye(len(flip)) - flip)
    return replace(start, q=minimised.path.q, hessian=minimised.path.hessian + odd @ start.hessian @ odd)


def stationary_point(minimised: Minimised, constraint: Constraint) -> StationaryPoint:
    """Return the problem of the lowest mode in three dimensions, with the minimiser's Hessian as guess."""
    tree, path = tree_of(minimised.chain), minimised.path
    basis = mode_basis(tree, constraint)
    guess = None if minimised.chain.length <= WHOLE else basis.T @ path.hessian @ basis
    return StationaryPoint(tree, path.q, minimised.structure, constraint, guess)


def _follow(
    relaxed: list[Relaxed],
    active: Sequence[int],
    constraint: Constraint,
    minimise: Minimiser,
    is_intact: Callable[[Minimised], bool],
    stage: str,
) -> list[int]:
    """Minimise from steps down the modes of every active structure; return those that reached a lower point."""
    ends: dict[int, list[Minimised]] = {index: [] for index in active}
    for length, label in ((MAX_COMPONENT, stage), (SHORT_COMPONENT, f"{stage}-short")):
        # short steps lead less often to a structure that is not intact
        left = [index for index in active if not any(map(is_intact, ends[index]))]
        steps = [(index, start) for index in left for start in _steps_down(relaxed[index], constraint, length)]
        results = minimise([index for index, _ in steps], [start for _, start in steps], constraint, label)
        for (index, _), minimised in zip(steps, results, strict=True):
            ends[index].append(minimised)
    lower = []
    for index in active:
        before = relaxed[index]
        intact = sorted(filter(is_intact, ends[index]), key=lambda minimised: minimised.path.energy)
        is_lower = bool(intact) and intact[0].path.energy < before.minimised.path.energy
        kept = intact[0] if is_lower else before.minimised
        tried = (*ends[index], before.minimised)
        calls = sum(minimised.path.force_calls for minimised in tried if minimised is not kept)
        minima = tuple(sorted((*intact, *before.minima), key=lambda minimised: minimised.path.energy))
        relaxed[index] = replace(before, minimised=kept, search_calls=before.search_calls + calls, minima=minima)
        lower += [index] if is_lower else []
    return lower


def _steps_down(result: Relaxed, constraint: Constraint, max_component: float) -> list[Start]:
    """Return starts on the sides of a saddle: along its lowest mode, and along the `MOST_COMBINED` lowest together.

    Where several modes are negative, as for the free hydrogens of planar cap waters, the combinations of their signs
    lead to different minima.
    """
    minimised, mode = result.minimised, result.mode
    assert mode is not None
    chain, q, hessian = minimised.chain, minimised.path.q, minimised.path.hessian
    if mode.hessian is not None:
        basis = mode_basis(tree_of(chain), constraint)
        hessian = basis @ mode.hessian @ basis.T
    hessian = positive(hessian, SMALLEST_CURVATURE)
    combined = mode.descents[:MOST_COMBINED] if mode.hessian is not None else mode.descents[:1]
    # the other half of the signs of a planar structure are mirror images
    first = (1.0,) if is_planar(chain, q) else (1.0, -1.0)
    steps = [sign * combined[0] for sign in first]
    if len(combined) > 1:
        signs = [(sign, *others) for sign in first for others in product((1.0, -1.0), repeat=len(combined) - 1)]
        steps += list(np.array(signs) @ combined)
    return [Start(chain, q + FOLLOW * step, hessian, max_component) for step in steps]
