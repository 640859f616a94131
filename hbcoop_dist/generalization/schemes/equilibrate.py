"""Equilibrate charges: those of least energy at a given total, of all structures of a batch by one linear solve.

The energy is sum_i chi_i q_i + q' H q / 2, with H_ii = hardness_i + ke / (sqrt(pi) s_i) and, for two atoms,
H_ij = ke erf(r / sqrt(2 (s_i^2 + s_j^2))) / r.  H is positive definite as soon as hardnesses are not negative, whatever
the distances, so that the charges exist and are smooth.  Derivatives go through the solve.  Of a structure that repeats
both terms are summed over all images (`ewald`), for a charged cell with a uniform background; without the wave vector 0
the Coulomb part is still not negative, and hardnesses above zero make H positive definite.

Sources: Rappe and Goddard, J. Phys. Chem. 95, 3358 (1991); Ghasemi et al., Phys. Rev. B 92, 045131 (2015), Eqs. 2 to 6.
"""

from __future__ import annotations

import torch

from hbcoop_dist.generalization.atoms import AtomBatch
from hbcoop_dist.generalization.schemes.electrostatics import COULOMB, gaussian_coulomb, squared_distances
from hbcoop_dist.generalization.schemes.ewald import lattice_matrix


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
