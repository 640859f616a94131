"""Networks that tests look into: called in one line, no parameter of theirs zero, a scheme that tells what it sees."""

from __future__ import annotations

import torch

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.network import Network, Output, energy_and_forces
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.networks.schemes.base import Scheme


def stirred(spec: NetworkSpec) -> Network:
    """A network none of whose parameters is zero: a scheme that starts as nothing does something too."""
    network = Network(spec)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in network.parameters():
            one.add_(0.1 * torch.randn(one.shape, generator=random, dtype=one.dtype))
    return network


def batch_of(network: Network, *structures: LabelledStructure, dtype: torch.dtype = torch.float64) -> AtomBatch:
    return AtomBatch.of(structures, network.spec.elements, network.spec.cutoff, dtype=dtype)


def evaluated(network: Network, *structures: LabelledStructure) -> tuple[Output, torch.Tensor]:
    return energy_and_forces(network, batch_of(network, *structures))


class Telling(Scheme):
    """Adds a fixed vector to the features at one of its places, and writes down what it sees."""

    def __init__(self, network: Network, place: str) -> None:
        super().__init__(network.backbone.shape)
        self.place, self.seen, self.handed = place, [], {}  # type: ignore[var-annotated]

    def _told(self, place: str, features: torch.Tensor) -> torch.Tensor:
        if place != self.place:
            return features
        changed = features + torch.linspace(-1.0, 1.0, features.shape[1], dtype=features.dtype)
        self.handed[place] = changed
        return changed

    def embed(self, features, batch, memory):  # type: ignore[no-untyped-def]
        self.seen.append(("embed", tuple(features.shape)))
        return self._told("embed", features)

    def after_layer(self, layer, features, radial, batch, memory):  # type: ignore[no-untyped-def]
        self.seen.append((f"layer {layer}", (*features.shape, radial.shape[1])))
        assert radial.shape[0] == batch.edges.shape[1]
        return self._told(f"layer {layer}", features)

    def energy(self, features, batch, memory):  # type: ignore[no-untyped-def]
        self.seen.append(("energy", tuple(one.shape for one in features)))
        for place, one in self.handed.items():
            if place != "embed":
                assert torch.equal(features[int(place.split()[1])], one)
