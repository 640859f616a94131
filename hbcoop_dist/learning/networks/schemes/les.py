"""Latent Ewald summation: charges read from the features interact by Coulomb's law, and only energies teach them.

Of molecules the sum over pairs is exact, and no reciprocal space is needed. Of structures that repeat the same kernel
is summed over all images (`ewald`), with a uniform background where the charges of a cell do not sum to zero.

Sources: Cheng, npj Comput. Mater. 11, 80 (2025), the energy; Kim, King, Zhong and Cheng, Nat. Commun. 16, 8763 (2025),
charges from energies and forces, and the constraint on their sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.schemes.base import LongRange, Memory, NetworkShape, Scheme
from hbcoop_dist.learning.networks.schemes.coulomb import (
    COULOMB,
    lattice_potential,
    screened,
    squared_distances,
    without_diagonal,
)
from hbcoop_dist.learning.networks.schemes.options import choice, flag, positive, read, whole

_START = 0.1
"""Weights of the last readout at the start, beside torch's own.

The energy is quadratic in the charges: small ones leave the short-range model as it is, zero ones would have no
gradient.
"""


class LatentEwald(Scheme):
    """E_i = ke/2 q_i sum_{j != i} q_j erf(r_ij / (sqrt(2) sigma)) / r_ij.

    The charges of a structure are determined up to one global sign only where nothing constrains their sum to be other
    than zero: compare them with others by the size of the correlation.

    Options
    -------
    sigma : float, 1.0
        A.
    self_energy : bool, False
        Whether the term i = j, ke q_i^2 / (sqrt(2 pi) sigma), is added.
    charge_sum : free (default) or constrained
        Constrained charges are shifted, all of a structure by the same amount, until they sum to its total charge.
    charge_constraint : global (default) or fragment
        Whether constrained charges sum to the charge of the structure, or to that of each of its molecules. Only a
        shift within molecules leaves the energy of molecules far apart the sum of theirs.
    hidden : int, 0
        Width of the readouts' hidden layer; 0 for linear readouts. One readout for every layer of the network.
    """

    name: ClassVar[str] = "les"
    periodic: ClassVar[bool] = True
    extensive = True
    reaches = True
    charges_wanted = False

    def __init__(self, shape: NetworkShape, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(shape)
        defaults = {
            "sigma": 1.0,
            "self_energy": False,
            "charge_sum": "free",
            "charge_constraint": "global",
            "hidden": 0,
        }
        chosen = read(self.name, options, defaults)
        self.sigma = positive(self.name, "sigma", chosen["sigma"])
        self.self_energy = flag(self.name, "self_energy", chosen["self_energy"])
        among = ("free", "constrained")
        self.constrained = choice(self.name, "charge_sum", chosen["charge_sum"], among) == "constrained"
        reach = choice(self.name, "charge_constraint", chosen["charge_constraint"], ("global", "fragment"))
        self.fragments = reach == "fragment"
        self.extensive = self.fragments or not self.constrained
        hidden = whole(self.name, "hidden", chosen["hidden"], least=0)
        self.readouts = torch.nn.ModuleList(_readout(shape.channels, hidden) for _ in range(shape.n_layers))

    def energy(self, features: Sequence[torch.Tensor], batch: AtomBatch, memory: Memory) -> LongRange:
        """Coulomb energy of the latent charges, and these."""
        del memory
        charges = torch.zeros_like(features[0][:, 0])
        for readout, one in zip(self.readouts, features, strict=True):
            charges = charges + readout(one).squeeze(-1)
        if self.constrained:
            charges = shifted(charges, batch, fragments=self.fragments)
        energy = latent_energy(charges, batch, self.sigma, self_energy=self.self_energy)
        return LongRange(energy=energy, charges=charges)


def latent_energy(charges: torch.Tensor, batch: AtomBatch, sigma: float, *, self_energy: bool = False) -> torch.Tensor:
    """Energy of every atom, (N,), eV, from charges, (N,), e, of screening length `sigma`, A."""
    if batch.repeats:
        potential = _potential_of_mixed(charges, batch, sigma, self_energy=self_energy)
    else:
        potential = _potential(charges, batch, sigma, self_energy=self_energy)
    return 0.5 * COULOMB * charges * potential


def _potential(charges: torch.Tensor, batch: AtomBatch, sigma: float, *, self_energy: bool) -> torch.Tensor:
    kernel = screened(squared_distances(batch), sigma**2)
    kernel = kernel if self_energy else without_diagonal(kernel)
    return batch.flat(torch.einsum("sij,sj->si", kernel, batch.padded(charges)))


def _potential_of_mixed(charges: torch.Tensor, batch: AtomBatch, sigma: float, *, self_energy: bool) -> torch.Tensor:
    itself = 0.0 if self_energy else math.sqrt(2.0 / math.pi) / sigma
    whole = all(cell is not None for cell in batch.cells)
    without = None if whole else _potential(charges, batch, sigma, self_energy=self_energy)
    parts = []
    for atoms, cell in zip(batch.atoms(), batch.cells, strict=True):
        mine = charges[atoms]
        if cell is not None:
            parts.append(lattice_potential(mine, batch.positions[atoms], cell, sigma) - itself * mine)
        else:
            assert without is not None
            parts.append(without[atoms])
    return torch.cat(parts)


def shifted(charges: torch.Tensor, batch: AtomBatch, *, fragments: bool) -> torch.Tensor:
    """Charges, (N,), e, shifted equally within each structure (or molecule) to sum to its total charge."""
    ones = torch.ones_like(charges)
    if fragments:
        missing = (batch.molecule_charge - batch.sum_molecules(charges)) / batch.sum_molecules(ones)
        return charges + missing[batch.molecule]
    missing = (batch.charge - batch.sum_structures(charges)) / batch.sum_structures(ones)
    return charges + missing[batch.structure]


def _readout(channels: int, hidden: int) -> torch.nn.Sequential:
    last = torch.nn.Linear(hidden or channels, 1, bias=False)
    with torch.no_grad():
        last.weight.mul_(_START)
    if not hidden:
        return torch.nn.Sequential(last)
    return torch.nn.Sequential(torch.nn.Linear(channels, hidden), torch.nn.SiLU(), last)
