"""DimeNet++: the blocks of PyTorch Geometric, called one after another so that a scheme can act between layers.

Messages live on ordered pairs of atoms, j -> i, and are updated by the messages k -> j of their sender. An output
block, which sums the messages that an atom receives, follows the embedding and every interaction block: these sums are
the layers here, one more than there are interaction blocks, and the receptive field is as many cutoffs as there are
layers. Features of an atom are those of its element plus the sum; without neighbours, those of its element.

A change made by a scheme is added in two places: to the sum from which the output block makes the energy, and to the
messages that the atom received, through the linear map by which its first features entered them. So there are no
parameters beyond DimeNet++'s own, and a change travels one cutoff per layer. An atom with a single neighbour sends
messages that depend on no other incoming message, so its changes do not travel.

Without a scheme the energies are those of PyTorch Geometric to round-off. Two parts are written anew. PyTorch Geometric
builds its basis functions from formulas simplified by SymPy, which takes many seconds per network; they divide by
powers of the distance and take the angle from an arc tangent, so that float32 is inaccurate at short distances and
second derivatives are not finite where three atoms are collinear. Here both factors are polynomials, accurate to
round-off everywhere: Legendre polynomials of the cosine, and Chebyshev polynomials of the distance that interpolate the
Bessel functions (Gasteiger, Gross and Guennemann, arXiv:2003.03123 (2020), Eqs. 6 and 7). Triplets of atoms are found
without the sparse-matrix package that PyTorch Geometric needs, which is compiled for one version of torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from scipy.special import spherical_jn

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkSpec
from hbcoop_dist.learning.networks.network_module import AfterLayer
from hbcoop_dist.learning.networks.registry import DimeNetOptions, parse_options
from hbcoop_dist.models.families.mace import quiet

SILU = torch.nn.SiLU()
_OUTPUT_INITIALISATION = "glorot_orthogonal"
_INTERACTION_OPTIONS = {"int_emb_size", "basis_emb_size", "num_spherical", "num_before_skip", "num_after_skip"}
_ROUND_OFF = 2e-14
"""Chebyshev coefficients below it are round-off; the largest are 2 to 4."""


class DimeNetBackbone(torch.nn.Module):
    """DimeNet++ with one or more layers; see `hbcoop_dist.learning.networks.network_module.Backbone`.

    Parameters
    ----------
    spec : NetworkSpec
        Initial parameters are drawn in torch's default float type.
    """

    output_blocks: Any
    interaction_blocks: Any

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.shape = spec.shape
        options = parse_options("architecture dimenet++", DimeNetOptions, spec.architecture_options)
        with quiet():
            from torch_geometric.nn.models import dimenet, dimenet_utils
        sizes = spec.n_radial, spec.channels
        self.rbf = dimenet.BesselBasisLayer(spec.n_radial, spec.cutoff, options.envelope_exponent)
        zeros = dimenet_utils.Jn_zeros(options.num_spherical, spec.n_radial)
        self.sbf = SphericalBasis(zeros.astype(np.float64))
        self.emb = dimenet.EmbeddingBlock(*sizes, SILU)
        # rows for the elements of the network instead of the whole periodic table
        self.emb.emb = torch.nn.Embedding(len(spec.elements), spec.channels)
        self.emb.reset_parameters()
        self.output_blocks = torch.nn.ModuleList(
            dimenet.OutputPPBlock(
                *sizes, options.out_emb_channels, 1, options.num_output_layers, SILU, _OUTPUT_INITIALISATION
            )
            for _ in range(spec.layers)
        )
        interaction = options.model_dump(include=_INTERACTION_OPTIONS)
        self.interaction_blocks = torch.nn.ModuleList(
            dimenet.InteractionPPBlock(spec.channels, num_radial=spec.n_radial, act=SILU, **interaction)
            for _ in range(spec.layers - 1)
        )

    def forward(
        self, batch: AtomBatch, embed: Callable[[torch.Tensor], torch.Tensor], after_layer: AfterLayer
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Return energies of atoms in units of the scale, and their invariant features after every layer."""
        sender, receiver = batch.edges
        vectors = batch.vectors()
        lengths = torch.linalg.norm(vectors, dim=-1)
        radial = self.rbf(lengths)
        pairs = triplets(batch.edges, len(batch.species), batch.shifts)
        angular = self._angular(vectors, lengths, *pairs)
        atoms = embed(self.emb.emb(batch.species))
        messages = self._first_messages(atoms, radial, sender, receiver)
        energies = vectors.new_zeros(len(batch.species))
        invariant: list[torch.Tensor] = []
        for layer, output in enumerate(self.output_blocks):
            if layer:
                messages = self.interaction_blocks[layer - 1](messages, radial, angular, *pairs)
            gathered = torch.zeros_like(atoms).index_add(0, receiver, output.lin_rbf(radial) * messages)
            features = atoms + gathered
            changed = after_layer(layer, features, radial)
            if changed is not features:
                change = changed - features
                gathered, messages = gathered + change, messages + self._message_change(change, receiver)
            energies = energies + _readout(output, gathered)
            invariant.append(changed)
        return energies, invariant

    def _first_messages(
        self, features: torch.Tensor, radial: torch.Tensor, sender: torch.Tensor, receiver: torch.Tensor
    ) -> torch.Tensor:
        """Messages of the embedding block, (E, channels)."""
        ends = features.index_select(0, receiver), features.index_select(0, sender)
        messages: torch.Tensor = SILU(self.emb.lin(torch.cat([*ends, SILU(self.emb.lin_rbf(radial))], dim=-1)))
        return messages

    def _message_change(self, change: torch.Tensor, receiver: torch.Tensor) -> torch.Tensor:
        """Change of messages, (E, channels), that follows from a change of the atoms' features, (N, channels)."""
        receiver_weight = self.emb.lin.weight[:, : self.shape.channels]
        return torch.nn.functional.linear(change, receiver_weight).index_select(0, receiver)

    def _angular(
        self, vectors: torch.Tensor, lengths: torch.Tensor, kj: torch.Tensor, ji: torch.Tensor
    ) -> torch.Tensor:
        """Basis functions of pairs of edges, (T, num_spherical * n_radial)."""
        fraction = lengths / self.shape.cutoff
        units = vectors / lengths[:, None]
        cosine = (units.index_select(0, kj) * units.index_select(0, ji)).sum(dim=-1)
        values: torch.Tensor = self.sbf(fraction, self.rbf.envelope(fraction), cosine, kj)
        return values


