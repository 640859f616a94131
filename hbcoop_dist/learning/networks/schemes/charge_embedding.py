"""Embedding of the total charge of a structure into the features of its atoms before the first layer.

The features of an atom of element z get an addition that depends on the total charge Q,

    a_z(Q) = W silu(U_z s(Q)),    s(Q) = (max(Q, 0), max(-Q, 0)),

which vanishes at Q = 0, since silu(0) = 0 and there is no bias. Separate weights for the two signs and the vanishing
term at Q = 0 follow SpookyNet's electronic embedding (Unke et al., Nat. Commun. 2021, 12, 7273,
doi:10.1038/s41467-021-27504-0, Eqs. 9 and 10), here without its attention over atoms. Q belongs to the whole structure,
so the energy of a molecule depends on the charge of others at any distance: the scheme is not extensive.
"""

from __future__ import annotations

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.options import ComponentOptions
from hbcoop_dist.learning.networks.schemes.base import Memory, Scheme


class TotalChargeEmbedding(Scheme):
    """Total charge as a feature of every atom; for a periodic structure, the charge of its cell.

    Parameters
    ----------
    shape : NetworkShape
    options : ComponentOptions, optional
        The scheme has none.
    """

    name = "charge-embedding"
    periodic = True
    extensive = False
    long_range = True

    def __init__(self, shape: NetworkShape, options: ComponentOptions | None = None) -> None:
        super().__init__(shape, options)
        self.inner = torch.nn.Parameter(torch.randn(shape.n_species, 2, shape.channels))
        self.outer = torch.nn.Linear(shape.channels, shape.channels, bias=False)

    def embed(self, features: torch.Tensor, batch: AtomBatch, memory: Memory) -> torch.Tensor:
        """Add the embedded total charge to the features, (N, channels)."""
        del memory
        signs = torch.stack([batch.charge.clamp(min=0.0), (-batch.charge).clamp(min=0.0)], dim=-1)
        hidden = torch.einsum("nsc,ns->nc", self.inner[batch.species], signs[batch.structure])
        added: torch.Tensor = self.outer(torch.nn.functional.silu(hidden))
        return features + added
