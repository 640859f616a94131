"""Neighbour lists and symmetry functions of ANI, with analytic derivatives, for structures of any sizes.

All pairs and triples of a batch are rows of flat lists, without padding: padding to a common size would cost memory and
time that grow with the square (pairs) and cube (triples) of the largest size.

A block of the environment vector belongs to one atom and one neighbour element (radial) or two (angular); here it is a
row of a matrix. An angular block is a sum of outer products of a factor of the mean distance and a factor of the angle;
its derivatives need the same two small factors, and no automatic differentiation. Formulas: Smith et al., Chem. Sci.
2017, 8, 3192, with NeuroChem's factors 1/4 in radial terms and 0.95 in cosines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEAREST = 1e-10
"""Smallest divisor in place of a distance, A, so that results are finite where two atoms coincide."""


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
        """Select the pairs within a smaller cutoff, in the same order.

        Parameters
        ----------
        cutoff : float
            A.
        """
        near = (self.distance <= cutoff).nonzero().flatten()
        return Pairs(self.centre[near], self.other[near], self.distance[near], self.unit[near])


def find_pairs(positions: Tensor, sizes: Sequence[int], cutoff: float) -> Pairs:
    """Find all ordered pairs within a cutoff.

    All distances in a structure are computed, which is faster than cell lists for up to some hundred atoms.

    Parameters
    ----------
    positions : (N, 3) tensor
        A; the structures one after the other.
    sizes : sequence of int
        Number of atoms of each structure; their sum is N.
    cutoff : float
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
    """Find all unordered pairs of neighbours of every atom.

    Parameters
    ----------
    pairs : Pairs
        Neighbours, sorted by centre.
    atoms : int
        Number N of atoms of the batch.

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
    earlier = rows - start  # each neighbour is paired with all those before it
    later = rows.repeat_interleave(earlier)
    skipped = start - (torch.cumsum(earlier, 0) - earlier)
    return later, torch.arange(len(later), device=device) + skipped[later]


_COSINE_SCALE = 0.95  # keeps the angle's derivative finite where three atoms are in line
_RADIAL_SCALE = 0.25


@dataclass(frozen=True, slots=True)
class Constants:
    """Parameters of the descriptor, as in a NeuroChem ``*.params`` file.

    Attributes
    ----------
    elements : int
        Number of elements of the model.
    radial_cutoff, angular_cutoff : float
        A.
    radial_eta, angular_eta : float
        Widths of the Gaussians, 1/A^2.
    radial_shifts : (R,) tensor
        Centres of the radial Gaussians, A.
    angular_shifts : (A,) tensor
        Centres of the Gaussians of the mean distance, A.
    zeta : float
        Exponent of the angular factor.
    angles : (Z,) tensor
        Centres of the angular factor, rad.
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
        """Compute the terms of pairs within the radial cutoff.

        Parameters
        ----------
        constants : Constants
        pairs : Pairs
        row : (P,) int64 tensor
        """
        distance = pairs.distance.unsqueeze(1)
        beyond = distance - constants.radial_shifts
        gaussian = torch.exp(-constants.radial_eta * beyond.square()).mul_(_RADIAL_SCALE)
        return cls(constants, pairs, row, beyond, gaussian, _switch(distance, constants.radial_cutoff))

    def blocks(self, rows: int) -> Tensor:
        """Sum the terms into a (rows, R) matrix of blocks.

        Parameters
        ----------
        rows : int
        """
        blocks = self.gaussian.new_zeros((rows, self.constants.radial_width))
        return blocks.index_add_(0, self.row, self.gaussian * self.switch)

    def add_gradient(self, slopes: Tensor, positions: Tensor) -> None:
        """Add the gradient by the positions.

        Parameters
        ----------
        slopes : (rows, R) tensor
            dE/d(blocks).
        positions : (N, 3) tensor
            dE/d(positions), which is added to.
        """
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
        Factor of the distances.
    base, lobe : (T, Z) tensor
        (1 + cos(angle - centre)) / 2, and its power of zeta, the angular factor.
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
        """Compute the terms of triples of `pairs` within the angular cutoff.

        Parameters
        ----------
        constants : Constants
        pairs : Pairs
        triples : tuple of (T,) int64 tensors
            From `find_triples`.
        row : (T,) int64 tensor
        """
        one, two = triples
        switch = _switch(pairs.distance, constants.angular_cutoff)
        cosine = _COSINE_SCALE * (pairs.unit[one] * pairs.unit[two]).sum(1, keepdim=True)
        mean = 0.5 * (pairs.distance[one] + pairs.distance[two])
        beyond = mean.unsqueeze(1) - constants.angular_shifts
        gaussian = torch.exp(-constants.angular_eta * beyond.square())
        # cos(angle - centre) from the cosine of the angle
        base = cosine * torch.cos(constants.angles) + _sine(cosine) * torch.sin(constants.angles)
        base = base.mul_(0.5).add_(0.5)
        lobe = base**constants.zeta
        return cls(constants, pairs, one, two, row, switch[one], switch[two], cosine, beyond, gaussian, base, lobe)

    @property
    def _weight(self) -> Tensor:
        return 2 * self.switch_one * self.switch_two

    def blocks(self, rows: int) -> Tensor:
        """Sum the terms into a (rows, A x Z) matrix of blocks.

        Parameters
        ----------
        rows : int
        """
        blocks = self.lobe.new_zeros((rows, self.constants.angular_width))
        terms = (self._weight.unsqueeze(1) * self.gaussian).unsqueeze(2) * self.lobe.unsqueeze(1)
        return blocks.index_add_(0, self.row, terms.flatten(1))

    def add_gradient(self, slopes: Tensor, positions: Tensor) -> None:
        """Add the gradient by the positions.

        Parameters
        ----------
        slopes : (rows, A x Z) tensor
            dE/d(blocks).
        positions : (N, 3) tensor
            dE/d(positions), which is added to.
        """
        shape = len(self.row), len(self.constants.angular_shifts), len(self.constants.angles)
        pulls = slopes.index_select(0, self.row).reshape(shape)
        by_distance = (pulls @ self.lobe.unsqueeze(2)).squeeze(2).mul_(self.gaussian)
        by_angle = (pulls @ self._lobe_slope().unsqueeze(2)).squeeze(2).mul_(self.gaussian)
        weight, whole = self._weight, 2 * by_distance.sum(1)
        # d(gaussian)/d(distance) = -2 eta beyond gaussian / 2 for the mean of two distances
        bend = (by_distance * self.beyond).sum(1) * weight * -self.constants.angular_eta
        turn = (by_angle.sum(1) * weight).unsqueeze(1)
        self._add_to_pairs(bend, (whole * self.switch_two, whole * self.switch_one), turn, positions)

    def _lobe_slope(self) -> Tensor:
        """(T, Z): d(lobe)/d(cosine of the angle, unscaled)."""
        angles = self.constants.angles
        tilt = torch.cos(angles) - (self.cosine / _sine(self.cosine)) * torch.sin(angles)
        return tilt.mul_(0.5 * _COSINE_SCALE * self.constants.zeta).mul_(self.lobe).div_(self.base)

    def _add_to_pairs(self, bend: Tensor, fade: tuple[Tensor, Tensor], turn: Tensor, positions: Tensor) -> None:
        """Apply the chain rule from distances, cutoff functions and cosines to positions."""
        unit, distance = self.pairs.unit, self.pairs.distance
        stretch = torch.zeros_like(distance).index_add_(0, self.one, bend).index_add_(0, self.two, bend)
        faded = torch.zeros_like(distance).index_add_(0, self.one, fade[0]).index_add_(0, self.two, fade[1])
        stretch += faded * _switch_slope(distance, self.constants.angular_cutoff)
        turned = torch.zeros_like(unit).index_add_(0, self.one, turn * unit[self.two])
        turned.index_add_(0, self.two, turn * unit[self.one])
        # Only the component perpendicular to a pair changes its direction.
        across = (turned - (turned * unit).sum(1, keepdim=True) * unit) / distance.clamp(min=NEAREST).unsqueeze(1)
        _to_positions(self.pairs, stretch.unsqueeze(1) * unit + across, positions)


def _sine(cosine: Tensor) -> Tensor:
    return torch.sqrt(1 - cosine.square())
