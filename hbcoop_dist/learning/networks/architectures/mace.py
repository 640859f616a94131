"""MACE: the network of mace-torch, whose parts are called one after another so that a scheme can act between layers.

Without a scheme the energies are those of mace-torch to round-off, with two differences. Neighbours are gathered and
summed by ``index_select`` and ``index_add``, whose second derivatives are cheaper on a CPU than those of ``gather`` and
``scatter_add``; and nothing is compiled, so that every call gives the same bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkSpec
from hbcoop_dist.learning.networks.network_module import AfterLayer
from hbcoop_dist.models.families.mace import quiet

_ENVELOPE = 5
_INTERACTION = "RealAgnosticResidualInteractionBlock"


class MaceBackbone(torch.nn.Module):
    """MACE with two or more layers; see `hbcoop_dist.learning.networks.network_module.Backbone`.

    Parameters
    ----------
    spec : NetworkSpec
        Initial parameters are drawn in torch's default float type.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.shape = spec.shape
        self.network = _mace_network(spec)

    def forward(
        self, batch: AtomBatch, embed: Callable[[torch.Tensor], torch.Tensor], after_layer: AfterLayer
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Return energies of atoms in units of the scale, and their invariant features after every layer."""
        net, channels = self.network, self.shape.channels
        species = torch.nn.functional.one_hot(batch.species, self.shape.n_species).to(batch.positions.dtype)
        sender, receiver = batch.edges
        vectors = batch.vectors()
        lengths = torch.linalg.norm(vectors, dim=-1, keepdim=True)
        angular = net.spherical_harmonics(vectors)
        radial, _ = net.radial_embedding(lengths, species, batch.edges, net.atomic_numbers)
        features = embed(net.node_embedding(species))
        energies = features.new_zeros(len(features))
        invariant: list[torch.Tensor] = []
        for layer, (interaction, product, readout) in enumerate(
            zip(net.interactions, net.products, net.readouts, strict=True)
        ):
            message, skipped = _interact(interaction, species, features, angular, radial, sender, receiver)
            features = product(node_feats=message, sc=skipped, node_attrs=species)
            scalars = features[:, :channels]
            changed = after_layer(layer, scalars, radial)
            if changed is not scalars:
                features = torch.cat([changed, features[:, channels:]], dim=-1)
            energies = energies + readout(features, None)[:, 0]
            invariant.append(changed)
        return energies, invariant


def _interact(
    block: Any,
    species: torch.Tensor,
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
    return block.reshape(block.linear(total) / block.avg_num_neighbors), block.skip_tp(features, species)


def _mace_network(spec: NetworkSpec) -> Any:
    with quiet(), _uncompiled():
        # before e3nn, whose constants torch refuses to load otherwise
        from mace import modules  # isort: skip
        from e3nn import o3

        irreps = [f"{spec.channels}x{ell}{'eo'[ell % 2]}" for ell in range(spec.hidden_ell + 1)]
        interaction = modules.interaction_classes[_INTERACTION]
        return modules.ScaleShiftMACE(
            # scale and atomic energies are applied by Network, for all architectures alike
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
            # reduced coefficients need a GPU package that is not installed
            use_reduced_cg=False,
        )


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """Disable TorchScript, which optimises a function after its first calls and then changes the last digits."""
    import e3nn

    name = "jit_script_fx"
    before = e3nn.get_optimization_defaults()[name]
    e3nn.set_optimization_defaults(**{name: False})
    try:
        yield
    finally:
        e3nn.set_optimization_defaults(**{name: before})
