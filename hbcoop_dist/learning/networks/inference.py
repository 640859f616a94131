"""Predictions of a network as NumPy arrays, and trained networks restored in torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.networks.atom_batches import AtomBatch, ChargedAtoms, NeutralAtoms
from hbcoop_dist.learning.networks.network_module import Network, energy_and_forces, set_parameters
from hbcoop_dist.learning.networks.trained_files import Trained
from hbcoop_dist.models.neighbour_graphs import to_numpy

_ATOMS_PER_BATCH = 1500
"""Largest number of atoms in a batch, padding included, since some schemes store all pairs of a structure."""

_NEUTRAL = 1e-8
"""Largest sum of charges, e, that counts as neutral."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Prediction for one structure of N atoms.

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


@dataclass(frozen=True, slots=True)
class Traits:
    """Properties of a network for its model card that depend on the scheme and its options.

    Attributes
    ----------
    long_range : bool
        Whether the energy reaches beyond the receptive field of the layers.
    extensive : bool
        Whether the energy of distant molecules is the sum of their own.
    charges : bool
        Whether the network has partial charges that sum to the total charge; latent charges need not.
    """

    long_range: bool
    extensive: bool
    charges: bool


def network_of(trained: Trained, *, device: str = "cpu", dtype: str = "float64") -> Network:
    """Build the network of trained parameters, for evaluation only (parameters require no gradients).

    Parameters
    ----------
    trained : Trained
    device : str
    dtype : {"float64", "float32"}

    Raises
    ------
    ValueError
        When the parameters are not those of the spec.
    """
    network = Network(trained.spec)
    set_parameters(network, trained.parameters)
    return network.to(device=device, dtype=getattr(torch, dtype)).eval().requires_grad_(False)


def traits_of(network: Network) -> Traits:
    """Determine the traits of a network in float64, by evaluating one atom of each element in a neutral row."""
    elements = np.array(network.spec.elements)
    positions = np.arange(len(elements))[:, None] * np.array([1.0, 0.0, 0.0])
    row = NeutralAtoms(elements, positions, np.zeros(len(elements), dtype=np.int64))
    (prediction,) = predict(network, [row], forces=False)
    balanced = prediction.charges is not None and abs(float(prediction.charges.sum())) < _NEUTRAL
    return Traits(network.scheme.long_range, network.scheme.extensive, balanced)


def predict(network: Network, structures: Sequence[ChargedAtoms], *, forces: bool = True) -> list[Prediction]:
    """Predict energies, forces and charges.

    Parameters
    ----------
    network : Network
    structures : sequence of ChargedAtoms
    forces : bool
        Whether to compute forces.

    Returns
    -------
    list of Prediction
        One per structure, in order.
    """
    parameter = next(network.parameters())
    spec = network.spec
    predictions: list[Prediction] = []
    for group in _groups(structures):
        batch = AtomBatch.of(group, spec.elements, spec.cutoff, dtype=parameter.dtype, device=str(parameter.device))
        predictions += _predict_batch(network, batch, [len(structure) for structure in group], forces)
    return predictions


def _predict_batch(network: Network, batch: AtomBatch, sizes: Sequence[int], forces: bool) -> list[Prediction]:
    if forces:
        output, gradients = energy_and_forces(network, batch)
    else:
        with torch.no_grad():
            output, gradients = network(batch), None
    ends = np.cumsum(sizes)[:-1]
    energies = np.split(to_numpy(output.atom_energies), ends)
    force = [None] * len(sizes) if gradients is None else np.split(to_numpy(gradients), ends)
    charge = [None] * len(sizes) if output.charges is None else np.split(to_numpy(output.charges), ends)
    return [Prediction(float(atoms.sum()), atoms, f, q) for atoms, f, q in zip(energies, force, charge, strict=True)]


def _groups(structures: Sequence[ChargedAtoms]) -> Iterator[list[ChargedAtoms]]:
    group: list[ChargedAtoms] = []
    for structure in structures:
        largest = max(len(structure), *(len(other) for other in group)) if group else 0
        if group and (len(group) + 1) * largest > _ATOMS_PER_BATCH:
            yield group
            group = []
        group.append(structure)
    if group:
        yield group
