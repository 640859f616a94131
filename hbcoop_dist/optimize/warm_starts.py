"""Warm starts: geometry and Hessian of a chain assembled from minimised shorter chains.

An element of a chain is a molecule with its body coordinates, or the joint that attaches it. Every element takes its
values from the element of a shorter chain with the same conformer or rotamer and the most similar distances to head and
tail; Hessian blocks between two elements come from the most similar pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.optimize.constraints import TORSIONS, Constraint, odd_basis, reflection
from hbcoop_dist.optimize.minimization import Start, guess_hessian, positive
from hbcoop_dist.structures import Chain
from hbcoop_dist.structures.monomers import crude_start, tree_of
from hbcoop_dist.structures.tree_coordinates import Tree

FAR = 3
"""Units beyond which the distance to an end of the chain does not count."""
REACH = 6
"""Elements (two per unit) over which couplings are copied."""
JUNCTION = 2
"""Elements before the first one from a seed that decide between the seed and its mirror image."""
PERIODIC = 5
"""Shortest chain in which a period of two units of the methyls shows."""
SAME = 1.0e-4
"""Largest difference of the coordinates, A or rad, of starts that count as the same."""
_TIE = 1.0e-3
OUT_OF_PLANE = 0.03
"""Largest out-of-plane displacement of a start, A or rad."""
SMALLEST_CURVATURE = 0.01
"""Smallest curvature of a first Hessian, eV/A^2 or eV/rad^2; blocks from several chains may give smaller ones."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A minimised shorter chain.

    Attributes
    ----------
    chain : Chain
    q : (n_q,) array
        Tree coordinates.
    hessian : (n_q, n_q) array
        BFGS Hessian in tree coordinates.
    """

    chain: Chain
    q: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True)
class Monomer:
    """Body coordinates and Hessian of an isolated unit or water.

    Attributes
    ----------
    s : (n_dof,) array
    hessian : (n_dof, n_dof) array
        eV/A^2.
    """

    s: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a chain.

    Attributes
    ----------
    where : slice
        Of q.
    sort : tuple
        Only elements of one sort can replace one another.
    neighbours : tuple
        Conformers of the adjacent H-bonds, and the capping.
    place : int
        Position along the chain, counted in elements.
    before, after : int
        Units between the element and the two ends.
    """

    where: slice
    sort: tuple[object, ...]
    neighbours: tuple[object, ...]
    place: int
    before: int
    after: int


def warm_start(chain: Chain, seeds: Sequence[Seed], units: Sequence[Monomer], waters: Sequence[Monomer]) -> Start:
    """Assemble the start of a chain from shorter ones.

    Parameters
    ----------
    chain : Chain
    seeds : sequence of Seed
        Shorter chains and isolated dimers, minimised under the same constraint, in ascending length.
    units : sequence of Monomer
        Isolated unit, in the right rotamer, for every unit of the chain.
    waters : sequence of Monomer
        Isolated waters of the caps; empty for a bare chain.

    Returns
    -------
    Start
    """
    return _start(chain, _Alignments(chain, seeds), units, waters)


def alternative_starts(
    chain: Chain, seeds: Sequence[Seed], units: Sequence[Monomer], waters: Sequence[Monomer]
) -> list[list[Start]]:
    """Assemble starts of a chain that may leave the mirror plane, whose methyls may turn in several ways.

    Seeds may be copied from the head or from the tail first, as they are or as mirror images. In some models the angles
    of the methyls have a period of two units (SO3LR, arcs of five and more units), which only seeds at an even distance
    along the chain continue.

    Parameters
    ----------
    chain, seeds, units, waters
        As for `warm_start`.

    Returns
    -------
    list of list of Start
        Groups of different starts. Within a group the start of lowest energy leads to the minimum; every group has a
        minimum of its own.
    """

    def starts(from_seeds: Sequence[Seed], *rules: _Rule) -> list[Start]:
        return [_start(chain, _Alignments(chain, from_seeds, rule), units, waters) for rule in rules]

    head, tail = ([_Rule(sign * _TIE, flipped) for flipped in (False, True)] for sign in (1.0, -1.0))
    if chain.length == 2 or not seeds:
        groups = [starts(seeds, _Rule())]
    elif chain.length == 3:
        groups = [starts(seeds, *head), starts(seeds, *tail)]
    elif chain.length <= PERIODIC:
        groups = [starts(seeds, *head, *tail)]
        shorter = [seed for seed in seeds if seed.chain.length == chain.length - 2 > 2]
        groups += [starts(shorter, _Rule(-_TIE, even=True))] if shorter else []
    else:
        groups = [starts(seeds, *tail, _Rule(_TIE), _Rule(-_TIE, even=True))]
    return different_starts(groups)


