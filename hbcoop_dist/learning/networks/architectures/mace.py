"""MACE: mace-torch's own network, whose parts are run here one after another so that a scheme can act between them.

Without a scheme the energies are mace-torch's own to round-off.  Two things differ.  Neighbours are gathered and summed
by ``index_select`` and ``index_add``, whose second derivatives are cheaper on a CPU than those of ``gather`` and
``scatter_add``; and nothing is compiled, so that the first call gives the bits of the hundredth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.network import AfterLayer
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.networks.schemes.base import NetworkShape
from hbcoop_dist.models.families.mace import quiet

_ENVELOPE = 5
_INTERACTION = "RealAgnosticResidualInteractionBlock"


class MaceBackbone(torch.nn.Module):
    """Two or more layers of MACE; see `hbcoop_dist.learning.networks.network.Backbone`."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.shape = NetworkShape(
            len(spec.elements), spec.channels, spec.layers, spec.n_radial, spec.cutoff, elements=spec.elements
        )
        self.network = _network(spec)

    def forward(
        self, batch: AtomBatch, embed: Callable[[torch.Tensor], torch.Tensor], after_layer: AfterLayer
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Energies of atoms in units of the scale, and their invariant features after every layer."""
        net, channels = self.network, self.shape.channels
        kinds = torch.nn.functional.one_hot(batch.species, self.shape.n_species).to(batch.positions.dtype)
        sender, receiver = batch.edges
        vectors = batch.vectors()
        lengths = torch.linalg.norm(vectors, dim=-1, keepdim=True)
        angular = net.spherical_harmonics(vectors)
        radial, _ = net.radial_embedding(lengths, kinds, batch.edges, net.atomic_numbers)
        features = embed(net.node_embedding(kinds))
        own = features.new_zeros(len(features))
        invariant: list[torch.Tensor] = []
        for layer, (interaction, product, readout) in enumerate(
            zip(net.interactions, net.products, net.readouts, strict=True)
        ):
            message, skipped = _interact(interaction, kinds, features, angular, radial, sender, receiver)
            features = product(node_feats=message, sc=skipped, node_attrs=kinds)
            scalars = features[:, :channels]
            changed = after_layer(layer, scalars, radial)
            if changed is not scalars:
                features = torch.cat([changed, features[:, channels:]], dim=-1)
            own = own + readout(features, None)[:, 0]
            invariant.append(changed)
        return own, invariant


def _interact(
    block: Any,
    kinds: torch.Tensor,
    features: torch.Tensor,
    angular: torch.Tensor,
    radial: torch.Tensor,
    sender: torch.Tensor,
    receiver: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Messages summed over neighbours, (N, channels, (max_ell + 1)^2), and the features that skip the layer."""
    up = block.linear_up(features)
    messages = block.conv_tp(up.index_select(0, sender), angular, block.conv_tp_weights(radial))
    total = messages.new_zeros((len(features), messages.shape[1])).index_add(0, receiver, messages)
    return block.reshape(block.linear(total) / block.avg_num_neighbors), block.skip_tp(features, kinds)


def build(spec: NetworkSpec) -> MaceBackbone:
    """The network with its first parameters, in torch's default float type."""
    return MaceBackbone(spec)


def _network(spec: NetworkSpec) -> Any:
    with quiet(), _uncompiled():
        # before e3nn, whose constants torch refuses to load otherwise
        from mace import modules  # isort: skip
        from e3nn import o3

        irreps = [f"{spec.channels}x{ell}{'eo'[ell % 2]}" for ell in range(spec.hidden_ell + 1)]
        interaction = modules.interaction_classes[_INTERACTION]
        return modules.ScaleShiftMACE(
            # energies are scaled and atomic energies added for all architectures alike
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
            atomic_energies=torch.zeros(len(spec.elements)).numpy(),
            r_max=spec.cutoff,
            num_bessel=spec.n_radial,
            num_polynomial_cutoff=_ENVELOPE,
            max_ell=spec.max_ell,
            interaction_cls=interaction,
            interaction_cls_first=interaction,
            num_interactions=spec.layers,
            num_elements=len(spec.elements),
            hidden_irreps=o3.Irreps("+".join(irreps)),
            MLP_irreps=o3.Irreps(f"{spec.readout}x0e"),
            avg_num_neighbors=spec.average_neighbours,
            atomic_numbers=list(spec.elements),
            correlation=spec.correlation,
            gate=torch.nn.functional.silu,
            radial_MLP=list(spec.radial_mlp),
            # its reduced coefficients come from a package for GPUs that is not installed
            use_reduced_cg=False,
        )


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """TorchScript optimises a function after its first calls, and then gives other last digits."""
    import e3nn

    name = "jit_script_fx"
    before = e3nn.get_optimization_defaults()[name]
    e3nn.set_optimization_defaults(**{name: False})
    try:
        yield
    finally:
        e3nn.set_optimization_defaults(**{name: before})
