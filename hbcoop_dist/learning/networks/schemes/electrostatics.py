"""Coulomb interaction of Gaussian charges in molecules and crystals, and Born effective charges.

The kernel is a function of the squared distance and smooth down to zero: the diagonal of a pair matrix and the padding
of a batch are then pairs like any other, and no derivative of any order meets the square root of zero.

For periodic structures, erf(r / sqrt(2 v)) / r is split by a Gaussian of one width w per cell: erf(r / (sqrt(2) w)) / r
is summed over wave vectors, and the rest, which decays within a few widths, over pairs of atoms. Both sums are cut
where the remainder is below round-off, so that w, chosen for speed, does not affect the result.

The wave vector 0 is left out of the whole kernel. For a neutral cell this is the usual sum with a conducting boundary:
a molecule of dipole moment mu alone in a cubic cell of volume V has 2 pi ke mu^2 / (3 V) less energy than without a
cell. A charged cell interacts with a uniform neutralising background, and its energy tends to that of the molecule only
as 1 / V^(1/3).

torch-pme 0.5 was tried: it takes several times as long, because it sums over a box of wave vectors and over both of
every pair of opposites, and it has one width for all charges, where elements have their own.

Sources: Ewald, Ann. Phys. 369, 253 (1921); for Gaussian charges, Gingrich and Wilson, Chem. Phys. Lett. 500, 178
(2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from ase import units

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.networks.atom_batches import AtomBatch, find_periodic_edges

COULOMB = float(units.Hartree * units.Bohr)
"""Coulomb constant, 14.399645 eV A / e^2."""

# Below it the series is exact to round-off; above it the closed form loses no digit that a second derivative needs.
_SERIES_BELOW = 1e-3
_SERIES = tuple((-1.0) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(5))

_REACH = {torch.float32: 5.5, torch.float64: 7.0}
"""Cutoff of pairs in widths, and of wave vectors in inverse widths: erfc(r / sqrt(2)) is 4e-8 and 3e-12."""

_BALANCE = 0.25
"""Width, in (V^2 / N)^(1/6), at which both sums take equally long; on a CPU a pair costs as much as 8 phases."""


def squared_distances(batch: AtomBatch) -> torch.Tensor:
    """Return squared distances of all pairs of slots, (S, L, L), A^2; empty slots are at the origin."""
    places = batch.padded(batch.positions)
    return (places[:, :, None] - places[:, None, :]).square().sum(dim=-1)


def screened(squared: torch.Tensor, variance: torch.Tensor | float) -> torch.Tensor:
    """Return erf(r / sqrt(2 v)) / r, 1/A, with its limit sqrt(2 / (pi v)) at r = 0.

    Parameters
    ----------
    squared : tensor
        Squared distances r^2, A^2.
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
    """Return the Coulomb interaction of Gaussian unit charges, (S, L, L), eV/e^2.

    The diagonal, ke / (sqrt(pi) s_i), is twice the self-energy of a Gaussian unit charge, so that q' J q / 2 is the
    energy of all densities.

    Parameters
    ----------
    squared : (S, L, L) tensor
        Squared distances, A^2.
    widths : (S, L) tensor
        Widths s_i, A, above zero in every slot.
    """
    variances = widths.square()
    return COULOMB * screened(squared, variances[:, :, None] + variances[:, None, :])


