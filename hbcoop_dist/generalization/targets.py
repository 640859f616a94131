"""Labels of a batch, and how far a network is from them: the loss of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hbcoop_dist.generalization.atoms import AtomBatch
from hbcoop_dist.generalization.budget import Budget
from hbcoop_dist.generalization.labelled import LabelledStructure
from hbcoop_dist.generalization.network import Output


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
