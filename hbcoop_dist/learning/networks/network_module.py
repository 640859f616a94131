"""A network in torch, an architecture combined with a long-range scheme, and its predictions as NumPy arrays.

The energy of an atom is a fitted atomic energy, plus the architecture's own energy times a scale, plus the energy that
the scheme adds. They are summed in float64 whatever the float type of the parameters, since atomic energies are large.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from hbcoop_dist.core.arrays import AnyArray, FloatArray
from hbcoop_dist.learning.networks.atom_batches import AtomBatch, ChargedAtoms, NeutralAtoms
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape, NetworkSpec
from hbcoop_dist.learning.networks.registry import find_architecture, load_implementation
from hbcoop_dist.learning.networks.schemes.base import Memory, Scheme, build_scheme
from hbcoop_dist.learning.networks.trained_files import Trained
from hbcoop_dist.models.batching import to_numpy

_ATOMS_PER_BATCH = 1500
"""Largest number of atoms in a batch, padding included, since some schemes store all pairs of a structure."""

_NEUTRAL = 1e-8
"""Largest sum of charges, e, that counts as neutral."""

AfterLayer = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
"""``(layer, features, radial)`` with the layer from 0, invariant features (N, channels) and radial basis functions
(E, n_radial); returns the features for the next layer."""


class Backbone(Protocol):
    """An architecture without a long-range scheme, a `torch.nn.Module` built from a `NetworkSpec`."""

    shape: NetworkShape

    def __call__(
        self, batch: AtomBatch, embed: Callable[[torch.Tensor], torch.Tensor], after_layer: AfterLayer
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Evaluate a batch.

        Parameters
        ----------
        batch : AtomBatch
            Distances must come from `AtomBatch.vectors`, since positions ignore periodic images.
        embed : callable
            Applied to the features before the first layer.
        after_layer : AfterLayer
            Applied to the invariant features after every layer.

        Returns
        -------
        energies : (N,) tensor
            Energy of every atom in units of the scale.
        features : sequence of (N, channels) tensor
            Invariant features after every layer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """Energies and charges of a batch of N atoms in S structures.

    Attributes
    ----------
    energy : (S,) float64 tensor
        eV.
    atom_energies : (N,) float64 tensor
        eV; they sum to `energy`.
    charges : (N,) tensor or None
        e.
    """

    energy: torch.Tensor
    atom_energies: torch.Tensor
    charges: torch.Tensor | None


class Network(torch.nn.Module):
    """A backbone with a long-range scheme.

    Parameters
    ----------
    spec : NetworkSpec
        Atomic energies that have not been fitted are zero.

    Raises
    ------
    ValueError
        When the architecture, the scheme or one of their options is unknown.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        with _initial_parameters(spec.seed):
            self.backbone: Backbone = load_implementation(find_architecture(spec.architecture))(spec)
            self.scheme: Scheme = build_scheme(spec.scheme, self.backbone.shape, spec.scheme_options)
        # not a buffer: converting the network to float32 must leave atomic energies in float64
        self._atomic = torch.tensor(spec.atomic_energies or (0.0,) * len(spec.elements), dtype=torch.float64)

    def forward(self, batch: AtomBatch) -> Output:
        """Evaluate energies and charges.

        Parameters
        ----------
        batch : AtomBatch
            Of the network's elements, cutoff, float type and device.

        Raises
        ------
        ValueError
            When a structure is periodic and the scheme is not defined for periodic structures.
        """
        self.scheme.require_supported(batch.cells)
        memory: Memory = {}

        def embed(features: torch.Tensor) -> torch.Tensor:
            return self.scheme.embed(features, batch, memory)

        def after_layer(layer: int, features: torch.Tensor, radial: torch.Tensor) -> torch.Tensor:
            return self.scheme.after_layer(layer, features, radial, batch, memory)

        own, features = self.backbone(batch, embed, after_layer)
        added = self.scheme.energy(features, batch, memory)
        learnt = self.spec.scale * own if added is None else self.spec.scale * own + added.energy
        atoms = self._atomic.to(batch.positions.device)[batch.species] + learnt.double()
        return Output(batch.sum_structures(atoms), atoms, None if added is None else added.charges)


def energy_and_forces(network: Network, batch: AtomBatch, *, training: bool = False) -> tuple[Output, torch.Tensor]:
    """Evaluate a network and its forces.

    Parameters
    ----------
    network : Network
    batch : AtomBatch
    training : bool
        Keep the graph, so that output and forces can be differentiated with respect to the parameters.

    Returns
    -------
    output : Output
    forces : (N, 3) tensor
        eV/A.
    """
    moving = batch.positions.detach().requires_grad_()
    output = network(replace(batch, positions=moving))
    (gradient,) = torch.autograd.grad(
        output.energy.sum(), moving, create_graph=training, allow_unused=True, materialize_grads=True
    )
    if training:
        return output, -gradient
    charges = None if output.charges is None else output.charges.detach()
    return Output(output.energy.detach(), output.atom_energies.detach(), charges), -gradient.detach()


def parameter_arrays(network: Network) -> dict[str, AnyArray]:
    """Return copies of all parameters by name, in the network's float type."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.named_parameters()}


def set_parameters(network: Network, parameters: Mapping[str, AnyArray]) -> None:
    """Copy parameters into a network of the same spec.

    Parameters
    ----------
    network : Network
    parameters : mapping of str to array
        As returned by `parameter_arrays`.

    Raises
    ------
    ValueError
        When names or shapes differ from the network's.
    """
    own = dict(network.named_parameters())
    if set(own) != set(parameters):
        difference = ", ".join(sorted(set(own) ^ set(parameters)))
        raise ValueError(f"network: expected its own parameters, found missing or additional ones: {difference}")
    with torch.no_grad():
        for name, value in own.items():
            if value.shape != parameters[name].shape:
                raise ValueError(f"network: parameter {name}: expected {value.shape}, found {parameters[name].shape}")
            value.copy_(torch.as_tensor(np.asarray(parameters[name])))


@contextlib.contextmanager
def _initial_parameters(seed: int) -> Iterator[None]:
    """Draw initial parameters in float64 from the seed alone, and restore torch's float type and generator."""
    before = torch.get_default_dtype()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.set_default_dtype(torch.float64)
            yield
    finally:
        torch.set_default_dtype(before)


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
