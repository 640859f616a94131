"""Structures as one graph without periodic images, and what a network says of its atoms as one answer each."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.base import Evaluation
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Graph:
    """Structures one behind the other, n atoms in all.

    Attributes
    ----------
    sizes : tuple of int
        Atoms of every structure.
    starts : (structures + 1,) int array
        First atom of every structure, and n.
    positions : (n, 3) array
        A.
    numbers : (n,) int array
    pairs, near : (2, edges) int array
        Every ordered pair of different atoms of one structure, and those of them within the cutoff.
    """

    sizes: tuple[int, ...]
    starts: IntArray
    positions: FloatArray
    numbers: IntArray
    pairs: IntArray
    near: IntArray


def join(structures: Sequence[Structure], cutoff: float) -> Graph:
    """Join structures into one graph; `cutoff` in A."""
    return join_arrays([one.positions for one in structures], [one.numbers for one in structures], cutoff)


def join_arrays(places: Sequence[FloatArray], elements: Sequence[IntArray], cutoff: float) -> Graph:
    """Join structures, given by their positions (A) and atomic numbers, into one graph; `cutoff` in A."""
    sizes = tuple(len(one) for one in elements)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    positions, numbers = np.concatenate(places), np.concatenate(elements)
    pairs = np.concatenate([_all_pairs(n) + start for n, start in zip(sizes, starts, strict=False)], axis=1)
    distances = np.linalg.norm(positions[pairs[0]] - positions[pairs[1]], axis=1)
    return Graph(sizes, starts, positions, numbers, pairs, pairs[:, distances <= cutoff])


def split(
    sizes: Sequence[int],
    atom_energies: FloatArray,
    forces: FloatArray | None,
    charges: FloatArray | None = None,
    *,
    with_atoms: bool,
) -> list[Evaluation]:
    """One `Evaluation` per structure from values of all atoms.

    Energies are summed here, in float64: in float32 a network's own sum costs 1e-3 eV where energies are some 1e4 eV.

    Parameters
    ----------
    sizes : sequence of int
    atom_energies : (n,) array
        eV.
    forces : (n, 3) array or None
        eV/A.
    charges : (n,) array, optional
        e.
    with_atoms : bool
        Whether the per-atom energies are asked for.
    """
    results, start = [], 0
    for size in sizes:
        mine = slice(start, start + size)
        start = mine.stop
        results.append(
            Evaluation(
                energy=float(atom_energies[mine].sum()),
                forces=None if forces is None else forces[mine],
                atom_energies=atom_energies[mine] if with_atoms else None,
                charges=None if charges is None else charges[mine],
            )
        )
    return results


def to_numpy(tensor: torch.Tensor) -> FloatArray:
    """Values of a tensor, in float64."""
    return tensor.detach().cpu().double().numpy()


@functools.lru_cache(maxsize=64)
def _all_pairs(n: int) -> IntArray:
    return np.stack(np.nonzero(~np.eye(n, dtype=bool))).astype(np.int64)