def different_starts(groups: Sequence[Sequence[Start]]) -> list[list[Start]]:
    """Return groups of starts without those that occurred before."""
    known: list[FloatArray] = []
    out: list[list[Start]] = []
    for group in groups:
        kept = []
        for start in group:
            if not any(np.allclose(start.q, q, rtol=0.0, atol=SAME) for q in known):
                known.append(start.q)
                kept.append(start)
        out += [kept] if kept else []
    return out


def _start(chain: Chain, alignments: _Alignments, units: Sequence[Monomer], waters: Sequence[Monomer]) -> Start:
    q = crude_start(chain, [unit.s for unit in units])
    hessian = guess_hessian(tree_of(chain), [body.hessian for body in (*units, *waters)])
    for index, element in enumerate(alignments.elements):
        if match := alignments.most_similar((element,)):
            known = alignments.elements[max(index - JUNCTION, 0) : index]
            q[element.where] = alignments.image(match, q, known).q[match.elements[0].where]
    return Start(chain, q, positive(_transplanted(alignments, hessian, q), SMALLEST_CURVATURE))


def leave_plane(chain: Chain, q: FloatArray, constraint: Constraint) -> FloatArray:
    """Displace a start slightly and reproducibly out of the mirror plane, at constant phi1 and phi2.

    A planar start stays planar by symmetry under any constraint, even at a saddle, and would leave the plane only
    through round-off: in some chains, and not in their isolated dimers.

    Parameters
    ----------
    chain : Chain
    q : (n_q,) array
        Tree coordinates of a planar start.
    constraint : {"mirror", "torsions", "none"}

    Returns
    -------
    (n_q,) array
        Under ``mirror`` unchanged.
    """
    if constraint == "mirror":
        return q
    basis = odd_basis(tree_of(chain))
    return q + basis @ np.random.default_rng(0).uniform(-OUT_OF_PLANE, OUT_OF_PLANE, basis.shape[1])


def transplant_hessian(chain: Chain, seeds: Sequence[Seed], hessian: FloatArray) -> FloatArray:
    """Replace the blocks of a Hessian of a planar chain by those of similar pairs of elements in shorter chains.

    Parameters
    ----------
    chain : Chain
    seeds : sequence of Seed
        Shorter chains, in ascending length.
    hessian : (n_q, n_q) array
        In tree coordinates; blocks without counterpart in any seed are kept.

    Returns
    -------
    (n_q, n_q) array
        Symmetric.
    """
    return _transplanted(_Alignments(chain, seeds), hessian, None)


def _transplanted(alignments: _Alignments, hessian: FloatArray, q: FloatArray | None) -> FloatArray:
    """Hessian with the blocks of seeds, or of those of their mirror images that fit to q."""
    out, elements = hessian.copy(), alignments.elements
    for first in elements:
        for second in elements:
            near = first.place <= second.place <= first.place + REACH
            if near and (match := alignments.most_similar((first, second))):
                seed = match.seed if q is None else alignments.image(match, q, elements)
                row, column = match.elements
                block = seed.hessian[row.where, column.where]
                out[first.where, second.where] = block
                out[second.where, first.where] = block.T
    return out


def mirror_image(tree: Tree, q: FloatArray) -> FloatArray:
    """Return the tree coordinates (n_q,) of the mirror image of a structure, its torsions within half a turn."""
    out = reflection(tree) @ q
    for index, joint in enumerate(tree.joints):
        if joint is not None:
            torsions = tree.joint_slice(index).start + np.array(TORSIONS)
            out[torsions] += 2 * np.pi * np.round(q[torsions] / np.pi)
    return out


