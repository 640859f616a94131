"""What a network says of many structures, as arrays, some of them at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hbcoop_dist.learning.networks.atom_batches import AtomBatch, Charged
from hbcoop_dist.learning.networks.network import Network, energy_and_forces
from hbcoop_dist.models.neighbour_graphs import to_numpy

FloatArray = NDArray[np.float64]
_ATOMS = 1500
"""Atoms of a batch, padding counted: pairs of all atoms of a structure are what some schemes keep."""


class _Sized(Charged, Protocol):
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a network says of one structure of N atoms.

    Attributes
    ----------
    energy : float
        eV.
    atom_energies : (N,) array
        eV.
    forces : (N, 3) array or None
        eV/A.
    charges : (N,) array or None
        e.
    """

    energy: float
    atom_energies: FloatArray
    forces: FloatArray | None
    charges: FloatArray | None


def predict(network: Network, structures: Sequence[_Sized], *, forces: bool = True) -> list[Prediction]:
    """One prediction per structure, in order."""
    first = next(network.parameters())
    made: list[Prediction] = []
    for some in _groups(structures):
        spec = network.spec
        batch = AtomBatch.of(some, spec.elements, spec.cutoff, dtype=first.dtype, device=str(first.device))
        made += _of_batch(network, batch, [len(one) for one in some], forces)
    return made


def _of_batch(network: Network, batch: AtomBatch, sizes: Sequence[int], forces: bool) -> list[Prediction]:
    if forces:
        output, slopes = energy_and_forces(network, batch)
    else:
        with torch.no_grad():
            output, slopes = network(batch), None
    ends = np.cumsum(sizes)[:-1]
    atoms = np.split(to_numpy(output.atom_energies), ends)
    slope = [None] * len(sizes) if slopes is None else np.split(to_numpy(slopes), ends)
    charge = [None] * len(sizes) if output.charges is None else np.split(to_numpy(output.charges), ends)
    return [Prediction(float(mine.sum()), mine, f, q) for mine, f, q in zip(atoms, slope, charge, strict=True)]


def _groups(structures: Sequence[_Sized]) -> Iterator[list[_Sized]]:
    group: list[_Sized] = []
    for one in structures:
        if group and (len(group) + 1) * max(len(one), *(len(other) for other in group)) > _ATOMS:
            yield group
            group = []
        group.append(one)
    if group:
        yield group
