"""Hyperparameters of networks and of their training: plain data that files hold and that needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Sizes of a network that its long-range scheme depends on.

    Attributes
    ----------
    n_species : int
        Number of elements.
    channels : int
        Invariant features of an atom, the same in every layer.
    n_layers : int
    n_radial : int
        Radial basis functions of an edge.
    cutoff : float
        Cutoff of one layer, A.
    elements : tuple of int
        Atomic numbers of the species, ascending; empty when they are not known.
    """

    n_species: int
    channels: int
    n_layers: int
    n_radial: int
    cutoff: float
    elements: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Hyperparameters of a network and its long-range scheme.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers, ascending.
    architecture, scheme : str
        Names in :mod:`hbcoop_dist.learning.networks.registry`.
    scheme_options : mapping
        Options of the scheme as written in a campaign; plain data.
    cutoff : float
        Cutoff of one layer, A.
    layers : int
    channels : int
        Invariant features of an atom, and features of each other angular momentum.
    max_ell : int
        Largest angular momentum of the spherical harmonics on edges.
    hidden_ell : int
        Largest angular momentum of the features passed between layers.
    correlation : int
        Body order of a layer minus one.
    n_radial : int
        Radial basis functions.
    radial_mlp : tuple of int
        Widths of the hidden layers that turn radial basis functions into weights.
    readout : int
        Width of the hidden layer of the last readout.
    seed : int
        Seed of the initial parameters and of the order of training structures.
    atomic_energies : tuple of float
        Energy of each element, eV; empty until fitted to a training set.
    scale : float
        Factor of the network's own energies, eV.
    average_neighbours : float
        Divisor of sums over neighbours.
    architecture_options : mapping
        Options of the architecture beside these fields, as written in a campaign; plain data.

    Raises
    ------
    ValueError
        When elements are not ascending and unique, or a size is not positive.
    """

    elements: tuple[int, ...]
    architecture: str = "mace"
    scheme: str = "none"
    scheme_options: Mapping[str, Any] = field(default_factory=dict)
    cutoff: float = 4.0
    layers: int = 2
    channels: int = 16
    max_ell: int = 2
    hidden_ell: int = 1
    correlation: int = 2
    n_radial: int = 6
    radial_mlp: tuple[int, ...] = (16, 16)
    readout: int = 16
    seed: int = 0
    atomic_energies: tuple[float, ...] = ()
    scale: float = 1.0
    average_neighbours: float = 1.0
    architecture_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.elements or list(self.elements) != sorted(set(self.elements)):
            raise ValueError(f"network: expected unique elements in ascending order, found {self.elements}")
        if self.atomic_energies and len(self.atomic_energies) != len(self.elements):
            raise ValueError(
                f"network: expected atomic_energies of {len(self.elements)} elements, found {len(self.atomic_energies)}"
            )
        if min(self.cutoff, self.layers, self.channels, self.n_radial, self.correlation) <= 0:
            raise ValueError(f"network: expected cutoff, layers and widths above zero, found {self}")

    @property
    def shape(self) -> NetworkShape:
        """The sizes that a long-range scheme depends on."""
        sizes = len(self.elements), self.channels, self.layers, self.n_radial
        return NetworkShape(*sizes, cutoff=self.cutoff, elements=self.elements)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """Return the spec of fields that were read from JSON, with lists in place of tuples.

        Raises
        ------
        ValueError
            When a required field is missing or a field is unknown.
        """
        names = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise ValueError(f"network: expected fields among {', '.join(sorted(names))}, found {', '.join(unknown)}")
        tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        try:
            return cls(**{**values, **tuples})
        except TypeError as error:
            raise ValueError(f"network: {error}") from None


@dataclass(frozen=True, slots=True)
class Budget:
    """Training budget and settings of the optimiser.

    The budget is a number of steps rather than a time, so that results do not depend on the machine.

    Attributes
    ----------
    steps : int
    batch_size : int
        Structures per step.
    learning_rate, last_learning_rate : float
        Learning rate at the first and at the last step.
    schedule : {"cosine", "exponential"}
        Shape of the learning rate between the two.
    energy_weight : float
        Weight of squared errors of the energy per atom, 1/eV^2.
    forces_weight : float
        Weight of squared errors of force components, A^2/eV^2.
    charges_weight : float
        Weight of squared errors of charges, 1/e^2, for schemes that fit charges.
    dipoles_weight : float
        Weight of squared errors of dipole components computed from the charges, 1/(e A)^2.
    averaging : float
        Decay of the moving average of the parameters, which is validated and kept; 0 disables averaging.
    largest_gradient : float
        Gradient norm above which the gradient is scaled down to it.
    validate_every : int
        Steps between two validations.
    dtype : {"float32", "float64"}
        Float type of parameters and positions; energies are summed in float64 in both cases.

    Raises
    ------
    ValueError
        When a count or a learning rate is not positive.
    """

    steps: int = 1200
    batch_size: int = 8
    learning_rate: float = 0.01
    last_learning_rate: float = 1e-4
    schedule: Literal["cosine", "exponential"] = "cosine"
    energy_weight: float = 1.0
    forces_weight: float = 1.0
    charges_weight: float = 0.0
    dipoles_weight: float = 0.0
    averaging: float = 0.99
    largest_gradient: float = 10.0
    validate_every: int = 100
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.validate_every, self.learning_rate, self.last_learning_rate) <= 0:
            raise ValueError(f"budget: expected steps, batch_size and learning rates above zero, found {self}")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        progress = step / max(self.steps - 1, 1)
        first, last = self.learning_rate, self.last_learning_rate
        if self.schedule == "exponential":
            return first * math.exp(math.log(last / first) * progress)
        return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2

    def decay(self, step: int) -> float:
        """Return the decay of the moving average at a step; it starts small to forget the random initial parameters."""
        return min(self.averaging, (1 + step) / (10 + step))
