"""Charge equilibration inside a network: charges follow from electronegativities, interact, and become features.

Charges minimise sum_i chi_i q_i + q' H q / 2 at a given total, with H_ii = hardness_i + ke / (sqrt(pi) s_i) and, for
two atoms, H_ij = ke erf(r / sqrt(2 (s_i^2 + s_j^2))) / r. H is positive definite whenever hardnesses are not negative,
at any distances, so that the charges exist and are smooth; derivatives go through the linear solve. For a periodic
structure both terms are summed over all images, for a charged cell with a uniform background; without the wave vector 0
the Coulomb part is still not negative, and hardnesses above zero make H positive definite.

The energy that is added is the Coulomb energy of the Gaussian charges, self-energies included, q' J q / 2. The terms of
electronegativity and hardness are left to the short-range network, since they belong to single atoms and their
surroundings. The energy is therefore not stationary in the charges, and forces need their derivatives.

Sources: Rappe and Goddard, J. Phys. Chem. 95, 3358 (1991), and Ghasemi et al., Phys. Rev. B 92, 045131 (2015), Eqs. 2
to 6, the equilibration; Sanocki and Zavadlav (2026), the layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from ase.data import covalent_radii

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.registry import ChargeEquilibrationOptions
from hbcoop_dist.learning.networks.schemes.base import LongRange, Memory, Scheme
from hbcoop_dist.learning.networks.schemes.electrostatics import (
    COULOMB,
    gaussian_coulomb,
    lattice_matrix,
    squared_distances,
)

_CHI_UNIT = 5.0
"""Electronegativity, eV/e, of a network output of 1: with hardnesses near 10 eV/e^2 charges change as outputs do."""
_INITIAL_HARDNESS = 1.0
"""eV/e^2, beside the ke / (sqrt(pi) s) of the Gaussians, which is 10 to 26 for covalent radii."""
_DEFAULT_WIDTH = 0.7
"""Initial width of the Gaussian charges, A, when the elements are not known."""


class ChargeEquilibration(Scheme):
    """Charges from one linear solve, with a Lagrange multiplier for each structure or for each molecule.

    Where a data set does not distinguish molecules, a structure is one molecule and both constraints are the same.

    Parameters
    ----------
    shape : NetworkShape
    options : ChargeEquilibrationOptions
        Validated for this shape.
    """

    name: ClassVar[str] = "celli"
    periodic: ClassVar[bool] = True
    extensive = False
    long_range = True
    fits_charges = True

    def __init__(self, shape: NetworkShape, options: ChargeEquilibrationOptions) -> None:
        super().__init__(shape)
        assert options.layer is not None
        assert options.hidden is not None
        self.fragments = self.extensive = options.charge_constraint == "fragment"
        self.fits_charges, self.layer = options.charge_loss, options.layer
        self.electronegativity = Electronegativity(shape, options.hidden)
        hardness = torch.full((shape.n_species,), _inverse_softplus(_INITIAL_HARDNESS))
        self.hardness = torch.nn.Parameter(hardness)
        self.widths = torch.nn.Parameter(torch.tensor([_inverse_softplus(width) for width in _initial_widths(shape)]))
        self.embedding = _charge_embedding(options.hidden, shape.channels) if options.embed_charges else None

    def after_layer(
        self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
    ) -> torch.Tensor:
        """Equilibrate charges after the chosen layer and add their embedding to the features, (N, channels)."""
        if layer != self.layer:
            return features
        charges, memory["potential"] = equilibrate(
            self.electronegativity(features, radial, batch),
            torch.nn.functional.softplus(self.hardness)[batch.species],
            torch.nn.functional.softplus(self.widths)[batch.species],
            batch,
            fragments=self.fragments,
        )
        memory["charges"] = charges
        return features if self.embedding is None else features + self.embedding(charges[:, None])

    def energy(self, features: Sequence[torch.Tensor], batch: AtomBatch, memory: Memory) -> LongRange:
        """Return the Coulomb energy of the charges, self-energies included, and the charges."""
        del features, batch
        return LongRange(energy=0.5 * memory["charges"] * memory["potential"], charges=memory["charges"])


class Electronegativity(torch.nn.Module):
    """Electronegativity of atoms: a constant of the species and a sum over edges, whose terms end at the cutoff.

    Parameters
    ----------
    shape : NetworkShape
    hidden : int
        Width of the hidden layer.
    """

    def __init__(self, shape: NetworkShape, hidden: int) -> None:
        super().__init__()
        self.species = torch.nn.Parameter(torch.zeros(shape.n_species))
        self.sender = torch.nn.Linear(shape.channels, hidden)
        self.receiver = torch.nn.Linear(shape.channels, hidden, bias=False)
        self.gate = torch.nn.Linear(shape.n_radial, hidden, bias=False)
        self.last = torch.nn.Linear(hidden, 1, bias=False)

    def forward(self, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch) -> torch.Tensor:
        """Return chi, (N,), eV/e, from features, (N, channels), and radial functions of edges, (E, n_radial)."""
        sender, receiver = batch.edges
        pairs = torch.nn.functional.silu(self.sender(features)[sender] + self.receiver(features)[receiver])
        edges: torch.Tensor = self.last(pairs * self.gate(radial)).squeeze(-1)
        return _CHI_UNIT * self.species[batch.species].index_add(0, receiver, edges)


def equilibrate(
    chi: torch.Tensor, hardness: torch.Tensor, widths: torch.Tensor, batch: AtomBatch, *, fragments: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve for the charges of all structures of a batch.

    Parameters
    ----------
    chi : (N,) tensor
        Electronegativity, eV/e.
    hardness : (N,) tensor
        eV/e^2, not negative.
    widths : (N,) tensor
        Widths of the Gaussian charges, A, above zero.
    batch : AtomBatch
    fragments : bool
        Whether the total charge of every molecule, rather than of every structure, is given.

    Returns
    -------
    charges : (N,) tensor
        e.
    potential : (N,) tensor
        Potential sum_j J_ij q_j of the Gaussian charges at each of them, its own included, eV/e.
    """
    coulomb = _coulomb(widths, batch)
    padding = (~batch.filled).to(chi.dtype)
    stiffness = coulomb + torch.diag_embed(batch.padded(hardness) + padding)
    owners, totals, unused = _constraints(batch, fragments=fragments)
    matrix = torch.cat(
        [torch.cat([stiffness, owners], dim=2), torch.cat([owners.transpose(1, 2), torch.diag_embed(unused)], dim=2)],
        dim=1,
    )
    solution = torch.linalg.solve(matrix, torch.cat([-batch.padded(chi), totals], dim=1))
    charges = solution[:, : batch.filled.shape[1]]
    potential = torch.einsum("sij,sj->si", coulomb, charges)
    return batch.flat(charges), batch.flat(potential)


