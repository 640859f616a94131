"""A trained network back in torch, and what only it can say of itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hbcoop_dist.learning.networks.network import Network, set_parameters
from hbcoop_dist.learning.networks.prediction import predict
from hbcoop_dist.learning.networks.trained_files import Trained

_CHARGE = 1e-8  # e


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model's card says and only the scheme knows.

    Attributes
    ----------
    long_range, extensive : bool
        As in `ModelCard`.
    charges : bool
        Whether it has partial charges that sum to the total charge; latent ones need not.
    """

    long_range: bool
    extensive: bool
    charges: bool


@dataclass(frozen=True, slots=True)
class _Row:
    """A neutral structure of one atom of every element, 1 A apart."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    molecules: NDArray[np.int64]
    molecule_charges: tuple[int, ...] = (0,)
    cell: None = None

    def __len__(self) -> int:
        return len(self.numbers)


def network_of(trained: Trained, *, device: str = "cpu", dtype: str = "float64") -> Network:
    """The network with its trained parameters, which have no gradients any more."""
    network = Network(trained.spec)
    set_parameters(network, trained.parameters)
    return network.to(device=device, dtype=getattr(torch, dtype)).eval().requires_grad_(False)


def traits_of(network: Network) -> Traits:
    """Ask a network in float64 what it is."""
    elements = np.array(network.spec.elements)
    places = np.arange(len(elements))[:, None] * np.array([1.0, 0.0, 0.0])
    (found,) = predict(network, [_Row(elements, places, np.zeros(len(elements), dtype=np.int64))], forces=False)
    balanced = found.charges is not None and abs(float(found.charges.sum())) < _CHARGE
    return Traits(network.scheme.reaches, network.scheme.extensive, balanced)
