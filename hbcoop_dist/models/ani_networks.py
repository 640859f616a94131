"""The members' atomic networks, all evaluated together, with their gradient by hand.

The first layer of all members is one matrix product, since they read the same vector; the later layers are batched
products over the members.  CELU's slope follows from its value, so the gradient keeps nothing but those values.
What remains runs at the machine's matrix-product rate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import celu_

from hbcoop_dist.models.ani_descriptor import Blocks
from hbcoop_dist.models.ani_terms import Constants

# First layers kept with their columns selected. In float64 one of ANI-2x takes up to 6 MiB, and a run meets few sets.
_KEPT = 24


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
        """Join the members' networks, each ``Linear, CELU, Linear, ..., Linear``.

        Raises
        ------
        ValueError
            When they hold other layers.
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
        """Each member's energies, and the values after each CELU, which `slopes` uses up.

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
        # Members first, but as a view: the gradient's product wants the memory as this one left it.
        values = [joint.reshape(len(features), len(self.later[0]), -1).transpose(0, 1)]
        for weight, bias in zip(self.later[:-1], self.later_bias[:-1], strict=True):
            values.append(celu_(torch.baddbmm(bias, values[-1], weight), self.alpha))
        return torch.baddbmm(self.later_bias[-1], values[-1], self.later[-1]).squeeze(2), values

    def slopes(self, values: list[Tensor], first: Tensor) -> Tensor:
        """(n, C): gradient of the members' mean energy by the features; `values` is consumed."""
        members = len(self.later[0])
        pull = self._celu_slope(values.pop()).mul_(self.later[-1].transpose(1, 2) / members)
        for weight in reversed(self.later[:-1]):
            value = values.pop()
            slope = self._celu_slope(value)
            # Into the layout of `value`, so that the first layer's is one matrix for all members.
            pull = torch.bmm(pull, weight.transpose(1, 2), out=torch.empty_like(value)).mul_(slope)
        return pull.transpose(0, 1).flatten(1) @ first

    def _celu_slope(self, value: Tensor) -> Tensor:
        """CELU's derivative from its value: 1 above zero, value / alpha + 1 below.

        torch's own (2.13) takes 1 / alpha as float32, in float64 too: some 1e-8 off, 1e-7 eV/A in forces.
        """
        return (value / self.alpha).add_(1).clamp_(max=1)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Networks of every element, with the first layers of the column sets met lately.

    Attributes
    ----------
    constants : Constants
        Of the descriptor, which says where blocks stand among the columns.
    networks : tuple of ElementNetwork
        By element.
    """

    constants: Constants
    networks: tuple[ElementNetwork, ...]
    _kept: OrderedDict[tuple[int, Blocks], Tensor] = field(default_factory=OrderedDict)

    @property
    def members(self) -> int:
        """M, how many networks each element has."""
        return len(self.networks[0].later[0])

    def evaluate(
        self, features: dict[int, Tensor], blocks: dict[int, Blocks], slopes: bool
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Energies and their gradient, for each element present.

        Parameters
        ----------
        features
            (n, C) matrices.
        blocks
            What their columns are.
        slopes
            Whether the gradient is wanted; without it, its dict is empty.

        Returns
        -------
        tuple of dict
            (M, n) energies of the members, hartree; (n, C) gradient of the energies' mean over members.
        """
        energies, gradient = {}, {}
        for element, vectors in features.items():
            network, first = self.networks[element], self._first(element, blocks[element])
            energies[element], values = network.energies(vectors, first)
            if slopes:
                gradient[element] = network.slopes(values, first)
        return energies, gradient

    def _first(self, element: int, blocks: Blocks) -> Tensor:
        """Weights of the first layer for some blocks: copied out once, not in every call."""
        key = (element, blocks)
        if key not in self._kept:
            whole = self.networks[element].first
            columns = torch.tensor(blocks.columns(self.constants), dtype=torch.int64, device=whole.device)
            self._kept[key] = whole.index_select(1, columns)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
