"""The members' atomic networks, all evaluated together, with their gradient by hand.

The first layer of all members is one matrix product, since they read the same vector; the later layers are batched
products over the members.  CELU's slope follows from its value, so the gradient keeps nothing but those values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import celu_

# Selected first layers kept. In float64 one of ANI-2x takes 3 to 6 MiB; a run meets few sets of columns.
_KEPT = 24


@dataclass(frozen=True, slots=True)
class ElementNetwork:
    """Networks of one element, M members.

    Attributes
    ----------
    first : (M x H, F) tensor
        Weights of the first layer over all columns, members one after the other.
    first_bias : (M x H,) tensor
    later : tuple of (M, in, out) tensors
        Weights of the other layers.
    later_bias : tuple of (M, 1, out) tensors
    alpha : float
        Of the CELU between layers.
    """

    first: Tensor
    first_bias: Tensor
    later: tuple[Tensor, ...]
    later_bias: tuple[Tensor, ...]
    alpha: float
    _selected: OrderedDict[tuple[int, ...], Tensor] = field(default_factory=OrderedDict)
