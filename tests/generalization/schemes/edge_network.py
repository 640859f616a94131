"""A small network in place of a real one: features that depend on positions, and schemes called as it calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.schemes.base import LongRange, NetworkShape, Scheme

ELEMENTS = (1, 6, 7, 8)
SHAPE = NetworkShape(n_species=4, channels=6, n_layers=2, n_radial=5, cutoff=3.0, elements=ELEMENTS)


class EdgeNetwork(torch.nn.Module):
    """Two layers that sum gated features of neighbours, a linear readout, and a scheme."""

    def __init__(self, scheme: Scheme, shape: NetworkShape = SHAPE) -> None:
        super().__init__()
        self.shape, self.scheme = shape, scheme
        self.species = torch.nn.Embedding(shape.n_species, shape.channels)
        self.gates = torch.nn.ModuleList(
            torch.nn.Linear(shape.n_radial, shape.channels, bias=False) for _ in range(shape.n_layers)
        )
        self.readout = torch.nn.Linear(shape.channels, 1, bias=False)

    def radial(self, batch: AtomBatch) -> torch.Tensor:
        r = batch.vectors().norm(dim=-1, keepdim=True) / self.shape.cutoff
        orders = torch.arange(1, self.shape.n_radial + 1, dtype=r.dtype, device=r.device)
        return torch.sin(orders * torch.pi * r) / r * (1 - r**2).clamp(min=0.0) ** 3

    def forward(self, batch: AtomBatch) -> tuple[torch.Tensor, LongRange | None]:
        """Energy of every atom, and what the scheme said."""
        memory: dict[str, torch.Tensor] = {}
        radial = self.radial(batch)
        features = self.scheme.embed(self.species(batch.species), batch, memory)
        layers = []
        for layer, gate in enumerate(self.gates):
            messages = torch.tanh(features)[batch.edges[0]] * gate(radial)
            features = features + torch.zeros_like(features).index_add(0, batch.edges[1], messages)
            features = self.scheme.after_layer(layer, features, radial, batch, memory)
            layers.append(features)
        added = self.scheme.energy(layers, batch, memory)
        energy = self.readout(torch.tanh(features)).squeeze(-1)
        return (energy if added is None else energy + added.energy), added


def network(
    kind: type[Scheme], options: dict[str, Any] | None = None, *, seed: int = 0, shape: NetworkShape = SHAPE
) -> EdgeNetwork:
    """A network with random weights everywhere, also where a scheme starts from zero."""
    torch.manual_seed(seed)
    made = EdgeNetwork(kind(shape, options), shape).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def structure(n: int, *, charge: int = 0, molecules: int = 1, seed: int = 0, spread: float = 1.3) -> LabelledStructure:
    """n atoms on a distorted grid, in molecules of atoms in turn, the first of which carries the charge."""
    rng = np.random.default_rng(100 * seed + n)
    side = int(np.ceil(n ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n]
    return LabelledStructure(
        numbers=rng.choice(ELEMENTS, n),
        positions=spread * grid + rng.uniform(-0.2, 0.2, (n, 3)),
        energy=0.0,
        forces=None,
        parent="p",
        domain="d",
        charge=charge,
        molecules=np.arange(n) % molecules,
        molecule_charges=(charge, *[0] * (molecules - 1)),
    )


def apart(first: LabelledStructure, second: LabelledStructure, distance: float) -> LabelledStructure:
    """Two structures as one, the second shifted along a general direction; their molecules stay apart."""
    shift = distance * np.array([0.6, -0.48, 0.64])
    return dataclasses.replace(
        first,
        numbers=np.concatenate([first.numbers, second.numbers]),
        positions=np.concatenate([first.positions, second.positions + shift]),
        charge=first.charge + second.charge,
        molecules=np.concatenate([first.molecules, second.molecules + len(first.molecule_charges)]),
        molecule_charges=(*first.molecule_charges, *second.molecule_charges),
    )


def batch_of(
    structures: Sequence[LabelledStructure], *, dtype: torch.dtype = torch.float64, moving: bool = False
) -> AtomBatch:
    """A batch; with positions that require a gradient if they move."""
    made = AtomBatch.of(structures, ELEMENTS, SHAPE.cutoff, dtype=dtype)
    return dataclasses.replace(made, positions=made.positions.requires_grad_()) if moving else made


def energies(net: EdgeNetwork, structures: Sequence[LabelledStructure]) -> torch.Tensor:
    """Energy of every structure, computed in one batch."""
    batch = batch_of(structures)
    return batch.sum_structures(net(batch)[0].detach())


def forces(net: EdgeNetwork, batch: AtomBatch) -> torch.Tensor:
    """-dE/dr, differentiable in turn."""
    (gradient,) = torch.autograd.grad(net(batch)[0].sum(), batch.positions, create_graph=True)
    return -gradient
