"""Equilibrate charges: those of least energy at a given total, of all structures of a batch by one linear solve.

The energy is sum_i chi_i q_i + q' H q / 2, with H_ii = hardness_i + ke / (sqrt(pi) s_i) and, for two atoms,
H_ij = ke erf(r / sqrt(2 (s_i^2 + s_j^2))) / r.  H is positive definite as soon as hardnesses are not negative, whatever
the distances, so that the charges exist and are smooth.  Derivatives go through the solve.  Of a structure that repeats
both terms are summed over all images (`ewald`), for a charged cell with a uniform background; without the wave vector 0
the Coulomb part is still not negative, and hardnesses above zero make H positive definite.

Sources: Rappe and Goddard, J. Phys. Chem. 95, 3358 (1991); Ghasemi et al., Phys. Rev. B 92, 045131 (2015), Eqs. 2 to 6.

Charge equilibration inside a network: charges follow from electronegativities, interact, and go on as features.

What is added to the energy is the Coulomb energy of the Gaussian charges, self-energies included, q' J q / 2.  The
electronegativity and hardness terms of the energy that the charges minimise are not: they belong to single atoms and
their surroundings, and the short-range network has to learn those anyway.  So the energy is not stationary in the
charges, and forces need their derivatives.

Source: Sanocki and Zavadlav (2026), the charge equilibration layer; the solve is that of `equilibrate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from ase.data import covalent_radii

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.schemes.base import LongRange, Memory, NetworkShape, Scheme
from hbcoop_dist.learning.networks.schemes.coulomb import COULOMB, gaussian_coulomb, lattice_matrix, squared_distances
from hbcoop_dist.learning.networks.schemes.options import choice, flag, read, whole


def equilibrate(
    chi: torch.Tensor, hardness: torch.Tensor, widths: torch.Tensor, batch: AtomBatch, *, fragments: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Charges and the potential at them.

    Parameters
    ----------
    chi : (N,) tensor
        Electronegativity, eV/e.
    hardness : (N,) tensor
        eV/e^2, not negative.
    widths : (N,) tensor
        Of the Gaussian charges, A, above zero.
    fragments : bool
        One Lagrange multiplier, and so one given total charge, for every molecule instead of every structure.

    Returns
    -------
    charges : (N,) tensor
        e.
    potential : (N,) tensor
        Of the Gaussian charges at each of them, that of its own included, sum_j J_ij q_j in eV/e.
    """
    coulomb = _coulomb(widths, batch)
    padding = (~batch.filled).to(chi.dtype)
    stiffness = coulomb + torch.diag_embed(batch.padded(hardness) + padding)
    owners, totals, unused = _constraints(batch, fragments=fragments)
    matrix = torch.cat(
        [
            torch.cat([stiffness, owners], dim=2),
            torch.cat([owners.transpose(1, 2), torch.diag_embed(unused)], dim=2),
        ],
        dim=1,
    )
    solution = torch.linalg.solve(matrix, torch.cat([-batch.padded(chi), totals], dim=1))
    charges = solution[:, : batch.filled.shape[1]]
    potential = torch.einsum("sij,sj->si", coulomb, charges)
    return batch.flat(charges), batch.flat(potential)


def _coulomb(widths: torch.Tensor, batch: AtomBatch) -> torch.Tensor:
    """J, (S, L, L), eV/e^2, zero where a slot is empty."""
    if not batch.repeats:
        return _molecules(widths, batch)
    most = batch.filled.shape[1]
    whole = all(cell is not None for cell in batch.cells)
    without = None if whole else _molecules(widths, batch)
    parts = []
    for place, (atoms, cell) in enumerate(zip(batch.atoms(), batch.cells, strict=True)):
        if cell is not None:
            own = COULOMB * lattice_matrix(batch.positions[atoms], cell, widths[atoms])
            missing = most - len(own)
            parts.append(torch.nn.functional.pad(own, (0, missing, 0, missing)))
        else:
            assert without is not None
            parts.append(without[place])
    return torch.stack(parts)


def _molecules(widths: torch.Tensor, batch: AtomBatch) -> torch.Tensor:
    padded = torch.where(batch.filled, batch.padded(widths), torch.ones_like(batch.filled, dtype=widths.dtype))
    both = batch.filled[:, :, None] & batch.filled[:, None, :]
    return gaussian_coulomb(squared_distances(batch), padded) * both.to(widths.dtype)


