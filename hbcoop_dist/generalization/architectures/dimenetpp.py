"""DimeNet++: PyTorch Geometric's own blocks, whose parts are run here so that a scheme can act between them.

Messages live on ordered pairs of atoms, j -> i, and are changed by those k -> j that come into their sender.  There is
an output block, which sums what an atom receives, behind the embedding and behind every interaction block: these sums
are the layers here, one more than there are interaction blocks, and an atom hears as many cutoffs far as there are
layers.  Features of an atom are those of its element and what it has summed; without neighbours, those of its element.

What a scheme changes goes on in two ways: it is added to the sum from which the output block makes the energy, and to
the messages that the atom received, by the linear map that brought them its first features.  So there are no parameters
but DimeNet++'s own, and a change goes one cutoff far in every layer: messages that the atom sends hear of it from those
that it received from others.  An atom with one neighbour has no others, and tells nobody.

Without a scheme the energies are PyTorch Geometric's own to round-off.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from hbcoop_dist.generalization.architectures import ARCHITECTURES
from hbcoop_dist.generalization.architectures.spherical_basis import SphericalBasis
from hbcoop_dist.generalization.architectures.triplets import triplets
from hbcoop_dist.generalization.atoms import AtomBatch
from hbcoop_dist.generalization.network import AfterLayer
from hbcoop_dist.generalization.network_spec import NetworkSpec
from hbcoop_dist.generalization.schemes.base import NetworkShape

SILU = torch.nn.SiLU()
_FIRST_OUTPUT = "glorot_orthogonal"
_INNER = ("int_emb_size", "basis_emb_size", "num_spherical", "num_before_skip", "num_after_skip")


class DimeNetBackbone(torch.nn.Module):
    """One or more layers of DimeNet++; see `hbcoop_dist.generalization.network.Backbone`."""

    output_blocks: Any
    interaction_blocks: Any

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.shape = NetworkShape(
            len(spec.elements), spec.channels, spec.layers, spec.n_radial, spec.cutoff, elements=spec.elements
        )
        options = {**ARCHITECTURES["dimenet++"].options, **spec.architecture_options}
        with _quiet():
            from torch_geometric.nn.models import dimenet, dimenet_utils
        sizes = spec.n_radial, spec.channels
        self.rbf = dimenet.BesselBasisLayer(spec.n_radial, spec.cutoff, options["envelope_exponent"])
        zeros = dimenet_utils.Jn_zeros(options["num_spherical"], spec.n_radial)
        self.sbf = SphericalBasis(zeros.astype(np.float64))
        self.emb = dimenet.EmbeddingBlock(*sizes, SILU)
        # a row for every element of the network, not for all there are
        self.emb.emb = torch.nn.Embedding(len(spec.elements), spec.channels)
        self.emb.reset_parameters()
        self.output_blocks = torch.nn.ModuleList(
            dimenet.OutputPPBlock(
                *sizes, options["out_emb_channels"], 1, options["num_output_layers"], SILU, _FIRST_OUTPUT
            )
            for _ in range(spec.layers)
        )
        inner = {name: options[name] for name in _INNER}
        self.interaction_blocks = torch.nn.ModuleList(
            dimenet.InteractionPPBlock(spec.channels, num_radial=spec.n_radial, act=SILU, **inner)
            for _ in range(spec.layers - 1)
        )

    def forward(
        self, batch: AtomBatch, embed: Callable[[torch.Tensor], torch.Tensor], after_layer: AfterLayer
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Energies of atoms in units of the scale, and their invariant features after every layer."""
        sender, receiver = batch.edges
        vectors = batch.vectors()
        lengths = torch.linalg.norm(vectors, dim=-1)
        radial = self.rbf(lengths)
        pairs = triplets(batch.edges, len(batch.species), batch.shifts)
        angular = self._angular(vectors, lengths, *pairs)
        atoms = embed(self.emb.emb(batch.species))
        messages = self._embedded(atoms, radial, sender, receiver)
        own = vectors.new_zeros(len(batch.species))
        invariant: list[torch.Tensor] = []
        for layer, output in enumerate(self.output_blocks):
            if layer:
                messages = self.interaction_blocks[layer - 1](messages, radial, angular, *pairs)
            gathered = torch.zeros_like(atoms).index_add(0, receiver, output.lin_rbf(radial) * messages)
            features = atoms + gathered
            changed = after_layer(layer, features, radial)
            if changed is not features:
                change = changed - features
                gathered, messages = gathered + change, messages + self._told(change, receiver)
            own = own + _read(output, gathered)
            invariant.append(changed)
        return own, invariant

    def _embedded(
        self, features: torch.Tensor, radial: torch.Tensor, sender: torch.Tensor, receiver: torch.Tensor
    ) -> torch.Tensor:
        """First messages, (E, channels)."""
        ends = features.index_select(0, receiver), features.index_select(0, sender)
        messages: torch.Tensor = SILU(self.emb.lin(torch.cat([*ends, SILU(self.emb.lin_rbf(radial))], dim=-1)))
        return messages

    def _told(self, change: torch.Tensor, receiver: torch.Tensor) -> torch.Tensor:
        """What a change of atoms' features, (N, channels), adds to messages, (E, channels)."""
        as_receiver = self.emb.lin.weight[:, : self.shape.channels]
        return torch.nn.functional.linear(change, as_receiver).index_select(0, receiver)

    def _angular(
        self, vectors: torch.Tensor, lengths: torch.Tensor, kj: torch.Tensor, ji: torch.Tensor
    ) -> torch.Tensor:
        """Basis functions of pairs of edges, (T, num_spherical * n_radial)."""
        fraction = lengths / self.shape.cutoff
        units = vectors / lengths[:, None]
        cosine = (units.index_select(0, kj) * units.index_select(0, ji)).sum(dim=-1)
        values: torch.Tensor = self.sbf(fraction, self.rbf.envelope(fraction), cosine, kj)
        return values


def _read(block: Any, features: torch.Tensor) -> torch.Tensor:
    """Energies of atoms, (N,), from their features."""
    features = block.lin_up(features)
    for layer in block.lins:
        features = SILU(layer(features))
    energies: torch.Tensor = block.lin(features)[:, 0]
    return energies


def build(spec: NetworkSpec) -> DimeNetBackbone:
    """The network with its first parameters, in torch's default float type."""
    return DimeNetBackbone(spec)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """At import the package warns of parts of itself that are not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