def without_diagonal(pairs: torch.Tensor) -> torch.Tensor:
    """Return values of pairs, (S, L, L), with zeros on the diagonal."""
    diagonal = torch.eye(pairs.shape[-1], dtype=torch.bool, device=pairs.device)
    return pairs.masked_fill(diagonal, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Pairs and wave vectors of one periodic structure of n atoms: P pairs and K wave vectors.

    Attributes
    ----------
    volume : float
        A^3.
    width : float
        Width w of the splitting Gaussian, A.
    pairs : (2, P) long tensor
        Every ordered pair of its atoms within reach, images and each atom with itself included.
    shifts : (P, 3) tensor
        Lattice vector, A, from the second atom of a pair to its image.
    waves : (K, 3) tensor
        One of every wave vector and its opposite, 1/A.
    weights : (K,) tensor
        Weights of both, 1/A.
    """

    volume: float
    width: float
    pairs: torch.Tensor
    shifts: torch.Tensor
    waves: torch.Tensor
    weights: torch.Tensor


def lattice_of(places: torch.Tensor, cell: FloatArray, widest: float) -> Lattice:
    """Find the pairs and wave vectors of a periodic structure.

    Parameters
    ----------
    places : (n, 3) tensor
        Positions, A.
    cell : (3, 3) array
        Lattice vectors as rows, A.
    widest : float
        Square root of the largest variance of the kernels, A.
    """
    volume = float(abs(np.linalg.det(cell)))
    width = max(widest, _BALANCE * (volume**2 / len(places)) ** (1 / 6))
    reach = _REACH[places.dtype]
    pairs, shifts = find_periodic_edges(places.detach().cpu().double().numpy(), cell, reach * width)
    selves = np.tile(np.arange(len(places)), (2, 1))
    waves = _wave_vectors(cell, reach / width)
    squared = np.square(waves).sum(axis=1)

    def floats(values: FloatArray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=places.dtype, device=places.device)

    return Lattice(
        volume=volume,
        width=width,
        pairs=torch.as_tensor(np.concatenate([pairs, selves], axis=1), device=places.device),
        shifts=floats(np.concatenate([shifts, np.zeros((len(places), 3))])),
        waves=floats(waves),
        weights=floats(8 * math.pi / volume * np.exp(-0.5 * width**2 * squared) / squared),
    )


def lattice_potential(charges: torch.Tensor, places: torch.Tensor, cell: FloatArray, sigma: float) -> torch.Tensor:
    """Return sum_j q_j erf(r_ij / (sqrt(2) sigma)) / r_ij at every atom, (n,), e/A, images and the atom itself
    included.

    Parameters
    ----------
    charges : (n,) tensor
        e.
    places : (n, 3) tensor
        Positions, A.
    cell : (3, 3) array
        Lattice vectors as rows, A.
    sigma : float
        Screening length, A.
    """
    lattice = lattice_of(places, cell, sigma)
    cosine, sine = _phases(lattice, places)
    smooth = cosine @ (lattice.weights * (charges @ cosine)) + sine @ (lattice.weights * (charges @ sine))
    first, second = lattice.pairs
    sharp = _sharp(lattice, places, sigma**2) * charges.index_select(0, second)
    potential = smooth.index_add(0, first, sharp)
    return potential - _background(lattice, sigma**2) * charges.sum()


def lattice_matrix(places: torch.Tensor, cell: FloatArray, widths: torch.Tensor) -> torch.Tensor:
    """Return the interaction of Gaussian unit charges with all images of each other, (n, n), 1/A.

    An atom interacts with itself as in `gaussian_coulomb`, and with its own images.

    Parameters
    ----------
    places : (n, 3) tensor
        Positions, A.
    cell : (3, 3) array
        Lattice vectors as rows, A.
    widths : (n,) tensor
        A.
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
    """Difference between the kernel and its smooth part, for every pair."""
    first, second = lattice.pairs
    between = places.index_select(0, second) - places.index_select(0, first) + lattice.shifts
    squared = between.square().sum(dim=-1)
    return screened(squared, variance) - screened(squared, lattice.width**2)


def _background(lattice: Lattice, variance: torch.Tensor | float) -> torch.Tensor | float:
    """Mean over the cell of the difference between the kernel and its smooth part: its wave vector 0."""
    return 2 * math.pi / lattice.volume * (lattice.width**2 - variance)


def _wave_vectors(cell: FloatArray, reach: float) -> FloatArray:
    """Vectors of the reciprocal lattice up to `reach`, 1/A, without 0 and with one of every pair of opposites."""
    largest = (reach * np.linalg.norm(cell, axis=1) / (2 * math.pi)).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in largest), indexing="ij"), axis=-1).reshape(-1, 3)
    half = steps[len(steps) // 2 + 1 :]
    waves = 2 * math.pi * half @ np.linalg.inv(cell).T
    return np.asarray(waves[np.square(waves).sum(axis=1) < reach**2])


def born_charges(charges: torch.Tensor, batch: AtomBatch, *, create_graph: bool = False) -> torch.Tensor:
    """Return Born effective charges Z*_{i,ab} = dP_a / dr_ib with the dipole moment P = sum_j q_j r_j.

    Unlike partial charges they can be measured. The sum over a structure is its total charge times the identity, since
    charges do not change under translation.

    Parameters
    ----------
    charges : (N,) tensor
        Partial charges, e, as a function of `batch.positions`, which must require a gradient.
    batch : AtomBatch
    create_graph : bool
        Whether the result can be differentiated.

    Returns
    -------
    (N, 3, 3) tensor
        e: atom, component of the dipole moment, component of the position.

    Raises
    ------
    ValueError
        When positions require no gradient, or a structure is periodic: its dipole moment depends on the choice of
        images, and so does this derivative as soon as charges depend on positions.

    Notes
    -----
    Source: Zhong, Kim, King and Cheng, arXiv:2504.05169 (2025), for finite systems.
    """
    if not batch.positions.requires_grad:
        raise ValueError("Born charges: expected positions that require a gradient, found positions that do not")
    if batch.periodic:
        raise ValueError("Born charges: expected structures that are not periodic, found structures with a cell")
    dipole = (charges[:, None] * batch.positions).sum(dim=0)
    rows = [
        torch.autograd.grad(component, batch.positions, retain_graph=True, create_graph=create_graph)[0]
        for component in dipole
    ]
    return torch.stack(rows, dim=1)
