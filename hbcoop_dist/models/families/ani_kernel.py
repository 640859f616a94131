"""Atomic environment vectors of a ragged batch, and the atomic networks of an ensemble, with analytic gradients.

Of ANI-2x's 1008 columns only 384 can be non-zero with H, C, N and O alone, and only 240 around an N without another N
within 5.1 A. Columns that are zero for all atoms of an element in the batch are not computed, which reduces the first
layer of the networks, the largest part of the work, accordingly.

The first layer of all members is one matrix product, since they read the same vector; the later layers are batched
products over the members. The derivative of CELU follows from its value, so that the gradient needs only those values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import celu_

from hbcoop_dist.models.families.ani_terms import AngularTerms, Constants, RadialTerms, find_pairs, find_triples


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of the full vector that are non-zero for some atom of one element, in ascending order.

    Attributes
    ----------
    radial : tuple of int
        Neighbour elements.
    angular : tuple of int
        Pairs of neighbour elements, numbered as in `pair_types`.
    """

    radial: tuple[int, ...]
    angular: tuple[int, ...]

    def columns(self, constants: Constants) -> list[int]:
        """Columns of the blocks in the full vector.

        Parameters
        ----------
        constants : Constants
        """
        wide, sharp = constants.radial_width, constants.angular_width
        first = constants.elements * wide
        radial = [block * wide + column for block in self.radial for column in range(wide)]
        return radial + [first + block * sharp + column for block in self.angular for column in range(sharp)]


def pair_types(elements: int, device: torch.device) -> Tensor:
    """Number the pairs of neighbour elements along the upper triangle.

    Parameters
    ----------
    elements : int
        E.
    device : torch.device

    Returns
    -------
    (E, E) int64 tensor
        Angular block of two neighbour elements.
    """
    upper = torch.triu_indices(elements, elements, device=device)
    table = torch.zeros((elements, elements), dtype=torch.int64, device=device)
    table[upper[0], upper[1]] = table[upper[1], upper[0]] = torch.arange(upper.shape[1], device=device)
    return table


