"""Flat lists of neighbour pairs and of pairs of neighbours, for structures of any sizes laid end to end.

Padding structures to a common size costs memory and time by the square (pairs) and cube (triples) of the largest.
Lists cost what there is: every pair and every triple of the whole batch is one row.

The symmetry functions of ANI and their derivatives by hand: sums over pairs and triples, block by block.

A block of the environment vector belongs to one atom and one neighbour element (radial) or two (angular); here it is
a row of a matrix.  An angular block is a sum of outer products of a factor of the mean distance and one of the angle,
so its derivatives need the same two small factors, and nothing is recorded for automatic differentiation.
Formulas: Smith et al., Chem. Sci. 2017, 8, 3192, with NeuroChem's 1/4 on radial terms and 0.95 on cosines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEAREST = 1e-10
"""A; what distances are divided by where two atoms coincide, to keep the result finite."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Ordered pairs (centre, other) of one structure within a cutoff; both (i, j) and (j, i), sorted by centre.

    Attributes
    ----------
    centre, other : (P,) int64 tensor
        Atoms, counted through the batch.
    distance : (P,) tensor
        A.
    unit : (P, 3) tensor
        Unit vector from centre to other.
    """

    centre: Tensor
    other: Tensor
    distance: Tensor
    unit: Tensor

    def within(self, cutoff: float) -> Pairs:
        """Those with a distance of at most `cutoff`, A, in the same order."""
        near = (self.distance <= cutoff).nonzero().flatten()
        return Pairs(self.centre[near], self.other[near], self.distance[near], self.unit[near])


def find_pairs(positions: Tensor, sizes: Sequence[int], cutoff: float) -> Pairs:
    """Every ordered pair within a cutoff.

    Distances are tried by brute force inside each structure: up to some hundred atoms that is cheaper than cells.

    Parameters
    ----------
    positions : (N, 3) tensor
        A; the structures one after the other.
    sizes
        Atoms of each structure, summing to N.
    cutoff
        A.
    """
    device, total = positions.device, sum(sizes)
    size = torch.tensor(sizes, device=device)
    first = torch.cumsum(size, 0) - size
    mates = size.repeat_interleave(size, output_size=total)
    tried = sum(n * n for n in sizes)
    centre = torch.arange(total, device=device).repeat_interleave(mates, output_size=tried)
    # Row r of atom i's block is the r-th atom of its structure.
    skipped = first.repeat_interleave(size, output_size=total) - (torch.cumsum(mates, 0) - mates)
    other = torch.arange(tried, device=device) + skipped[centre]
    squared = (positions[other] - positions[centre]).square().sum(1)
    near = ((squared <= cutoff * cutoff) & (centre != other)).nonzero().flatten()
    centre, other = centre[near], other[near]
    vector = positions[other] - positions[centre]
    distance = squared[near].sqrt()
    return Pairs(centre, other, distance, vector / distance.clamp(min=NEAREST).unsqueeze(1))


def find_triples(pairs: Pairs, atoms: int) -> tuple[Tensor, Tensor]:
    """Every unordered pair of neighbours of every atom.

    Parameters
    ----------
    pairs
        Neighbours, sorted by centre.
    atoms
        N, of the whole batch.

    Returns
    -------
    tuple of (T,) int64 tensors
        Two rows of `pairs` with the same centre, the later one first.
    """
    device, count = pairs.centre.device, len(pairs.centre)
    neighbours = torch.bincount(pairs.centre, minlength=atoms)
    first = torch.cumsum(neighbours, 0) - neighbours
    rows = torch.arange(count, device=device)
    start = first[pairs.centre]
    earlier = rows - start  # each neighbour meets all those before it
    later = rows.repeat_interleave(earlier)
    skipped = start - (torch.cumsum(earlier, 0) - earlier)
    return later, torch.arange(len(later), device=device) + skipped[later]


_COSINE_SCALE = 0.95  # keeps the angle's derivative finite where three atoms are in line
_RADIAL_SCALE = 0.25


@dataclass(frozen=True, slots=True)
class Constants:
    """Parameters of the descriptor, as in a NeuroChem ``*.params`` file; tensors in the type and place of the work.

    Attributes
    ----------
    elements : int
        How many elements the model knows.
    radial_cutoff, angular_cutoff : float
        A.
    radial_eta, angular_eta : float
        Widths of the Gaussians, 1/A^2.
    radial_shifts : (R,) tensor
        Centres of the radial Gaussians, A.
    angular_shifts : (A,) tensor
        Centres of the Gaussians of the mean distance, A.
    zeta : float
        Sharpness of the angle's factor.
    angles : (Z,) tensor
        Centres of the angle's factor, rad.
    """

    elements: int
    radial_cutoff: float
    angular_cutoff: float
    radial_eta: float
    radial_shifts: Tensor
    angular_eta: float
    angular_shifts: Tensor
    zeta: float
    angles: Tensor

    @property
    def radial_width(self) -> int:
        """Columns of a radial block."""
        return len(self.radial_shifts)

    @property
    def angular_width(self) -> int:
        """Columns of an angular block: distance shifts x angles, angles running fastest."""
        return len(self.angular_shifts) * len(self.angles)


def _switch(distance: Tensor, cutoff: float) -> Tensor:
    return 0.5 + 0.5 * torch.cos(distance * (math.pi / cutoff))


def _switch_slope(distance: Tensor, cutoff: float) -> Tensor:
    return (-0.5 * math.pi / cutoff) * torch.sin(distance * (math.pi / cutoff))


def _to_positions(pairs: Pairs, along: Tensor, positions: Tensor) -> None:
    """Add dE/d(vector of each pair), (P, 3), to dE/d(positions), (N, 3)."""
    positions.index_add_(0, pairs.other, along).index_add_(0, pairs.centre, along, alpha=-1)


@dataclass(frozen=True, slots=True)
class RadialTerms:
    """One row per pair, added to the block `row` of its centre.

    Attributes
    ----------
    row : (P,) int64 tensor
    beyond : (P, R) tensor
        Distance less each shift, A.
    gaussian : (P, R) tensor
    switch : (P, 1) tensor
        Cutoff function.
    """

    constants: Constants
    pairs: Pairs
    row: Tensor
    beyond: Tensor
    gaussian: Tensor
    switch: Tensor

    @classmethod
    def of(cls, constants: Constants, pairs: Pairs, row: Tensor) -> RadialTerms:
        """The terms of pairs within the radial cutoff."""
        distance = pairs.distance.unsqueeze(1)
        beyond = distance - constants.radial_shifts
        gaussian = torch.exp(-constants.radial_eta * beyond.square()).mul_(_RADIAL_SCALE)
        return cls(constants, pairs, row, beyond, gaussian, _switch(distance, constants.radial_cutoff))

    def blocks(self, rows: int) -> Tensor:
        """The (rows, R) blocks."""
        blocks = self.gaussian.new_zeros((rows, self.constants.radial_width))
        return blocks.index_add_(0, self.row, self.gaussian * self.switch)

    def add_gradient(self, slopes: Tensor, positions: Tensor) -> None:
        """Add to dE/d(positions), (N, 3), what dE/d(blocks), (rows, R), makes of it."""
        pulls = slopes.index_select(0, self.row).mul_(self.gaussian)
        # d(gaussian)/d(distance) = -2 eta beyond gaussian
        bend = (pulls * self.beyond).sum(1, keepdim=True) * (-2 * self.constants.radial_eta)
        fade = _switch_slope(self.pairs.distance, self.constants.radial_cutoff).unsqueeze(1)
        along = bend * self.switch + pulls.sum(1, keepdim=True) * fade
        _to_positions(self.pairs, along * self.pairs.unit, positions)


@dataclass(frozen=True, slots=True)
class AngularTerms:
    """One row per triple, added to the block `row` of its centre: weight x outer product of `gaussian` and `lobe`.

    Attributes
    ----------
    one, two : (T,) int64 tensor
        Rows of `pairs`.
    row : (T,) int64 tensor
    switch_one, switch_two : (T,) tensor
        Cutoff functions of the two pairs.
    cosine : (T, 1) tensor
        Scaled cosine of the angle.
    beyond : (T, A) tensor
        Mean distance less each shift, A.
    gaussian : (T, A) tensor
        The factor of the distances.
    base, lobe : (T, Z) tensor
        (1 + cos(angle - centre)) / 2, and that to the power of zeta, the factor of the angle.
    """

    constants: Constants
    pairs: Pairs
    one: Tensor
    two: Tensor
    row: Tensor
    switch_one: Tensor
    switch_two: Tensor
    cosine: Tensor
    beyond: Tensor
    gaussian: Tensor
    base: Tensor
    lobe: Tensor

    @classmethod
    def of(cls, constants: Constants, pairs: Pairs, triples: tuple[Tensor, Tensor], row: Tensor) -> AngularTerms:
        """The terms of triples of `pairs` within the angular cutoff."""
        one, two = triples
        switch = _switch(pairs.distance, constants.angular_cutoff)
        cosine = _COSINE_SCALE * (pairs.unit[one] * pairs.unit[two]).sum(1, keepdim=True)
        mean = 0.5 * (pairs.distance[one] + pairs.distance[two])
        beyond = mean.unsqueeze(1) - constants.angular_shifts
        gaussian = torch.exp(-constants.angular_eta * beyond.square())
        # cos(angle - centre), without the angle itself
        base = cosine * torch.cos(constants.angles) + _sine(cosine) * torch.sin(constants.angles)
        base = base.mul_(0.5).add_(0.5)
        lobe = base**constants.zeta
        return cls(constants, pairs, one, two, row, switch[one], switch[two], cosine, beyond, gaussian, base, lobe)

    @property
    def _weight(self) -> Tensor:
        return 2 * self.switch_one * self.switch_two

    def blocks(self, rows: int) -> Tensor:
        """The (rows, A x Z) blocks."""
        blocks = self.lobe.new_zeros((rows, self.constants.angular_width))
        terms = (self._weight.unsqueeze(1) * self.gaussian).unsqueeze(2) * self.lobe.unsqueeze(1)
        return blocks.index_add_(0, self.row, terms.flatten(1))

    def add_gradient(self, slopes: Tensor, positions: Tensor) -> None:
        """Add to dE/d(positions), (N, 3), what dE/d(blocks), (rows, A x Z), makes of it."""
        shape = len(self.row), len(self.constants.angular_shifts), len(self.constants.angles)
        pulls = slopes.index_select(0, self.row).reshape(shape)
        by_distance = (pulls @ self.lobe.unsqueeze(2)).squeeze(2).mul_(self.gaussian)
        by_angle = (pulls @ self._lobe_slope().unsqueeze(2)).squeeze(2).mul_(self.gaussian)
        weight, whole = self._weight, 2 * by_distance.sum(1)
        # d(gaussian)/d(distance) = -2 eta beyond gaussian / 2, the mean being of two distances
        bend = (by_distance * self.beyond).sum(1) * weight * -self.constants.angular_eta
        turn = (by_angle.sum(1) * weight).unsqueeze(1)
        self._add_to_pairs(bend, (whole * self.switch_two, whole * self.switch_one), turn, positions)

    def _lobe_slope(self) -> Tensor:
        """(T, Z): d(lobe)/d(cosine of the angle, unscaled)."""
        angles = self.constants.angles
        tilt = torch.cos(angles) - (self.cosine / _sine(self.cosine)) * torch.sin(angles)
        return tilt.mul_(0.5 * _COSINE_SCALE * self.constants.zeta).mul_(self.lobe).div_(self.base)

    def _add_to_pairs(self, bend: Tensor, fade: tuple[Tensor, Tensor], turn: Tensor, positions: Tensor) -> None:
        """From derivatives by distance, by the two cutoff functions and by cosine to those by position."""
        unit, distance = self.pairs.unit, self.pairs.distance
        stretch = torch.zeros_like(distance).index_add_(0, self.one, bend).index_add_(0, self.two, bend)
        faded = torch.zeros_like(distance).index_add_(0, self.one, fade[0]).index_add_(0, self.two, fade[1])
        stretch += faded * _switch_slope(distance, self.constants.angular_cutoff)
        turned = torch.zeros_like(unit).index_add_(0, self.one, turn * unit[self.two])
        turned.index_add_(0, self.two, turn * unit[self.one])
        # Only the part across a pair turns it.
        across = (turned - (turned * unit).sum(1, keepdim=True) * unit) / distance.clamp(min=NEAREST).unsqueeze(1)
        _to_positions(self.pairs, stretch.unsqueeze(1) * unit + across, positions)


def _sine(cosine: Tensor) -> Tensor:
    return torch.sqrt(1 - cosine.square())