def _readout(block: Any, features: torch.Tensor) -> torch.Tensor:
    """Energies of atoms, (N,), from their features."""
    features = block.lin_up(features)
    for layer in block.lins:
        features = SILU(layer(features))
    energies: torch.Tensor = block.lin(features)[:, 0]
    return energies


class SphericalBasis(torch.nn.Module):
    """Basis functions j_l(z_ln x) sqrt(2 / j_{l+1}(z_ln)^2) sqrt((2 l + 1) / 4 pi) P_l(cos a), without parameters.

    Parameters
    ----------
    zeros : (L, n) array
        z_ln, the n-th zero of the spherical Bessel function of order l, from 0.
    """

    coefficients: torch.Tensor

    def __init__(self, zeros: FloatArray) -> None:
        super().__init__()
        values = torch.tensor(_bessel_coefficients(zeros), dtype=torch.get_default_dtype())
        self.register_buffer("coefficients", values, persistent=False)
        self.shape = zeros.shape

    def forward(
        self, fraction: torch.Tensor, weight: torch.Tensor, cosine: torch.Tensor, edge: torch.Tensor
    ) -> torch.Tensor:
        """Evaluate the basis for T pairs of edges.

        Parameters
        ----------
        fraction : (E,) tensor
            Length of every edge divided by the cutoff, x, from 0 to 1.
        weight : (E,) tensor
            Factor of every edge that vanishes at the cutoff.
        cosine : (T,) tensor
            Cosine of the angle between two edges.
        edge : (T,) long tensor
            Edge of each pair whose length is used.

        Returns
        -------
        (T, L n) tensor
            Orders l outermost.
        """
        radial = weight[:, None] * (chebyshev_polynomials(fraction, len(self.coefficients)) @ self.coefficients)
        angular = legendre_polynomials(cosine, self.shape[0])
        values = radial.index_select(0, edge).reshape(-1, *self.shape) * angular[:, :, None]
        return values.flatten(1)


