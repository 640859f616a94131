"""Latent Ewald summation: charges read from the features interact by Coulomb's law and are trained by energies alone.

For molecules the sum over pairs is exact and needs no reciprocal space. For periodic structures the same kernel is
summed over all images, with a uniform background where the charges of a cell do not sum to zero.

Sources: Cheng, npj Comput. Mater. 11, 80 (2025), the energy; Kim, King, Zhong and Cheng, Nat. Commun. 16, 8763 (2025),
charges from energies and forces, and the constraint on their sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.registry import LatentEwaldOptions
from hbcoop_dist.learning.networks.schemes.base import LongRange, Memory, Scheme
from hbcoop_dist.learning.networks.schemes.electrostatics import (
    COULOMB,
    lattice_potential,
    screened,
    squared_distances,
    without_diagonal,
)

_INITIAL_FACTOR = 0.1
"""Factor of the initial weights of the last readout, beside torch's own.

The energy is quadratic in the charges: small charges leave the short-range model as it is, zero charges would have no
gradient.
"""


class LatentEwald(Scheme):
    """Energy E_i = ke/2 q_i sum_{j != i} q_j erf(r_ij / (sqrt(2) sigma)) / r_ij of latent charges q.

    Unless a constraint fixes their sum to a value other than zero, the charges of a structure are determined only up to
    one global sign; compare them with others by the absolute value of the correlation.

    Parameters
    ----------
    shape : NetworkShape
    options : LatentEwaldOptions
    """

    name: ClassVar[str] = "les"
    periodic: ClassVar[bool] = True
    long_range = True

    def __init__(self, shape: NetworkShape, options: LatentEwaldOptions) -> None:
        super().__init__(shape)
        self.options = options
        self.constrained = options.charge_sum == "constrained"
        self.fragments = options.charge_constraint == "fragment"
        self.extensive = self.fragments or not self.constrained
        self.readouts = torch.nn.ModuleList(_readout(shape.channels, options.hidden) for _ in range(shape.n_layers))

    def energy(self, features: Sequence[torch.Tensor], batch: AtomBatch, memory: Memory) -> LongRange:
        """Return the Coulomb energy of the latent charges, and the charges."""
        del memory
        charges = torch.zeros_like(features[0][:, 0])
        for readout, layer in zip(self.readouts, features, strict=True):
            charges = charges + readout(layer).squeeze(-1)
        if self.constrained:
            charges = shift_charges(charges, batch, fragments=self.fragments)
        energy = latent_energy(charges, batch, self.options.sigma, self_energy=self.options.self_energy)
        return LongRange(energy=energy, charges=charges)


def latent_energy(charges: torch.Tensor, batch: AtomBatch, sigma: float, *, self_energy: bool = False) -> torch.Tensor:
    """Return the Coulomb energy of every atom, (N,), eV.

    Parameters
    ----------
    charges : (N,) tensor
        e.
    batch : AtomBatch
    sigma : float
        Screening length, A.
    self_energy : bool
        Whether the term j = i is included.
    """
    potential = _isolated_potential(charges, batch, sigma, self_energy=self_energy)
    if batch.periodic:
        self_term = 0.0 if self_energy else math.sqrt(2.0 / math.pi) / sigma
        parts = [potential[atoms] for atoms in batch.atom_slices()]
        for index, (atoms, cell) in enumerate(zip(batch.atom_slices(), batch.cells, strict=True)):
            if cell is not None:
                own = charges[atoms]
                parts[index] = lattice_potential(own, batch.positions[atoms], cell, sigma) - self_term * own
        potential = torch.cat(parts)
    return 0.5 * COULOMB * charges * potential


def _isolated_potential(charges: torch.Tensor, batch: AtomBatch, sigma: float, *, self_energy: bool) -> torch.Tensor:
    kernel = screened(squared_distances(batch), sigma**2)
    kernel = kernel if self_energy else without_diagonal(kernel)
    return batch.flat(torch.einsum("sij,sj->si", kernel, batch.padded(charges)))


def shift_charges(charges: torch.Tensor, batch: AtomBatch, *, fragments: bool) -> torch.Tensor:
    """Shift charges equally within each structure, or molecule, until they sum to its total charge.

    Parameters
    ----------
    charges : (N,) tensor
        e.
    batch : AtomBatch
    fragments : bool
        Whether the sum of each molecule, rather than of each structure, is fixed.
    """
    ones = torch.ones_like(charges)
    if fragments:
        missing = (batch.molecule_charge - batch.sum_molecules(charges)) / batch.sum_molecules(ones)
        return charges + missing[batch.molecule]
    missing = (batch.charge - batch.sum_structures(charges)) / batch.sum_structures(ones)
    return charges + missing[batch.structure]


def _readout(channels: int, hidden: int) -> torch.nn.Sequential:
    last = torch.nn.Linear(hidden or channels, 1, bias=False)
    with torch.no_grad():
        last.weight.mul_(_INITIAL_FACTOR)
    if not hidden:
        return torch.nn.Sequential(last)
    return torch.nn.Sequential(torch.nn.Linear(channels, hidden), torch.nn.SiLU(), last)
