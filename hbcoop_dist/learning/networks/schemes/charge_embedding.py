"""Total charge of the structure, told to every one of its atoms before the first layer.

The features of an atom get an addition that depends on its element and on the total charge Q alone,

    a_z(Q) = W silu(U_z s(Q)),    s(Q) = (max(Q, 0), max(-Q, 0)),

which is zero for neutral structures, since silu(0) = 0 and there is no bias.  That the two signs go in apart, and that
no term survives at Q = 0, is SpookyNet's electronic embedding (Unke et al., Nat. Commun. 2021, 12, 7273,
doi:10.1038/s41467-021-27504-0, eqs. 9 and 10), here without its attention over atoms.  Q belongs to the whole
structure, so the energy of a molecule changes with the charge of others that are any distance away: nothing extensive,
and no physics of distances either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.schemes.base import Memory, NetworkShape, Scheme


class ChargeEmbedding(Scheme):
    """Total charge, of a structure that repeats that of its cell, as an atom's feature; no options."""

    name = "charge-embedding"
    periodic = True
    extensive = False
    reaches = True

    def __init__(self, shape: NetworkShape, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(shape, options)
        self.inner = torch.nn.Parameter(torch.randn(shape.n_species, 2, shape.channels))
        self.outer = torch.nn.Linear(shape.channels, shape.channels, bias=False)

    def embed(self, features: torch.Tensor, batch: AtomBatch, memory: Memory) -> torch.Tensor:
        """Features with the addition of the total charge."""
        del memory
        signs = torch.stack([batch.charge.clamp(min=0.0), (-batch.charge).clamp(min=0.0)], dim=-1)
        hidden = torch.einsum("nsc,ns->nc", self.inner[batch.species], signs[batch.structure])
        added: torch.Tensor = self.outer(torch.nn.functional.silu(hidden))
        return features + added