def chebyshev_polynomials(x: torch.Tensor, count: int) -> torch.Tensor:
    """Return T_0 to T_{count - 1}, (E, count), of x, (E,), by doubling: T_{m+k} = 2 T_m T_k - T_{m-k}.

    Parameters
    ----------
    x : (E,) tensor
        From -1 to 1.
    count : int
    """
    rows = torch.stack([torch.ones_like(x), x], dim=1)
    while rows.shape[1] < count:
        rows = torch.cat([rows, 2 * rows[:, -1:] * rows[:, 1:] - rows.flip(1)[:, 1:]], dim=1)
    return rows[:, :count]


def legendre_polynomials(x: torch.Tensor, count: int) -> torch.Tensor:
    """Return sqrt((2 l + 1) / 4 pi) P_l, (T, count), of x, (T,), for l from 0: spherical harmonics on a meridian.

    Parameters
    ----------
    x : (T,) tensor
        Cosines of angles.
    count : int
    """
    rows = [torch.ones_like(x), x]
    for order in range(1, count - 1):
        rows.append(((2 * order + 1) * x * rows[order] - order * rows[order - 1]) / (order + 1))
    norms = [math.sqrt((2 * order + 1) / (4 * math.pi)) for order in range(count)]
    return torch.stack(rows[:count], dim=1) * x.new_tensor(norms)


def _bessel_coefficients(zeros: FloatArray) -> FloatArray:
    """Chebyshev coefficients, (degree + 1, L n), of the normalised Bessel functions of x from -1 to 1."""
    x = chebyshev.chebpts1(51 + int(1.5 * zeros.max()))
    order, distance = np.arange(len(zeros))[:, None], np.abs(x)[:, None, None]
    # continued to negative x with the parity of the order, which keeps the function smooth at zero
    values = np.sign(x)[:, None, None] ** order * spherical_jn(order, zeros * distance)
    values *= math.sqrt(2.0) / np.abs(spherical_jn(order + 1, zeros))
    coefficients: FloatArray = chebyshev.chebvander(x, len(x) - 1).T @ values.reshape(len(x), -1) * (2.0 / len(x))
    coefficients[0] /= 2.0
    last = np.nonzero(np.abs(coefficients).max(axis=1) > _ROUND_OFF)[0][-1]
    return coefficients[: last + 1]


def triplets(
    edges: torch.Tensor, n_atoms: int, shifts: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find all pairs of an edge k -> j and an edge j -> i with k other than i, or another image of it.

    Parameters
    ----------
    edges : (2, E) long tensor
        Sender and receiver.
    n_atoms : int
    shifts : (E, 3) tensor or None
        Lattice vector from the receiver of every edge to its image, A, for periodic structures.

    Returns
    -------
    kj, ji : (T,) long tensors
        Indices of the edges k -> j and of the edges j -> i; the latter ascend.
    """
    sender, receiver = edges
    by_receiver = torch.argsort(receiver, stable=True)
    incoming = torch.bincount(receiver, minlength=n_atoms)
    first = incoming.cumsum(0) - incoming
    count = incoming[sender]
    ji = torch.repeat_interleave(torch.arange(len(sender), device=edges.device), count)
    # running number of the edge k -> j among those of its edge j -> i
    turn = torch.arange(len(ji), device=edges.device) - (count.cumsum(0) - count)[ji]
    kj = by_receiver[first[sender[ji]] + turn]
    kept = sender[kj] != receiver[ji]
    if shifts is not None:
        kept |= (shifts[kj] + shifts[ji] != 0).any(dim=1)
    return kj[kept], ji[kept]
