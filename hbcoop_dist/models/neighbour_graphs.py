"""Join structures into one graph without periodic images, and split values of all atoms into results per structure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import ArrayLike

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.models.base import Evaluation
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Graph:
    """Structures joined one after the other, n atoms in all.

    Attributes
    ----------
    sizes : tuple of int
        Number of atoms of every structure.
    starts : (structures + 1,) int array
        Index of the first atom of every structure, and n.
    positions : (n, 3) array
        Positions, A.
    numbers : (n,) int array
        Atomic numbers.
    pairs, near : (2, edges) int array
        All ordered pairs of different atoms of one structure, and those of them within the cutoff.
    """

    sizes: tuple[int, ...]
    starts: IntArray
    positions: FloatArray
    numbers: IntArray
    pairs: IntArray
    near: IntArray


def join(structures: Sequence[Structure], cutoff: float) -> Graph:
    """Join structures into one graph.

    Parameters
    ----------
    structures : sequence of Structure
    cutoff : float
        Largest distance of the pairs in `Graph.near`, A.
    """
    return join_arrays(
        [structure.positions for structure in structures], [structure.numbers for structure in structures], cutoff
    )


def join_arrays(positions: Sequence[FloatArray], numbers: Sequence[IntArray], cutoff: float) -> Graph:
    """Join structures, given as arrays, into one graph.

    Parameters
    ----------
    positions : sequence of (N, 3) array
        Positions of every structure, A.
    numbers : sequence of (N,) int array
        Atomic numbers of every structure.
    cutoff : float
        Largest distance of the pairs in `Graph.near`, A.
    """
    sizes = tuple(len(structure) for structure in numbers)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    joined, elements = np.concatenate(positions), np.concatenate(numbers)
    pairs = np.concatenate([_all_pairs(n) + start for n, start in zip(sizes, starts, strict=False)], axis=1)
    distances = np.linalg.norm(joined[pairs[0]] - joined[pairs[1]], axis=1)
    return Graph(sizes, starts, joined, elements, pairs, pairs[:, distances <= cutoff])


def split(
    structures: Sequence[Structure],
    atom_energies: FloatArray,
    forces: FloatArray | None,
    charges: FloatArray | None = None,
    *,
    with_atoms: bool,
) -> list[Evaluation]:
    """Make one `Evaluation` per structure from the values of all atoms.

    Energies are summed here, in float64: in float32 a network's own sum of energies of 1e4 eV is off by 1e-3 eV.

    Parameters
    ----------
    structures : sequence of Structure
        Structures of n atoms in all.
    atom_energies : (n,) array
        Energies of the atoms, eV.
    forces : (n, 3) array or None
        Forces, eV/A.
    charges : (n,) array, optional
        Partial charges, e.
    with_atoms : bool
        Whether to return energies per atom.
    """
    return [
        Evaluation(
            energy=float(energies.sum()),
            forces=own_forces,
            atom_energies=energies if with_atoms else None,
            charges=own_charges,
        )
        for energies, own_forces, own_charges in zip(
            split_atoms(structures, atom_energies),
            split_atoms(structures, forces),
            split_atoms(structures, charges),
            strict=True,
        )
    ]


@overload
def split_atoms(structures: Sequence[Structure], values: FloatArray) -> list[FloatArray]: ...
@overload
def split_atoms(structures: Sequence[Structure], values: FloatArray | None) -> Sequence[FloatArray | None]: ...
def split_atoms(structures: Sequence[Structure], values: FloatArray | None) -> Sequence[FloatArray | None]:
    """Split values of all atoms by structure.

    Parameters
    ----------
    structures : sequence of Structure
        Structures of n atoms in all.
    values : (n, ...) array or None

    Returns
    -------
    sequence of (N, ...) array or None
        None for every structure where there are no values.
    """
    if values is None:
        return [None] * len(structures)
    return np.split(values, np.cumsum([len(structure) for structure in structures])[:-1])


def to_numpy(tensor: torch.Tensor) -> FloatArray:
    """Copy a tensor into a float64 array.

    Parameters
    ----------
    tensor : torch.Tensor
    """
    return tensor.detach().cpu().double().numpy()


def to_tensor(values: ArrayLike, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Make a tensor from an array.

    Parameters
    ----------
    values : array_like
    dtype : torch.dtype
    device : str
    """
    import torch

    return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)


@functools.lru_cache(maxsize=64)
def _all_pairs(n: int) -> IntArray:
    return np.stack(np.nonzero(~np.eye(n, dtype=bool))).astype(np.int64)
