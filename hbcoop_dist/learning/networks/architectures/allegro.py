"""Allegro: the network of nequip-allegro, whose parts are called one after another so that a scheme can act between.

Features live on ordered pairs of atoms within the cutoff, and the energy of an atom is the sum over the pairs that it
is the centre of: information is not passed from atom to atom, whatever the number of layers. A scheme needs features of
atoms. Before the first layer they are the embedding of the atom's element, one half of which enters the pairs where the
atom is the centre, the other half those where it is the neighbour. After a layer they are that embedding plus the sum
of the layer's scalars over the atom's pairs; a change made by a scheme is added to these pairs, fading to zero at the
cutoff. An atom without neighbours has no pairs: its energy is that of its element plus what the scheme adds.

Without a scheme the energies are those of nequip-allegro to round-off, with two differences. Sums over neighbours are
written so that their second derivatives are cheaper on a CPU, and a tensor product starts from the atoms, of which
there are fewer than pairs; and nothing is compiled, so that every call gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkSpec
from hbcoop_dist.learning.networks.network_module import AfterLayer
from hbcoop_dist.learning.networks.registry import AllegroOptions, parse_options
from hbcoop_dist.models.families.mace import quiet


class AllegroBackbone(torch.nn.Module):
    """Allegro with one or more layers; see `hbcoop_dist.learning.networks.network_module.Backbone`.

    Parameters
    ----------
    spec : NetworkSpec
        Initial parameters are drawn in torch's default float type.

    Raises
    ------
    ValueError
        When the number of channels is odd, or hidden layers of the radial network differ in width.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        if spec.channels % 2:
            raise ValueError(f"architecture allegro: channels: expected an even number, found {spec.channels}")
        if len(set(spec.radial_mlp)) != 1:
            raise ValueError(f"architecture allegro: radial_mlp: expected one width for all, found {spec.radial_mlp}")
        self.shape = spec.shape
        self.network = _allegro_network(spec)
        self._norm = 1.0 / math.sqrt(spec.average_neighbours)

    def forward(
        self, batch: AtomBatch, embed: Callable[[torch.Tensor], torch.Tensor], after_layer: AfterLayer
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Return energies of atoms in units of the scale, and their invariant features after every layer."""
        net, channels, n_atoms = self.network.func, self.shape.channels, len(batch.positions)
        # a pair belongs to its receiver, as sums over edges do in schemes
        neighbour, centre = batch.edges
        vectors = -batch.vectors()
        radial, fading = self._radial(torch.linalg.norm(vectors, dim=-1, keepdim=True))
        embedding = net.radial_chemical_embed.type_embed
        elements = torch.cat([embedding.center_embed.weight, embedding.neighbor_embed.weight], dim=1)
        atoms = embed(elements.index_select(0, batch.species))
        halves = [half.index_select(0, at) for half, at in zip(atoms.chunk(2, dim=1), (centre, neighbour), strict=True)]
        pairs = net.scalar_embed_mlp.mlp_module(torch.cat(halves, dim=1) * embedding.basis_linear(radial))
        angular = net.tensor_embed.sh(vectors)
        tensors = net.tensor_embed._edge_weighter(angular, net.tensor_embed.env_embed_linear(pairs))
        latents = net.allegro.first_layer_env_embed_projection(pairs)
        scalars, invariant = [latents[:, :channels]], []
        for layer, (latent, product) in enumerate(zip(net.allegro.latents, net.allegro.tps, strict=True)):
            around = self._sum(net.allegro._env_weighter(angular, latents[:, channels:]), centre, n_atoms)
            tensors = _contract(product, tensors, around, centre)
            latents = latent(torch.cat([*scalars, tensors[:, :, 0]], dim=1))
            pair_scalars = latents[:, :channels]
            features = atoms + self._sum(pair_scalars, centre, n_atoms)
            changed = after_layer(layer, features, radial)
            if changed is not features:
                pair_scalars = pair_scalars + self._norm * fading * (changed - features).index_select(0, centre)
            scalars.append(pair_scalars)
            invariant.append(changed)
        energies = net.edge_readout.mlp_module(torch.cat(scalars, dim=1))
        # normalisation of nequip-allegro: every distance belongs to two pairs
        return self._sum(energies, centre, n_atoms)[:, 0] / math.sqrt(2.0), invariant

    def _radial(self, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Radial functions, (E, n_radial), and their envelope, (E, 1), of lengths, (E, 1), A."""
        bessel, fraction = self.network.func.radial_chemical_embed.bessel_encode, lengths / self.shape.cutoff
        fading = bessel.cutoff(fraction)
        return torch.sinc(fraction * bessel.bessel_weights) * bessel.bessel_weights * fading, fading

    def _sum(self, pairs: torch.Tensor, centre: torch.Tensor, n_atoms: int) -> torch.Tensor:
        """Values of pairs, (E, ...), summed over the pairs of each centre: (N, ...)."""
        return self._norm * pairs.new_zeros((n_atoms, *pairs.shape[1:])).index_add(0, centre, pairs)


def _contract(product: Any, pairs: torch.Tensor, atoms: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Tensors of pairs, (E, U, I), times those of their centres, (N, U, J), as nequip's Contracter: (E, U, K)."""
    weights = torch.einsum(product._weight_w3j_einstr, product.weights, product.w3j)
    if product.w3j_is_ij_diagonal:
        partial = atoms[:, :, :, None] * weights
    else:
        partial = torch.einsum("nuj,uijk->nuik", atoms, weights)
    return torch.einsum("zui,zuik->zuk", pairs, partial.index_select(0, centre))


def _allegro_network(spec: NetworkSpec) -> Any:
    options = parse_options("architecture allegro", AllegroOptions, spec.architecture_options)
    with quiet():
        from allegro.model.allegro_models import FullAllegroModel
        from e3nn import o3
        from nequip.utils.compile import conditional_torchscript_mode

        tracked = [(1, (ell, (-1) ** ell * sign)) for ell in range(spec.hidden_ell + 1) for sign in (1, -1)]
        # the undecorated builder: the decorator changes the float type, seeds torch and wraps the network
        with conditional_torchscript_mode(False):
            return FullAllegroModel.__wrapped__(
                r_max=spec.cutoff,
                type_names=[f"z{number}" for number in spec.elements],
                irreps_edge_sh=repr(o3.Irreps.spherical_harmonics(spec.max_ell, p=-1)),
                tensor_track_allowed_irreps=o3.Irreps(tracked if options.parity else tracked[::2]),
                radial_chemical_embed={"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": spec.n_radial},
                scalar_embed_mlp_hidden_layers_depth=len(spec.radial_mlp),
                scalar_embed_mlp_hidden_layers_width=spec.radial_mlp[0],
                num_layers=spec.layers,
                num_scalar_features=spec.channels,
                num_tensor_features=options.tensor_channels,
                allegro_mlp_hidden_layers_width=options.latent_width,
                readout_mlp_hidden_layers_width=spec.readout,
                # scale and atomic energies are applied by Network, for all architectures alike
                avg_num_neighbors=spec.average_neighbours,
            )
