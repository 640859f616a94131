"""Warm starts: geometry and Hessian of a chain put together from shorter ones, element by element.

An element is a molecule's own coordinates or the joint it hangs by.  Each takes its values from the element of a
shorter chain that has the same conformer or rotamer and sits most alike between head and tail; Hessian blocks between
two elements come from the pair that lies most alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.optimize.constraints import Constraint, odd_basis
from hbcoop_dist.optimize.hessians import guess_hessian, positive
from hbcoop_dist.optimize.minimization import Start
from hbcoop_dist.structures import Chain
from hbcoop_dist.structures.construction import crude_start, tree_of

FloatArray = NDArray[np.float64]

FAR = 3
"""Units beyond which the distance to an end of the chain no longer counts."""
REACH = 6
"""Elements (two to a unit) over which couplings are copied."""
KICK = 0.03
"""Largest first step out of the plane, A or rad."""
SOFTEST = 0.01
"""Curvatures below this, eV/A^2 or eV/rad^2, are mended: blocks from several chains need not fit together."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A minimised shorter chain: its coordinates q (n_q,) and BFGS Hessian (n_q, n_q)."""

    system: Chain
    q: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True)
class Monomer:
    """What a unit, or a water, starts from when no chain has its like: body coordinates and Hessian."""

    s: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a chain: where it stands in q, and what makes it alike to another."""

    where: slice
    sort: tuple[object, ...]
    beside: tuple[object, ...]
    place: int
    before: int
    after: int


def warm_start(system: Chain, seeds: Sequence[Seed], units: Sequence[Monomer], waters: Sequence[Monomer]) -> Start:
    """The start of a chain from shorter ones.

    Parameters
    ----------
    system : Chain
    seeds : sequence of Seed
        Shorter chains (and isolated dimers), minimised under the same constraint.
    units : sequence of Monomer
        The isolated unit of every unit of the chain, in its rotamer.
    waters : sequence of Monomer
        The four isolated waters of the caps; empty for a bare chain.

    Returns
    -------
    Start
    """
    tree = tree_of(system)
    q = crude_start(system, [unit.s for unit in units])
    hessian = guess_hessian(tree, [body.hessian for body in (*units, *waters)])
    known = [(seed, _elements(seed.system)) for seed in seeds]
    for one in _elements(system):
        if match := _best((one,), known):
            seed, (like,) = match
            q[one.where] = seed.q[like.where]
    return Start(system, q, positive(transplant_hessian(system, seeds, hessian), SOFTEST))


def leave_plane(system: Chain, q: FloatArray, constraint: Constraint) -> FloatArray:
    """The same start a little out of the mirror plane, the same little every time, phi1 and phi2 untouched.

    A planar start keeps its plane by symmetry under any constraint, also where it is a saddle: some chains would then
    leave it by round-off, and others, or their isolated dimers, not.
    """
    if constraint == "mirror":
        return q
    basis = odd_basis(tree_of(system))
    return q + basis @ np.random.default_rng(0).uniform(-KICK, KICK, basis.shape[1])


def transplant_hessian(system: Chain, seeds: Sequence[Seed], hessian: FloatArray) -> FloatArray:
    """A Hessian in tree coordinates (n_q, n_q) with every block some seed has its like of put in; symmetric.

    Blocks no seed has stay as they are in `hessian`.
    """
    out = hessian.copy()
    elements = _elements(system)
    known = [(seed, _elements(seed.system)) for seed in seeds]
    for one in elements:
        for other in elements:
            near = one.place <= other.place <= one.place + REACH
            if near and (match := _best((one, other), known)):
                seed, (like, second) = match
                block = seed.hessian[like.where, second.where]
                out[one.where, other.where] = block
                out[other.where, one.where] = block.T
    return out


def _elements(system: Chain) -> tuple[_Element, ...]:
    """Elements in chain order; `place` counts along the chain, so that two pairs can be seen to lie alike."""
    tree, n = tree_of(system), system.length
    around = (None, *system.conformers, None)
    out: list[_Element] = []
    sort: tuple[object, ...]
    for k in range(n):
        sort = ("unit", system.rotamers[k])
        out.append(_Element(tree.body_slice(k), sort, (around[k], around[k + 1], system.capping), 2 * k, k, n - 1 - k))
        if k:
            sort = ("H-bond", around[k])
            beside = (around[k - 1], around[k + 1], system.capping)
            out.append(_Element(tree.joint_slice(k), sort, beside, 2 * k - 1, k - 1, n - 1 - k))
    for water in range(len(tree.bodies) - n):
        at_tail = water > 0
        end = around[n - 1] if at_tail else around[1]
        places = (2 * n - 1 + 2 * water, 2 * n + 2 * water) if at_tail else (-2, -1)
        wheres = (tree.joint_slice(n + water), tree.body_slice(n + water))
        for part, place, where in zip(("joint", "body"), places, wheres, strict=True):
            ends = (n, 0) if at_tail else (0, n)
            out.append(_Element(where, ("water", water, part), (end,), place, *ends))
    return tuple(out)


Known = Sequence[tuple[Seed, tuple[_Element, ...]]]


def _best(wanted: tuple[_Element, ...], known: Known) -> tuple[Seed, tuple[_Element, ...]] | None:
    """The most alike element, or pair of elements as far apart; of equals, those of the last (longest) seed."""
    best, found = np.inf, None
    for seed, elements in known:
        for first in elements:
            like = _shifted(wanted, first, elements)
            if like and (cost := sum(_cost(a, b) for a, b in zip(wanted, like, strict=True))) <= best:
                best, found = cost, (seed, like)
    return found


def _shifted(
    wanted: tuple[_Element, ...], first: _Element, elements: tuple[_Element, ...]
) -> tuple[_Element, ...] | None:
    """`first` and what stands beside it as the wanted elements stand beside one another, if they are of that sort."""
    if first.sort != wanted[0].sort:
        return None
    out = [first]
    for other in wanted[1:]:
        place = first.place + other.place - wanted[0].place
        out += [e for e in elements if e.place == place and e.sort == other.sort]
    return tuple(out) if len(out) == len(wanted) else None


def _cost(one: _Element, other: _Element) -> float:
    """How unlike two elements of one sort are: what is bound to them, and how far the ends are."""
    cost = sum(4.0 for a, b in zip(one.beside, other.beside, strict=True) if a != b)
    cost += (min(one.before, FAR) - min(other.before, FAR)) ** 2
    return cost + (min(one.after, FAR) - min(other.after, FAR)) ** 2
