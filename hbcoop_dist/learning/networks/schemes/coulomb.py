"""Coulomb interaction of Gaussian charges, all pairs of every structure at once: what LES and CELLI share.

The kernel is a function of the squared distance, smooth down to zero: the diagonal of a pair matrix and the padding of
a batch are then pairs like any other, and no derivative of any order meets the square root of zero.

Coulomb interaction of Gaussian charges in structures that repeat: the kernel that molecules have, over all images.

erf(r / sqrt(2 v)) / r is split by a Gaussian of one width w for a cell: erf(r / (sqrt(2) w)) / r is summed over wave
vectors, and what is left, which ends after a few widths, over pairs of atoms.  Both tails are cut where round-off hides
them, so that w, chosen for speed, decides nothing.

The wave vector 0 is left out of the whole kernel.  For a neutral cell that is the usual sum, as with a conductor around
the crystal: a molecule of dipole moment mu alone in a cubic cell of volume V has 2 pi ke mu^2 / (3 V) less energy than
without a cell.  A charged cell interacts with a uniform background that makes it neutral, and its energy tends to that
of the molecule as 1 / V^(1/3) only.

A library was tried: torch-pme 0.5 takes several times as long, since it sums over a box of wave vectors, and over both
of every pair of opposites, and it has one width for all charges, where elements have their own.

Sources: Ewald, Ann. Phys. 369, 253 (1921); of Gaussian charges, Gingrich and Wilson, Chem. Phys. Lett. 500, 178 (2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from ase import units
from numpy.typing import NDArray

from hbcoop_dist.learning.networks.atom_batches import AtomBatch, images_within

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


FloatArray = NDArray[np.float64]

_REACH = {torch.float32: 5.5, torch.float64: 7.0}
"""Widths after which pairs end, and inverse widths after which wave vectors do: erfc(r / sqrt(2)) is 4e-8 and 3e-12."""

_BALANCE = 0.25
"""Width for which pairs and wave vectors take as long, in (V^2 / N)^(1/6): a pair costs as much as 8 phases (a CPU)."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """One structure of n atoms that repeats, ready to be summed: P pairs and K wave vectors.

    Attributes
    ----------
    volume, width : float
        A^3 and A.
    pairs : (2, P) long tensor
        Every ordered pair of its atoms within reach, images and each atom with itself included.
    shifts : (P, 3) tensor
        Lattice vector, A, that moves the second atom of a pair to where it is.
    waves : (K, 3) tensor
        1/A; one of every wave vector and its opposite.
    weights : (K,) tensor
        1/A; of both.
    """

    volume: float
    width: float
    pairs: torch.Tensor
    shifts: torch.Tensor
    waves: torch.Tensor
    weights: torch.Tensor


def lattice_of(places: torch.Tensor, cell: FloatArray, widest: float) -> Lattice:
    """Pairs and wave vectors for atoms at `places`, (n, 3), A, and kernels of variance up to `widest` squared, A."""
    volume = float(abs(np.linalg.det(cell)))
    width = max(widest, _BALANCE * (volume**2 / len(places)) ** (1 / 6))
    reach = _REACH[places.dtype]
    pairs, shifts = images_within(places.detach().cpu().double().numpy(), cell, reach * width)
    itself = np.tile(np.arange(len(places)), (2, 1))
    waves = _waves(cell, reach / width)
    squared = np.square(waves).sum(axis=1)

    def real(values: FloatArray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=places.dtype, device=places.device)

    return Lattice(
        volume=volume,
        width=width,
        pairs=torch.as_tensor(np.concatenate([pairs, itself], axis=1), device=places.device),
        shifts=real(np.concatenate([shifts, np.zeros((len(places), 3))])),
        waves=real(waves),
        weights=real(8 * math.pi / volume * np.exp(-0.5 * width**2 * squared) / squared),
    )


def lattice_potential(charges: torch.Tensor, places: torch.Tensor, cell: FloatArray, sigma: float) -> torch.Tensor:
    """sum_j q_j erf(r_ij / (sqrt(2) sigma)) / r_ij at every atom, (n,), e/A, images and the atom itself included.

    Parameters
    ----------
    charges : (n,) tensor
        e.
    places : (n, 3) tensor
        A.
    cell : (3, 3) array
        Lattice vectors as rows, A.
    sigma : float
        A.
    """
    lattice = lattice_of(places, cell, sigma)
    cosine, sine = _phases(lattice, places)
    smooth = cosine @ (lattice.weights * (charges @ cosine)) + sine @ (lattice.weights * (charges @ sine))
    first, second = lattice.pairs
    sharp = _sharp(lattice, places, sigma**2) * charges.index_select(0, second)
    potential = smooth.index_add(0, first, sharp)
    return potential - _background(lattice, sigma**2) * charges.sum()


def lattice_matrix(places: torch.Tensor, cell: FloatArray, widths: torch.Tensor) -> torch.Tensor:
    """Interaction of Gaussian unit charges of these widths, (n,), A, with all images of each other: (n, n), 1/A.

    An atom interacts with itself as in `electrostatics.gaussian_coulomb`, and with its own images.
    """
    n = len(places)
    lattice = lattice_of(places, cell, math.sqrt(2.0) * float(widths.detach().max()))
    cosine, sine = _phases(lattice, places)
    smooth = (cosine * lattice.weights) @ cosine.T + (sine * lattice.weights) @ sine.T
    variances = widths.square()[:, None] + widths.square()[None, :]
    first, second = lattice.pairs
    sharp = _sharp(lattice, places, variances[first, second])
    both = smooth.reshape(-1).index_add(0, first * n + second, sharp).reshape(n, n)
    return both - _background(lattice, variances)


def _phases(lattice: Lattice, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    phases = places @ lattice.waves.T
    return phases.cos(), phases.sin()


def _sharp(lattice: Lattice, places: torch.Tensor, variance: torch.Tensor | float) -> torch.Tensor:
    """What the smooth kernel lacks, for every pair."""
    first, second = lattice.pairs
    between = places.index_select(0, second) - places.index_select(0, first) + lattice.shifts
    squared = between.square().sum(dim=-1)
    return screened(squared, variance) - screened(squared, lattice.width**2)


def _background(lattice: Lattice, variance: torch.Tensor | float) -> torch.Tensor | float:
    """Mean over the cell of what the smooth kernel lacks: its wave vector 0."""
    return 2 * math.pi / lattice.volume * (lattice.width**2 - variance)


def _waves(cell: FloatArray, reach: float) -> FloatArray:
    """Vectors of the reciprocal lattice up to `reach`, 1/A, without 0 and without the opposite of any."""
    most = (reach * np.linalg.norm(cell, axis=1) / (2 * math.pi)).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), axis=-1).reshape(-1, 3)
    half = steps[len(steps) // 2 + 1 :]
    waves = 2 * math.pi * half @ np.linalg.inv(cell).T
    return np.asarray(waves[np.square(waves).sum(axis=1) < reach**2])