def _constraints(batch: AtomBatch, *, fragments: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Membership of slots, (S, L, C), totals, (S, C), e, and ones, (S, C), where a structure has no such constraint."""
    dtype = batch.positions.dtype
    if not fragments:
        totals = batch.charge[:, None]
        return batch.filled[:, :, None].to(dtype), totals, torch.zeros_like(totals)
    counts = torch.bincount(batch.structure_of_molecule, minlength=batch.n_structures)
    first = torch.cumsum(counts, dim=0) - counts
    places = torch.arange(int(counts.max()), device=counts.device)
    there = places[None, :] < counts[:, None]
    molecules = torch.where(there, first[:, None] + places[None, :], 0)
    owners = (batch.molecule[batch.slots][:, :, None] == molecules[:, None, :]) & there[:, None, :]
    owners = owners & batch.filled[:, :, None]
    return owners.to(dtype), batch.molecule_charge[molecules] * there, (~there).to(dtype)


_CHI_UNIT = 5.0
"""eV/e of a network output of 1: with hardnesses near 10 eV/e^2 charges move as far as outputs do."""
_START_HARDNESS = 1.0
"""eV/e^2, beside the Gaussian's own ke / (sqrt(pi) s), which for covalent radii is 10 to 26 already."""
_START_WIDTH = 0.7
"""A, where the elements are not known."""


class ChargeEquilibration(Scheme):
    """Charges by one linear solve, with a multiplier for each structure or for each molecule.

    In a structure that repeats they interact with all images; a charged cell has a uniform background.

    Options
    -------
    charge_constraint : global (default) or fragment
        Global: only the charge of a structure is given, and charge leaks between molecules however far apart they are,
        as long as they are of different electronegativity. Fragment: every molecule keeps its own charge. Where a data
        set knows no molecules a structure is one, and both are the same.
    layer : int, the last but one
        Layer (from 0) after which electronegativities are read and charges embedded; the last of a network of one.
    embed_charges : bool, True
        Whether a function of its charge is added to the features of an atom.
    charge_loss : bool, True
        Whether reference charges, where there are some, go into the loss.
    hidden : int, the channels of the network
        Width of the hidden layers.
    """

    name: ClassVar[str] = "celli"
    periodic: ClassVar[bool] = True
    extensive = False
    reaches = True
    charges_wanted = True

    def __init__(self, shape: NetworkShape, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(shape)
        defaults = {
            "charge_constraint": "global",
            "layer": max(shape.n_layers - 2, 0),
            "embed_charges": True,
            "charge_loss": True,
            "hidden": shape.channels,
        }
        chosen = read(self.name, options, defaults)
        reach = choice(self.name, "charge_constraint", chosen["charge_constraint"], ("global", "fragment"))
        self.fragments = self.extensive = reach == "fragment"
        self.charges_wanted = flag(self.name, "charge_loss", chosen["charge_loss"])
        self.layer = whole(self.name, "layer", chosen["layer"], least=0, below=shape.n_layers)
        hidden = whole(self.name, "hidden", chosen["hidden"], least=1)
        self.electronegativity = Electronegativity(shape, hidden)
        self.hardness = torch.nn.Parameter(torch.full((shape.n_species,), _inverse_softplus(_START_HARDNESS)))
        self.widths = torch.nn.Parameter(torch.tensor([_inverse_softplus(one) for one in _start_widths(shape)]))
        self.embedding = (
            _embedding(hidden, shape.channels) if flag(self.name, "embed_charges", chosen["embed_charges"]) else None
        )

    def after_layer(
        self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
    ) -> torch.Tensor:
        """Equilibrate charges after the chosen layer, and tell the features of them."""
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
        """Coulomb energy of the charges, self-energies included, and these."""
        del features, batch
        return LongRange(energy=0.5 * memory["charges"] * memory["potential"], charges=memory["charges"])


class Electronegativity(torch.nn.Module):
    """chi of atoms, (N,), eV/e: a constant of the species and a sum over edges, whose terms end at the cutoff."""

    def __init__(self, shape: NetworkShape, hidden: int) -> None:
        super().__init__()
        self.species = torch.nn.Parameter(torch.zeros(shape.n_species))
        self.sender = torch.nn.Linear(shape.channels, hidden)
        self.receiver = torch.nn.Linear(shape.channels, hidden, bias=False)
        self.gate = torch.nn.Linear(shape.n_radial, hidden, bias=False)
        self.last = torch.nn.Linear(hidden, 1, bias=False)

    def forward(self, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch) -> torch.Tensor:
        """From features, (N, channels), and radial functions of edges, (E, n_radial)."""
        sender, receiver = batch.edges
        pairs = torch.nn.functional.silu(self.sender(features)[sender] + self.receiver(features)[receiver])
        edges: torch.Tensor = self.last(pairs * self.gate(radial)).squeeze(-1)
        return _CHI_UNIT * self.species[batch.species].index_add(0, receiver, edges)


def _embedding(hidden: int, channels: int) -> torch.nn.Sequential:
    """A function of one charge that is zero at the start: training begins from the features as they were."""
    last = torch.nn.Linear(hidden, channels, bias=False)
    torch.nn.init.zeros_(last.weight)
    return torch.nn.Sequential(torch.nn.Linear(1, hidden), torch.nn.SiLU(), last)


def _start_widths(shape: NetworkShape) -> list[float]:
    if not shape.elements:
        return [_START_WIDTH] * shape.n_species
    return [float(covalent_radii[number]) for number in shape.elements]


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
