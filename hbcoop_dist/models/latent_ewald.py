"""The energy of latent charges without periodic images: Gaussians in vacuum, as latent Ewald summation (LES) has them.

A network of short range gives every atom a latent charge q, fitted through nothing but energies and forces.  It is
smeared to a Gaussian of width sigma, so that the energy stays finite where atoms meet and is Coulomb's far away:

    E = k/2 sum_ij q_i q_j erf(r_ij / (sqrt(2) sigma)) / r_ij

where i = j, if it counts, is the limit r -> 0: k q_i^2 / (sqrt(2 pi) sigma).  It is no constant, since charges change
with their surroundings.

Charges enter in products only, so they are known up to one sign for the whole network, and a molecule's need not add up
to its charge.  Cheng, npj Comput. Mater. 2025, 11, 80, doi:10.1038/s41524-025-01577-7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def pairs_of(batch: Tensor) -> Tensor:
    """Every pair i < j of atoms of one structure, shape (2, pairs).

    Parameters
    ----------
    batch : (n,) int tensor
        Structure of every atom, ascending from 0.
    """
    sizes = torch.bincount(batch).tolist()
    starts = [0, *torch.tensor(sizes).cumsum(0).tolist()]
    blocks = [torch.triu_indices(n, n, 1, device=batch.device) + start for n, start in zip(sizes, starts, strict=False)]
    return torch.cat(blocks, dim=1)


class LatentEwald(nn.Module):
    """Energy of latent charges, in place of the module ``les`` of a network of class MACELES.

    Parameters
    ----------
    sigma : float
        Width of the Gaussians, A.
    coulomb : float
        Coulomb's constant k, eV A / e^2: the one that the charges were fitted with.
    own : bool
        Whether a charge's energy in its own potential counts.
    """

    def __init__(self, sigma: float, coulomb: float, own: bool) -> None:
        super().__init__()
        self.sigma, self.coulomb, self.own = sigma, coulomb, own

    def atom_energies(self, charges: Tensor, positions: Tensor, batch: Tensor) -> Tensor:
        """Energy of every atom, eV: half of its pairs', and its own.

        Parameters
        ----------
        charges : (n,) tensor
            e.
        positions : (n, 3) tensor
            A.
        batch : (n,) int tensor
            Structure of every atom, ascending from 0.
        """
        first, second = pairs_of(batch)
        distances = torch.linalg.vector_norm(positions[first] - positions[second], dim=1)
        potential = torch.special.erf(distances / (math.sqrt(2.0) * self.sigma)) / distances
        half = 0.5 * self.coulomb * charges[first] * charges[second] * potential
        energies = torch.zeros_like(charges).index_add(0, first, half).index_add(0, second, half)
        if self.own:
            energies = energies + self.coulomb / (math.sqrt(2.0 * math.pi) * self.sigma) * charges.square()
        return energies

    def forward(
        self, *, latent_charges: Tensor, positions: Tensor, batch: Tensor, **_: object
    ) -> Mapping[str, Tensor | None]:
        """What the network asks of ``les``: the energy of every structure, eV."""
        energies = self.atom_energies(latent_charges, positions, batch)
        total = energies.new_zeros(int(batch[-1]) + 1).index_add(0, batch, energies)
        return {"E_lr": total, "BEC": None}
