"""Labels of a batch as tensors, and the loss of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import Budget
from hbcoop_dist.learning.networks.network_module import Output


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Labels of S structures of N atoms in all; missing labels are NaN.

    Attributes
    ----------
    energy : (S,) float64 tensor
        eV.
    sizes : (S,) float64 tensor
        Numbers of atoms.
    forces : (N, 3) tensor
        eV/A.
    charges : (N,) tensor
        e.
    dipoles : (S, 3) tensor
        e A; NaN for periodic structures, whose dipole depends on the choice of images.
    """

    energy: torch.Tensor
    sizes: torch.Tensor
    forces: torch.Tensor
    charges: torch.Tensor
    dipoles: torch.Tensor

    @classmethod
    def of(cls, structures: Sequence[LabelledStructure], *, dtype: torch.dtype, device: str) -> Targets:
        """Collect the labels of structures, in the order of their `AtomBatch`.

        Parameters
        ----------
        structures : sequence of LabelledStructure
        dtype : torch.dtype
            Of forces, charges and dipoles.
        device : str
        """

        def joined(labels: Sequence[FloatArray | None], shapes: Sequence[tuple[int, ...]]) -> torch.Tensor:
            filled = [
                np.full(shape, np.nan) if label is None else label for label, shape in zip(labels, shapes, strict=True)
            ]
            return torch.as_tensor(np.concatenate(filled), dtype=dtype, device=device)

        sizes = [len(structure) for structure in structures]
        dipoles = [structure.dipole if structure.cell is None else None for structure in structures]
        energies = [structure.energy for structure in structures]
        return cls(
            energy=torch.tensor(energies, dtype=torch.float64, device=device),
            sizes=torch.tensor(sizes, dtype=torch.float64, device=device),
            forces=joined([structure.forces for structure in structures], [(n, 3) for n in sizes]),
            charges=joined([structure.charges for structure in structures], [(n,) for n in sizes]),
            dipoles=joined(dipoles, [(3,)] * len(sizes)).reshape(-1, 3),
        )


def training_loss(
    output: Output, forces: torch.Tensor, batch: AtomBatch, targets: Targets, budget: Budget, *, fit_charges: bool
) -> torch.Tensor:
    """Return the weighted sum of mean squared errors; missing labels do not contribute.

    Parameters
    ----------
    output : Output
    forces : (N, 3) tensor
        Predicted forces, eV/A.
    batch : AtomBatch
    targets : Targets
    budget : Budget
        Weights of the terms.
    fit_charges : bool
        Whether charges, and the dipoles that follow from them, are compared.

    Returns
    -------
    scalar tensor
    """
    per_atom = (output.energy - targets.energy) / targets.sizes
    total = budget.energy_weight * (per_atom**2).mean()
    total = total + budget.forces_weight * _mean_square(forces, targets.forces)
    if fit_charges and output.charges is not None:
        total = total + budget.charges_weight * _mean_square(output.charges, targets.charges)
        if budget.dipoles_weight:
            dipoles = batch.sum_structures(output.charges[:, None] * batch.positions)
            total = total + budget.dipoles_weight * _mean_square(dipoles, targets.dipoles)
    return total


def _mean_square(prediction: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    present = ~torch.isnan(label)
    # a mean over the selected labels would be NaN without any
    difference = torch.where(present, prediction - torch.where(present, label, 0.0), 0.0)
    return (difference**2).sum() / present.sum().clamp(min=1)