@dataclass(frozen=True, slots=True)
class _Match:
    """Elements of a seed that resemble some of a longer chain, `offset` places further towards the tail there."""

    seed: Seed
    elements: tuple[_Element, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """How seeds are laid along a chain.

    Attributes
    ----------
    tie : float
        Dissimilarity per place of the offset: of equally similar elements a negative one prefers those near the tail.
    flipped : bool
        Whether seeds at an odd distance take the mirror image that fits worse.
    even : bool
        Whether seeds are laid at even distances only.
    """

    tie: float = 0.0
    flipped: bool = False
    even: bool = False


class _Alignments:
    """Shorter chains laid along a longer one.

    A structure out of the mirror plane and its mirror image have equal energies, and neighbouring units may turn their
    methyls in opposite directions. A seed that is laid one unit further along the chain is therefore mirrored where
    that fits better to the elements before it.
    """

    def __init__(self, chain: Chain, seeds: Sequence[Seed], rule: _Rule | None = None) -> None:
        self._rule = rule or _Rule()
        self.elements = _elements(chain)
        self._tree = tree_of(chain)
        self._sources = [(seed, _elements(seed.chain)) for seed in seeds]
        self._images: dict[tuple[int, int], Seed] = {}

    def most_similar(self, targets: tuple[_Element, ...]) -> _Match | None:
        """Most similar element, or pair of elements at the same offset; among equals that of the last seed."""
        lowest, match = np.inf, None
        for seed, elements in self._sources:
            for first in elements:
                offset = targets[0].place - first.place
                candidates = _at_same_offsets(targets, first, elements)
                if not candidates or (self._rule.even and _is_odd(offset)):
                    continue
                dissimilarity = sum(_dissimilarity(a, b) for a, b in zip(targets, candidates, strict=True))
                dissimilarity += self._rule.tie * offset
                if dissimilarity <= lowest:
                    lowest, match = dissimilarity, _Match(seed, candidates, offset)
        return match

    def image(self, match: _Match, q: FloatArray, known: Sequence[_Element]) -> Seed:
        """Return the seed of a match or its mirror image, whichever fits better to the `known` elements of q."""
        key = id(match.seed), match.offset
        if key not in self._images:
            tree = tree_of(match.seed.chain)
            mirrored = mirror_image(tree, match.seed.q)
            ours, theirs = q - mirror_image(self._tree, q), match.seed.q - mirrored
            places = {(element.place, element.sort): element for element in _elements(match.seed.chain)}
            overlap = 0.0
            for element in known:
                if source := places.get((element.place - match.offset, element.sort)):
                    overlap += float(ours[element.where] @ theirs[source.where])
            if (overlap < 0.0) != (self._rule.flipped and _is_odd(match.offset)):
                flip = reflection(tree)
                self._images[key] = Seed(match.seed.chain, mirrored, flip @ match.seed.hessian @ flip)
            else:
                self._images[key] = match.seed
        return self._images[key]


def _elements(chain: Chain) -> tuple[_Element, ...]:
    """Elements in chain order; `place` counts along the chain, so that the offsets of two pairs can be compared."""
    tree, n = tree_of(chain), chain.length
    conformers = (None, *chain.conformers, None)
    out: list[_Element] = []
    sort: tuple[object, ...]
    for k in range(n):
        sort, neighbours = ("unit", chain.rotamers[k]), (conformers[k], conformers[k + 1], chain.capping)
        out.append(_Element(tree.body_slice(k), sort, neighbours, 2 * k, k, n - 1 - k))
        if k:
            sort, neighbours = ("H-bond", conformers[k]), (conformers[k - 1], conformers[k + 1], chain.capping)
            out.append(_Element(tree.joint_slice(k), sort, neighbours, 2 * k - 1, k - 1, n - 1 - k))
    for water in range(len(tree.bodies) - n):
        at_tail = water > 0
        end = conformers[n - 1] if at_tail else conformers[1]
        places = (2 * n - 1 + 2 * water, 2 * n + 2 * water) if at_tail else (-2, -1)
        slices = (tree.joint_slice(n + water), tree.body_slice(n + water))
        for part, place, where in zip(("joint", "body"), places, slices, strict=True):
            ends = (n, 0) if at_tail else (0, n)
            out.append(_Element(where, ("water", water, part), (end,), place, *ends))
    return tuple(out)


def _is_odd(offset: int) -> bool:
    """Whether an offset, in places, is an odd number of units."""
    return offset // 2 % 2 == 1


def _at_same_offsets(
    targets: tuple[_Element, ...], first: _Element, elements: tuple[_Element, ...]
) -> tuple[_Element, ...] | None:
    """`first` and the elements at the same offsets from it as in `targets`; None unless all have the right sort."""
    if first.sort != targets[0].sort:
        return None
    out = [first]
    for target in targets[1:]:
        place = first.place + target.place - targets[0].place
        out += [element for element in elements if element.place == place and element.sort == target.sort]
    return tuple(out) if len(out) == len(targets) else None


def _dissimilarity(a: _Element, b: _Element) -> float:
    """Dissimilarity of two elements of one sort, from their neighbours and their distances to the ends."""
    neighbours = sum(4.0 for of_a, of_b in zip(a.neighbours, b.neighbours, strict=True) if of_a != of_b)
    ends = (min(a.before, FAR) - min(b.before, FAR)) ** 2 + (min(a.after, FAR) - min(b.after, FAR)) ** 2
    return neighbours + ends