def _coulomb(widths: torch.Tensor, batch: AtomBatch) -> torch.Tensor:
    """Coulomb matrix J, (S, L, L), eV/e^2, zero in empty slots."""
    matrices = _isolated_coulomb(widths, batch)
    if not batch.periodic:
        return matrices
    parts = list(matrices)
    for index, (atoms, cell) in enumerate(zip(batch.atom_slices(), batch.cells, strict=True)):
        if cell is not None:
            own = COULOMB * lattice_matrix(batch.positions[atoms], cell, widths[atoms])
            missing = len(parts[index]) - len(own)
            parts[index] = torch.nn.functional.pad(own, (0, missing, 0, missing))
    return torch.stack(parts)


def _isolated_coulomb(widths: torch.Tensor, batch: AtomBatch) -> torch.Tensor:
    padded = torch.where(batch.filled, batch.padded(widths), torch.ones_like(batch.filled, dtype=widths.dtype))
    both = batch.filled[:, :, None] & batch.filled[:, None, :]
    return gaussian_coulomb(squared_distances(batch), padded) * both.to(widths.dtype)


def _constraints(batch: AtomBatch, *, fragments: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Membership of slots, (S, L, C), totals, (S, C), e, and ones, (S, C), for constraints that a structure lacks."""
    dtype = batch.positions.dtype
    if not fragments:
        totals = batch.charge[:, None]
        return batch.filled[:, :, None].to(dtype), totals, torch.zeros_like(totals)
    counts = torch.bincount(batch.structure_of_molecule, minlength=batch.n_structures)
    first = torch.cumsum(counts, dim=0) - counts
    indices = torch.arange(int(counts.max()), device=counts.device)
    present = indices[None, :] < counts[:, None]
    molecules = torch.where(present, first[:, None] + indices[None, :], 0)
    owners = (batch.molecule[batch.slots][:, :, None] == molecules[:, None, :]) & present[:, None, :]
    owners = owners & batch.filled[:, :, None]
    return owners.to(dtype), batch.molecule_charge[molecules] * present, (~present).to(dtype)


def _charge_embedding(hidden: int, channels: int) -> torch.nn.Sequential:
    """Function of one charge that is zero at the start, so that training begins from unchanged features."""
    last = torch.nn.Linear(hidden, channels, bias=False)
    torch.nn.init.zeros_(last.weight)
    return torch.nn.Sequential(torch.nn.Linear(1, hidden), torch.nn.SiLU(), last)


def _initial_widths(shape: NetworkShape) -> list[float]:
    if not shape.elements:
        return [_DEFAULT_WIDTH] * shape.n_species
    return [float(covalent_radii[number]) for number in shape.elements]


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