@dataclass(frozen=True, slots=True)
class _Group:
    """Atoms of the batch by element, in the order of the batch within each element.

    Attributes
    ----------
    species : (N,) int64 tensor
    members : dict
        Atoms of each element present, (n,) int64.
    place : (N,) int64 tensor
        Index of each atom among those of its element.
    """

    species: Tensor
    members: dict[int, Tensor]
    place: Tensor

    @classmethod
    def of(cls, species: Tensor, elements: int) -> _Group:
        order = torch.argsort(species, stable=True)
        counts = torch.bincount(species, minlength=elements).tolist()
        members = {e: part for e, part in enumerate(torch.split(order, counts)) if len(part)}
        place = torch.empty_like(species)
        for part in members.values():
            place[part] = torch.arange(len(part), device=species.device)
        return cls(species, members, place)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Rows of all blocks in one matrix, sorted by element, then atom, then block.

    Attributes
    ----------
    row : (K,) int64 tensor
        Row of each contribution.
    filled : dict
        Blocks of each element present.
    sizes : dict
        Number of atoms of each element present.
    """

    row: Tensor
    filled: dict[int, tuple[int, ...]]
    sizes: dict[int, int]

    @classmethod
    def of(cls, group: _Group, elements: int, kinds: int, centre: Tensor, kind: Tensor) -> _Layout:
        """Rows for contributions of the given kinds, 0 to `kinds` - 1, to the given atoms."""
        own = group.species[centre]
        mask = torch.zeros((elements, kinds), dtype=torch.bool, device=centre.device)
        mask[own, kind] = True
        filled = {e: tuple(k for k, yes in enumerate(mask[e].tolist()) if yes) for e in group.members}
        sizes = {e: len(atoms) for e, atoms in group.members.items()}
        first, after = [0] * elements, 0
        for e, blocks in filled.items():
            first[e], after = after, after + sizes[e] * len(blocks)
        start = torch.tensor(first, device=centre.device)[own] + group.place[centre] * mask.sum(1)[own]
        return cls(start + (mask.cumsum(1) - 1)[own, kind], filled, sizes)

    @property
    def rows(self) -> int:
        return sum(self.sizes[e] * len(blocks) for e, blocks in self.filled.items())

    def split(self, matrix: Tensor) -> dict[int, Tensor]:
        """(rows, W) to one (atoms, blocks x W) matrix for each element present."""
        pieces = torch.split(matrix, [self.sizes[e] * len(blocks) for e, blocks in self.filled.items()])
        width = matrix.shape[1]
        return {
            e: piece.reshape(self.sizes[e], len(blocks) * width)
            for (e, blocks), piece in zip(self.filled.items(), pieces, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Environments:
    """Environment vectors of a batch, and the terms of their gradient.

    Attributes
    ----------
    constants : Constants
    features : dict
        For each element present, the (n, F) matrix of its atoms; F differs by element.
    blocks : dict
        For each element present, the blocks of the columns.
    members : dict
        For each element present, the atoms of the batch that the rows belong to, (n,) int64.
    radial : RadialTerms
    angular : AngularTerms
    """

    constants: Constants
    features: dict[int, Tensor]
    blocks: dict[int, Blocks]
    members: dict[int, Tensor]
    radial: RadialTerms
    angular: AngularTerms

    def gradient(self, slopes: Mapping[int, Tensor]) -> Tensor:
        """Apply the chain rule from the vectors to the positions.

        Parameters
        ----------
        slopes : mapping
            For each element present, dE/d(features), (n, F).

        Returns
        -------
        (N, 3) tensor
            dE/d(positions).
        """
        wide, sharp = self.constants.radial_width, self.constants.angular_width
        ends = {e: len(blocks.radial) * wide for e, blocks in self.blocks.items()}
        radial = torch.cat([slopes[e][:, :end].reshape(-1, wide) for e, end in ends.items()])
        angular = torch.cat([slopes[e][:, end:].reshape(-1, sharp) for e, end in ends.items()])
        positions = radial.new_zeros((sum(len(atoms) for atoms in self.members.values()), 3))
        self.radial.add_gradient(radial, positions)
        self.angular.add_gradient(angular, positions)
        return positions


def describe(constants: Constants, species: Tensor, positions: Tensor, sizes: Sequence[int]) -> Environments:
    """Compute the environment vectors of all atoms of a batch.

    Parameters
    ----------
    constants : Constants
    species : (N,) int64 tensor
        Element of each atom, 0 to E - 1.
    positions : (N, 3) tensor
        A; the structures one after the other.
    sizes : sequence of int
        Number of atoms of each structure.
    """
    elements = constants.elements
    group = _Group.of(species, elements)
    pairs = find_pairs(positions, sizes, constants.radial_cutoff)
    first = _Layout.of(group, elements, elements, pairs.centre, species[pairs.other])
    radial = RadialTerms.of(constants, pairs, first.row)

    near = pairs.within(constants.angular_cutoff)
    one, two = find_triples(near, len(species))
    beside = species[near.other]
    kind = pair_types(elements, species.device)[beside[one], beside[two]]
    second = _Layout.of(group, elements, elements * (elements + 1) // 2, near.centre[one], kind)
    angular = AngularTerms.of(constants, near, (one, two), second.row)

    parts = first.split(radial.blocks(first.rows)), second.split(angular.blocks(second.rows))
    features = {e: torch.cat([part[e] for part in parts], 1) for e in group.members}
    blocks = {e: Blocks(first.filled[e], second.filled[e]) for e in group.members}
    return Environments(constants, features, blocks, group.members, radial, angular)


# Number of cached first layers with selected columns. In float64 one of ANI-2x takes up to 6 MiB.
_CACHED_LAYERS = 24


@dataclass(frozen=True, slots=True)
class ElementNetwork:
    """Networks of one element, M members.

    Attributes
    ----------
    first : (M x H, F) tensor
        Weights of the first layer over all columns of the full vector, members one after the other.
    first_bias : (M x H,) tensor
    later : tuple of (M, in, out) tensors
        Weights of the other layers; the last one has out = 1.
    later_bias : tuple of (M, 1, out) tensors
    alpha : float
        Of the CELU between layers.
    """

    first: Tensor
    first_bias: Tensor
    later: tuple[Tensor, ...]
    later_bias: tuple[Tensor, ...]
    alpha: float

    @classmethod
    def stacked(cls, members: Sequence[Iterable[Any]]) -> ElementNetwork:
        """Join the members' networks.

        Parameters
        ----------
        members : sequence of iterable of torch.nn.Module
            Layers of every member: ``Linear, CELU, Linear, ..., Linear``.

        Raises
        ------
        ValueError
            When there are other layers.
        """
        layers = [list(member) for member in members]
        alphas = {layer.alpha if isinstance(layer, nn.CELU) else None for member in layers for layer in member[1::2]}
        linear = [member[::2] for member in layers]
        plain = all(isinstance(layer, nn.Linear) for member in linear for layer in member)
        alpha = alphas.pop()
        if not plain or alphas or alpha is None:
            raise ValueError(f"expected Linear layers with CELU between, of one alpha, found {layers[0]}")
        weights = [torch.stack([layer.weight.detach() for layer in same]) for same in zip(*linear, strict=True)]
        biases = [torch.stack([layer.bias.detach() for layer in same]) for same in zip(*linear, strict=True)]
        return cls(
            first=weights[0].flatten(0, 1),
            first_bias=biases[0].flatten(),
            later=tuple(weight.transpose(1, 2).contiguous() for weight in weights[1:]),
            later_bias=tuple(bias.unsqueeze(1) for bias in biases[1:]),
            alpha=alpha,
        )

    def energies(self, features: Tensor, first: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Energies of each member, and the values after each CELU.

        Parameters
        ----------
        features : (n, C) tensor
        first : (M x H, C) tensor
            The first layer's weights of those columns.

        Returns
        -------
        tuple
            (M, n) energies, hartree, and a list of (M, n, out) tensors.
        """
        joint = celu_(torch.addmm(self.first_bias, features, first.t()), self.alpha)
        # Members first, as a view: the product in `slopes` is fastest in the memory layout of this one.
        values = [joint.reshape(len(features), len(self.later[0]), -1).transpose(0, 1)]
        for weight, bias in zip(self.later[:-1], self.later_bias[:-1], strict=True):
            values.append(celu_(torch.baddbmm(bias, values[-1], weight), self.alpha))
        return torch.baddbmm(self.later_bias[-1], values[-1], self.later[-1]).squeeze(2), values

    def slopes(self, values: list[Tensor], first: Tensor) -> Tensor:
        """Gradient of the members' mean energy by the features.

        Parameters
        ----------
        values : list of (M, n, out) tensors
            From `energies`; emptied here.
        first : (M x H, C) tensor
            As in `energies`.

        Returns
        -------
        (n, C) tensor
        """
        members = len(self.later[0])
        pull = self._celu_slope(values.pop()).mul_(self.later[-1].transpose(1, 2) / members)
        for weight in reversed(self.later[:-1]):
            value = values.pop()
            slope = self._celu_slope(value)
            # In the memory layout of `value`, so that the last product is one matrix product for all members.
            pull = torch.bmm(pull, weight.transpose(1, 2), out=torch.empty_like(value)).mul_(slope)
        return pull.transpose(0, 1).flatten(1) @ first

    def _celu_slope(self, value: Tensor) -> Tensor:
        """Derivative of CELU from its value: 1 above zero, value / alpha + 1 below.

        That of torch 2.13 rounds 1 / alpha to float32 in float64 too, which is off by 1e-8, or 1e-7 eV/A in forces.
        """
        return (value / self.alpha).add_(1).clamp_(max=1)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Networks of every element, with a cache of first layers by column sets.

    Attributes
    ----------
    constants : Constants
        Constants of the descriptor, which determine the columns of the blocks.
    networks : tuple of ElementNetwork
        Networks by element.
    """

    constants: Constants
    networks: tuple[ElementNetwork, ...]
    _first_layers: OrderedDict[tuple[int, Blocks], Tensor] = field(default_factory=OrderedDict)

    @property
    def members(self) -> int:
        """Number M of networks of each element."""
        return len(self.networks[0].later[0])

    def evaluate(
        self, features: dict[int, Tensor], blocks: dict[int, Blocks], slopes: bool
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Compute energies and their gradient, for each element present.

        Parameters
        ----------
        features : dict
            (n, C) matrices by element.
        blocks : dict
            Blocks of the columns by element.
        slopes : bool
            Whether to compute the gradient; its dict is empty otherwise.

        Returns
        -------
        tuple of dict
            (M, n) energies of the members, hartree; (n, C) gradient of their mean over members.
        """
        energies, gradient = {}, {}
        for element, vectors in features.items():
            network, first = self.networks[element], self._first(element, blocks[element])
            energies[element], values = network.energies(vectors, first)
            if slopes:
                gradient[element] = network.slopes(values, first)
        return energies, gradient

    def _first(self, element: int, blocks: Blocks) -> Tensor:
        """Weights of the first layer for some blocks, from the cache where possible."""
        key = (element, blocks)
        if key not in self._first_layers:
            whole = self.networks[element].first
            columns = torch.tensor(blocks.columns(self.constants), dtype=torch.int64, device=whole.device)
            self._first_layers[key] = whole.index_select(1, columns)
            while len(self._first_layers) > _CACHED_LAYERS:
                self._first_layers.popitem(last=False)
        self._first_layers.move_to_end(key)
        return self._first_layers[key]
