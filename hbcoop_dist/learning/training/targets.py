"""What a training set says of a network before any training: atomic energies, an energy scale, how many neighbours.

Atomic energies are least squares, so that the network learns what a sum over atoms cannot say; the scale is the RMS of
force components, which makes forces of a network with first parameters as large as those it learns (MACE's way).

Labels of a batch, and how far a network is from them: the loss of a training step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch, edges_of
from hbcoop_dist.learning.networks.network import Output
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.training.budget import Budget


def fit_baseline(spec: NetworkSpec, training: Sequence[LabelledStructure]) -> NetworkSpec:
    """The spec with what the training set says of it.

    Raises
    ------
    ValueError
        When there is no structure, or one holds an element that is not the network's.
    """
    if not training:
        raise ValueError("training set: expected structures, found none")
    require_known(spec, training)
    counts = np.stack([[np.sum(one.numbers == z) for z in spec.elements] for one in training]).astype(float)
    energies = np.array([one.energy for one in training])
    # the smallest solution, where compositions do not tell elements apart
    atomic = np.linalg.lstsq(counts, energies, rcond=1e-10)[0]
    edges, _ = edges_of(training, spec.cutoff)
    forces = [one.forces for one in training if one.forces is not None]
    spread = np.concatenate(forces) if forces else (energies - counts @ atomic) / counts.sum(axis=1)
    return replace(
        spec,
        atomic_energies=tuple(float(value) for value in atomic),
        scale=float(np.sqrt(np.mean(spread**2))) or 1.0,
        average_neighbours=max(edges.shape[1] / int(counts.sum()), 1.0),
    )


def require_known(spec: NetworkSpec, structures: Sequence[LabelledStructure]) -> None:
    """Raise `ValueError`, naming them, when structures hold elements that are not the network's."""
    found = {int(z) for one in structures for z in one.numbers}
    if unknown := sorted(found - set(spec.elements)):
        raise ValueError(f"network of elements {spec.elements}: expected no others, found atomic numbers {unknown}")


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Labels of S structures of N atoms; NaN where there is none.

    Attributes
    ----------
    energy, sizes : (S,) float64 tensor
        eV; atoms.
    forces : (N, 3) tensor
        eV/A.
    charges : (N,) tensor
        e.
    dipoles : (S, 3) tensor
        e A; none of a structure that repeats, whose dipole depends on which images are taken.
    """

    energy: torch.Tensor
    sizes: torch.Tensor
    forces: torch.Tensor
    charges: torch.Tensor
    dipoles: torch.Tensor

    @classmethod
    def of(cls, structures: Sequence[LabelledStructure], *, dtype: torch.dtype, device: str) -> Targets:
        """Labels of structures, in the order of an `AtomBatch` of them."""

        def joined(labels: Sequence[NDArray[np.float64] | None], shapes: Sequence[tuple[int, ...]]) -> torch.Tensor:
            filled = [np.full(shape, np.nan) if one is None else one for one, shape in zip(labels, shapes, strict=True)]
            return torch.as_tensor(np.concatenate(filled), dtype=dtype, device=device)

        sizes = [len(one) for one in structures]
        dipoles = [one.dipole if one.cell is None else None for one in structures]
        return cls(
            energy=torch.tensor([one.energy for one in structures], dtype=torch.float64, device=device),
            sizes=torch.tensor(sizes, dtype=torch.float64, device=device),
            forces=joined([one.forces for one in structures], [(n, 3) for n in sizes]),
            charges=joined([one.charges for one in structures], [(n,) for n in sizes]),
            dipoles=joined(dipoles, [(3,)] * len(sizes)).reshape(-1, 3),
        )


def loss_of(
    output: Output, forces: torch.Tensor, batch: AtomBatch, targets: Targets, budget: Budget, *, with_charges: bool
) -> torch.Tensor:
    """Weighted sum of mean squared errors; labels that are not there count for nothing.

    `with_charges` says whether charges and the dipoles that follow from them are compared at all.
    """
    per_atom = (output.energy - targets.energy) / targets.sizes
    total = budget.energy_weight * (per_atom**2).mean()
    total = total + budget.forces_weight * _mean_square(forces, targets.forces)
    if with_charges and output.charges is not None:
        total = total + budget.charges_weight * _mean_square(output.charges, targets.charges)
        if budget.dipoles_weight:
            dipoles = batch.sum_structures(output.charges[:, None] * batch.positions)
            total = total + budget.dipoles_weight * _mean_square(dipoles, targets.dipoles)
    return total


def _mean_square(found: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    known = ~torch.isnan(label)
    # not a mean over a selection: that of nothing is NaN
    difference = torch.where(known, found - torch.where(known, label, 0.0), 0.0)
    return (difference**2).sum() / known.sum().clamp(min=1)
