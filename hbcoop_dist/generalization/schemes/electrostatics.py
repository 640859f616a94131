"""Coulomb interaction of Gaussian charges, all pairs of every structure at once: what LES and CELLI share.

The kernel is a function of the squared distance, smooth down to zero: the diagonal of a pair matrix and the padding of
a batch are then pairs like any other, and no derivative of any order meets the square root of zero.
"""

from __future__ import annotations

import math

import torch
from ase import units

from hbcoop_dist.generalization.atoms import AtomBatch

COULOMB = float(units.Hartree * units.Bohr)
"""Coulomb constant, 14.399645 eV A / e^2."""

# Below it the series is exact to round-off, and above it the closed form loses no digit that a second derivative needs.
_SERIES_BELOW = 1e-3
_SERIES = tuple((-1.0) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(5))


def squared_distances(batch: AtomBatch) -> torch.Tensor:
    """Squared distances of all pairs of slots, (S, L, L), A^2; slots without an atom stand at the origin."""
    places = batch.padded(batch.positions)
    return (places[:, :, None] - places[:, None, :]).square().sum(dim=-1)


def screened(squared: torch.Tensor, variance: torch.Tensor | float) -> torch.Tensor:
    """erf(r / sqrt(2 v)) / r, 1/A, with its limit sqrt(2 / (pi v)) at r = 0.

    Parameters
    ----------
    squared : tensor
        r^2, A^2.
    variance : tensor or float
        v, A^2: sigma^2 for erf(r / (sqrt(2) sigma)) / r, s_i^2 + s_j^2 for Gaussian charges of widths s_i and s_j.
    """
    scale = 1.0 / (2.0 * torch.as_tensor(variance, dtype=squared.dtype, device=squared.device))
    argument = squared * scale
    close = argument < _SERIES_BELOW
    small = torch.where(close, argument, torch.zeros_like(argument))
    root = torch.where(close, torch.ones_like(argument), argument).sqrt()
    series = torch.full_like(argument, _SERIES[-1])
    for coefficient in reversed(_SERIES[:-1]):
        series = series * small + coefficient
    return scale.sqrt() * torch.where(close, series * (2.0 / math.sqrt(math.pi)), torch.erf(root) / root)


def gaussian_coulomb(squared: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """Coulomb interaction of Gaussian unit charges, (S, L, L), eV/e^2; on the diagonal ke / (sqrt(pi) s_i).

    The diagonal is twice the self-energy of a Gaussian unit charge, so that q' J q / 2 is the energy of all densities.

    Parameters
    ----------
    squared : (S, L, L) tensor
        A^2.
    widths : (S, L) tensor
        s_i, A, above zero in every slot.
    """
    variances = widths.square()
    return COULOMB * screened(squared, variances[:, :, None] + variances[:, None, :])


def without_diagonal(pairs: torch.Tensor) -> torch.Tensor:
    """Values of pairs, (S, L, L), with zeros where a slot meets itself."""
    itself = torch.eye(pairs.shape[-1], dtype=torch.bool, device=pairs.device)
    return pairs.masked_fill(itself, 0.0)
