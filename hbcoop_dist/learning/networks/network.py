"""A network of any architecture with any long-range scheme: what is the same for all of them.

The energy of an atom is a fixed atomic energy, the architecture's own energy times a scale, and what the scheme adds.
They are summed in float64, whatever the float type of the parameters: atomic energies are large.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hbcoop_dist.learning.networks.architectures.registry import builder_of
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.networks.schemes.base import Memory, NetworkShape, Scheme
from hbcoop_dist.learning.networks.schemes.registry import scheme_of

AfterLayer = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
"""Layer (from 0), invariant features (N, channels), radial basis (E, n_radial): the features to go on with."""


class Backbone(Protocol):
    """An architecture without its scheme, a `torch.nn.Module`; what its file builds from a `NetworkSpec`."""

    shape: NetworkShape

    def __call__(
        self, batch: AtomBatch, embed: Callable[[torch.Tensor], torch.Tensor], after_layer: AfterLayer
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Energies of atoms, (N,), in units of the scale, and invariant features, (N, channels), after every layer.

        It calls `embed` on the features before its first layer and `after_layer` after every one. What it measures are
        `batch.vectors()`, never positions, which do not know of images.
        """
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """What a network says of a batch of N atoms in S structures.

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
    """A backbone and a scheme.

    Parameters
    ----------
    spec : NetworkSpec
        Where its atomic energies are not fitted, they are zero.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        with _first_parameters(spec.seed):
            self.backbone = builder_of(spec.architecture)(spec)
            self.scheme: Scheme = scheme_of(spec.scheme)(self.backbone.shape, spec.scheme_options)
        # plain, so that a change of the float type leaves them in float64
        self._atomic = torch.tensor(spec.atomic_energies or (0.0,) * len(spec.elements), dtype=torch.float64)

    def forward(self, batch: AtomBatch) -> Output:
        """Energies and charges; `batch` is of the network's elements, cutoff, float type and device.

        Raises
        ------
        ValueError
            When structures repeat and the scheme is not defined for such.
        """
        self.scheme.require_defined(batch.cells)
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
    """Output and forces, (N, 3), eV/A.

    With `training` both can be differentiated by the parameters; without, they are cut from the graph.
    """
    moving = batch.positions.detach().requires_grad_()
    output = network(replace(batch, positions=moving))
    (slope,) = torch.autograd.grad(
        output.energy.sum(), moving, create_graph=training, allow_unused=True, materialize_grads=True
    )
    if training:
        return output, -slope
    charges = None if output.charges is None else output.charges.detach()
    return Output(output.energy.detach(), output.atom_energies.detach(), charges), -slope.detach()


def parameters_of(network: Network) -> dict[str, NDArray[np.generic]]:
    """All parameters by name, in the network's float type."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.named_parameters()}


def set_parameters(network: Network, parameters: Mapping[str, NDArray[np.generic]]) -> None:
    """Put parameters into a network of the same spec.

    Raises
    ------
    ValueError
        When a name or shape is not the network's.
    """
    mine = dict(network.named_parameters())
    if set(mine) != set(parameters):
        odd = ", ".join(sorted(set(mine) ^ set(parameters)))
        raise ValueError(f"network: expected its own parameters, found others, or too few: {odd}")
    with torch.no_grad():
        for name, value in mine.items():
            if value.shape != parameters[name].shape:
                raise ValueError(f"network: parameter {name}: expected {value.shape}, found {parameters[name].shape}")
            value.copy_(torch.as_tensor(np.asarray(parameters[name])))


@contextlib.contextmanager
def _first_parameters(seed: int) -> Iterator[None]:
    """First parameters are drawn in float64 and by the seed alone; nothing of it stays behind."""
    before = torch.get_default_dtype()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.set_default_dtype(torch.float64)
            yield
    finally:
        torch.set_default_dtype(before)
