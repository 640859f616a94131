"""Euclidean fast attention: atoms gather features from all atoms of their structure at linear cost.

y_i = sum_u w_u q_i(u) sum_j k_j(u) v_j, where queries and keys rotate as exp(i omega u.r), so that only differences of
positions remain, and the average over directions u turns each frequency into the factor sin(omega r_ij) / (omega r_ij).
The sum over j is done once per direction and frequency; pairs are never formed.

Source: Frank, Chmiela, Mueller and Unke, arXiv:2412.08541 (2024), Euclidean rotary encodings and the linear attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.registry import EuclideanAttentionOptions
from hbcoop_dist.learning.networks.schemes.base import Memory, Scheme
from hbcoop_dist.learning.networks.schemes.sphere_quadrature import PlaneWaves, choose_degree, plane_waves


class EuclideanAttention(Scheme):
    """Invariant features that every atom gathers from all atoms of its structure.

    The scheme is not size-consistent. The coupling of molecules at distance R decays as 1 / (omega R) and oscillates,
    for neutral ones too, and each atom sums over all of them; a structure too wide for every quadrature rule is
    refused. Invariance under rotation holds to the tolerance. The scheme is not defined for periodic structures: its
    plane waves do not have the period of a lattice, and lattice sums of 1 / (omega R) have no limit.

    All structures up to the width `largest` share the directions of that width, which keeps the energy smooth; low
    frequencies use fewer directions. A wider structure gets directions of its own, and where their number changes the
    energy may jump by as much as the tolerance.

    Parameters
    ----------
    shape : NetworkShape
    options : EuclideanAttentionOptions
        Validated for this shape.
    """

    name: ClassVar[str] = "efa"
    extensive = False
    long_range = True

    def __init__(self, shape: NetworkShape, options: EuclideanAttentionOptions) -> None:
        super().__init__(shape)
        assert options.layers is not None
        assert options.values is not None
        self.largest, self.tolerance, self.layers = options.largest, options.tolerance, tuple(options.layers)
        count = options.frequencies
        self.omega = tuple(options.max_frequency * (k + 1) / count for k in range(count))
        self.shared_degrees = tuple(choose_degree(frequency * self.largest, self.tolerance) for frequency in self.omega)
        self.heads = torch.nn.ModuleDict(
            {str(layer): AttentionHead(shape.channels, count, options.values) for layer in self.layers}
        )

    def after_layer(
        self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
    ) -> torch.Tensor:
        """Add the gathered features to the features, (N, channels), after the chosen layers."""
        del radial, memory
        if layer not in self.layers:
            return features
        gathered: torch.Tensor = self.heads[str(layer)](features, batch, self.omega, self.degrees(batch))
        return features + gathered

    def degrees(self, batch: AtomBatch) -> list[tuple[int, ...]]:
        """Return the degrees of the quadrature rules of every structure, one per frequency."""
        with torch.no_grad():
            widths = 2.0 * centred(batch).square().sum(dim=-1).sqrt().amax(dim=1)
        return [self._degrees(max(width, self.largest)) for width in widths.tolist()]

    def _degrees(self, width: float) -> tuple[int, ...]:
        if width == self.largest:
            return self.shared_degrees
        return tuple(choose_degree(frequency * width, self.tolerance) for frequency in self.omega)


class AttentionHead(torch.nn.Module):
    """Queries, keys and values of one layer, and a linear output that is zero at the start of training.

    Queries and keys are vectors over frequencies of norm below 1, which bounds the weight of every pair by 1.

    Parameters
    ----------
    channels, frequencies, values : int
        Widths of features, of queries and keys, and of values.
    """

    def __init__(self, channels: int, frequencies: int, values: int) -> None:
        super().__init__()
        self.query = torch.nn.Linear(channels, frequencies, bias=False)
        self.key = torch.nn.Linear(channels, frequencies, bias=False)
        self.value = torch.nn.Linear(channels, values, bias=False)
        self.out = torch.nn.Linear(values, channels, bias=False)
        torch.nn.init.zeros_(self.out.weight)

    def forward(
        self, features: torch.Tensor, batch: AtomBatch, omega: tuple[float, ...], degrees: Sequence[tuple[int, ...]]
    ) -> torch.Tensor:
        """Return the gathered features, (N, channels).

        Parameters
        ----------
        features : (N, channels) tensor
        batch : AtomBatch
        omega : tuple of float
            Frequencies, 1/A.
        degrees : sequence of tuple of int
            Degrees of the rules of every structure, one per frequency.
        """
        queries = batch.padded(_bounded(self.query(features)))
        keys = batch.padded(_bounded(self.key(features)))
        values, places = batch.padded(self.value(features)), centred(batch)
        distinct = sorted(set(degrees))
        if len(distinct) == 1:
            gathered = attend(queries, keys, values, places, plane_waves(omega, distinct[0]))
        else:
            members = [[row for row, own in enumerate(degrees) if own == rule] for rule in distinct]
            parts = [
                attend(queries[rows], keys[rows], values[rows], places[rows], plane_waves(omega, rule))
                for rule, rows in zip(distinct, members, strict=True)
            ]
            order = torch.tensor([row for rows in members for row in rows], device=features.device)
            gathered = torch.cat(parts)[torch.argsort(order)]
        output: torch.Tensor = self.out(batch.flat(gathered))
        return output


def attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, places: torch.Tensor, waves: PlaneWaves
) -> torch.Tensor:
    """Return sum_j sum_k q_ik k_jk [sin(omega_k r_ij) / (omega_k r_ij)] v_j, j = i included: (S, L, V).

    Parameters
    ----------
    queries, keys : (S, L, K) tensors
        One value per frequency; keys must be zero in empty slots.
    values : (S, L, V) tensor
    places : (S, L, 3) tensor
        Positions, A.
    waves : PlaneWaves
        Of the same K frequencies.
    """
    vectors, weights, owners = (
        torch.as_tensor(array, dtype=places.dtype, device=places.device)
        for array in (waves.vectors, waves.weights, waves.owners)
    )
    query_waves, key_waves, phases = queries @ (owners * weights), keys @ owners, places @ vectors.T
    total = torch.zeros_like(values)
    for rotated in (phases.cos(), phases.sin()):
        total = total + (query_waves * rotated) @ ((key_waves * rotated).transpose(1, 2) @ values)
    return total


def centred(batch: AtomBatch) -> torch.Tensor:
    """Return positions relative to the mean of each structure, (S, L, 3), A, which keeps phases small in float32."""
    counts = batch.sum_structures(torch.ones_like(batch.positions[:, :1]))
    means = batch.sum_structures(batch.positions) / counts
    return batch.padded(batch.positions - means[batch.structure])


def _bounded(vectors: torch.Tensor) -> torch.Tensor:
    """Shorten vectors to norm below 1; otherwise gathered features grow as the third power of the features."""
    return vectors * (1.0 + vectors.square().sum(dim=-1, keepdim=True)).rsqrt()
