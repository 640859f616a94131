"""DimeNet's functions of a distance and an angle: spherical Bessel functions times Legendre polynomials.

PyTorch Geometric has them too, from formulas that SymPy simplifies for many seconds whenever a network is made.  These
divide by powers of the distance and take the angle from an arc tangent: in float32 they are off at short distances, and
second derivatives are not finite where three atoms lie in a row.  Here both factors are polynomials, right to round-off
everywhere: Legendre's of the cosine, and Chebyshev's of the distance, which interpolate the Bessel functions.

Source: Gasteiger, Gross and Guennemann, arXiv:2003.03123 (2020), eqs. 6 and 7.

Find the pairs of edges that meet in an atom, k -> j -> i: what networks that see angles pass messages along.

PyTorch Geometric finds them by sparse matrices of a package that is compiled for one version of torch.

DimeNet++: PyTorch Geometric's own blocks, whose parts are run here so that a scheme can act between them.

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
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import spherical_jn

from hbcoop_dist.learning.networks.architectures.registry import ARCHITECTURES
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.network import AfterLayer
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.networks.schemes.base import NetworkShape

FloatArray = NDArray[np.float64]
_NOTHING = 2e-14
"""Coefficients below it are round-off: the largest are 2 to 4."""


class SphericalBasis(torch.nn.Module):
    """j_l(z_ln x) sqrt(2 / j_{l+1}(z_ln)^2) sqrt((2 l + 1) / 4 pi) P_l(cos a), without parameters.

    Parameters
    ----------
    zeros : (L, n) array
        z_ln, the n-th zero of the spherical Bessel function of order l, from 0.
    """

    coefficients: torch.Tensor

    def __init__(self, zeros: FloatArray) -> None:
        super().__init__()
        values = torch.tensor(_interpolated(zeros), dtype=torch.get_default_dtype())
        self.register_buffer("coefficients", values, persistent=False)
        self.shape = zeros.shape

    def forward(
        self, fraction: torch.Tensor, weight: torch.Tensor, cosine: torch.Tensor, edge: torch.Tensor
    ) -> torch.Tensor:
        """Values at T pairs of edges.

        Parameters
        ----------
        fraction, weight : (E,) tensors
            Of every edge: x, its length by the cutoff, from 0 to 1, and a factor that ends there.
        cosine : (T,) tensor
            Of the angle between two edges.
        edge : (T,) long tensor
            The one of the two whose length it is.

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
    """T_0 to T_{count - 1}, (E, count), of x, (E,), twice as many at a time: T_{m+k} = 2 T_m T_k - T_{m-k}."""
    rows = torch.stack([torch.ones_like(x), x], dim=1)
    while rows.shape[1] < count:
        rows = torch.cat([rows, 2 * rows[:, -1:] * rows[:, 1:] - rows.flip(1)[:, 1:]], dim=1)
    return rows[:, :count]


def legendre_polynomials(x: torch.Tensor, count: int) -> torch.Tensor:
    """sqrt((2 l + 1) / 4 pi) P_l, (T, count), of x, (T,), for l from 0: spherical harmonics on a meridian."""
    rows = [torch.ones_like(x), x]
    for order in range(1, count - 1):
        rows.append(((2 * order + 1) * x * rows[order] - order * rows[order - 1]) / (order + 1))
    norms = [math.sqrt((2 * order + 1) / (4 * math.pi)) for order in range(count)]
    return torch.stack(rows[:count], dim=1) * x.new_tensor(norms)


def _interpolated(zeros: FloatArray) -> FloatArray:
    """Chebyshev coefficients, (degree + 1, L n), of the normalised Bessel functions of x from -1 to 1."""
    x = chebyshev.chebpts1(51 + int(1.5 * zeros.max()))
    order, place = np.arange(len(zeros))[:, None], np.abs(x)[:, None, None]
    # of the parity of its order, which makes it smooth through zero
    values = np.sign(x)[:, None, None] ** order * spherical_jn(order, zeros * place)
    values *= math.sqrt(2.0) / np.abs(spherical_jn(order + 1, zeros))
    found = chebyshev.chebvander(x, len(x) - 1).T @ values.reshape(len(x), -1) * (2.0 / len(x))
    found[0] /= 2.0
    last = np.nonzero(np.abs(found).max(axis=1) > _NOTHING)[0][-1]
    kept: FloatArray = found[: last + 1]
    return kept


def triplets(
    edges: torch.Tensor, n_atoms: int, shifts: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of an edge k -> j and an edge j -> i with k other than i, or another image of it.

    Parameters
    ----------
    edges : (2, E) long tensor
        Sender and receiver.
    n_atoms : int
    shifts : (E, 3) tensor or None
        Lattice vector of the receiver of every edge, A, where structures repeat.

    Returns
    -------
    tuple of (T,) long tensors
        Places of the edges k -> j, and of the edges j -> i, among `edges`; the latter ascend.
    """
    sender, receiver = edges
    by_receiver = torch.argsort(receiver, stable=True)
    incoming = torch.bincount(receiver, minlength=n_atoms)
    first = incoming.cumsum(0) - incoming
    count = incoming[sender]
    ji = torch.repeat_interleave(torch.arange(len(sender), device=edges.device), count)
    # how many of its own edges k -> j an edge j -> i has had before
    turn = torch.arange(len(ji), device=edges.device) - (count.cumsum(0) - count)[ji]
    kj = by_receiver[first[sender[ji]] + turn]
    kept = sender[kj] != receiver[ji]
    if shifts is not None:
        kept |= (shifts[kj] + shifts[ji] != 0).any(dim=1)
    return kj[kept], ji[kept]


SILU = torch.nn.SiLU()
_FIRST_OUTPUT = "glorot_orthogonal"
_INNER = ("int_emb_size", "basis_emb_size", "num_spherical", "num_before_skip", "num_after_skip")


class DimeNetBackbone(torch.nn.Module):
    """One or more layers of DimeNet++; see `hbcoop_dist.learning.networks.network.Backbone`."""

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
