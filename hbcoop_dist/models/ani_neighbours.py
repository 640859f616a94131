"""Flat lists of neighbour pairs and of pairs of neighbours, for structures of any sizes laid end to end.

Padding structures to a common size costs memory and time by the square (pairs) and cube (triples) of the largest.
Lists cost what there is: every pair and every triple of the whole batch is one row.
"""

from __future__ import annotations

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
