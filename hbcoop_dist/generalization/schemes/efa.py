"""Euclidean fast attention: every atom hears all others of its structure, at a cost linear in their number.

y_i = sum_u w_u q_i(u) sum_j k_j(u) v_j, where queries and keys turn as exp(i omega u.r): of positions only differences
are left, and the average over directions u makes of each frequency the factor sin(omega r_ij) / (omega r_ij).  The sum
over j is done once for a direction and a frequency, so no pair is ever written down.

Source: Frank, Chmiela, Mueller and Unke, arXiv:2412.08541 (2024), Euclidean rotary encodings and the linear attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from hbcoop_dist.generalization.atoms import AtomBatch
from hbcoop_dist.generalization.schemes.base import Memory, NetworkShape, Scheme
from hbcoop_dist.generalization.schemes.options import positive, read, whole
from hbcoop_dist.generalization.schemes.sphere import PlaneWaves, choose_degree, plane_waves


class EuclideanAttention(Scheme):
    """Invariant features that every atom gathers from all atoms of its structure.

    It is not size-consistent.  What molecules at a distance R say to each other falls off as 1 / (omega R) and swings,
    for neutral ones too, and each atom sums over all of them; a structure so wide that no rule averages its plane waves
    is refused.  Invariance under rotation holds to the tolerance.  For structures that repeat it is not defined: its
    plane waves have no lattice's period, and a sum over images of what falls off as 1 / (omega R) has no limit.

    Directions are those that a structure as wide as `largest` needs, whatever the structure, so that the energy is
    smooth, and fewer for low frequencies. A structure that is wider gets more, of its own; where their number changes
    the energy may jump by as much as the tolerance lets it.

    Options
    -------
    layers : list of int, all
        Layers (from 0) after which atoms gather.
    frequencies : int, 8
        K; they are max_frequency k / K for k = 1 .. K. The frequency 0, which never falls off, is left out.
    max_frequency : float, 0.5
        1/A.
    largest : float, 20.0
        Width of a structure, A, up to which the rule is the same.
    tolerance : float, 1e-3
        What bounds the error of an average over directions, beside 1; the error itself is some ten times smaller.
    values : int, the channels of the network
        Width of what is gathered.
    """

    name: ClassVar[str] = "efa"
    extensive = False
    reaches = True
    charges_wanted = False

    def __init__(self, shape: NetworkShape, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(shape)
        defaults = {
            "layers": list(range(shape.n_layers)),
            "frequencies": 8,
            "max_frequency": 0.5,
            "largest": 20.0,
            "tolerance": 1e-3,
            "values": shape.channels,
        }
        chosen = read(self.name, options, defaults)
        top = positive(self.name, "max_frequency", chosen["max_frequency"])
        self.largest = positive(self.name, "largest", chosen["largest"])
        self.tolerance = positive(self.name, "tolerance", chosen["tolerance"])
        frequencies = whole(self.name, "frequencies", chosen["frequencies"], least=1)
        self.omega = tuple(top * (k + 1) / frequencies for k in range(frequencies))
        values = whole(self.name, "values", chosen["values"], least=1)
        self.layers = _layers(self.name, chosen["layers"], shape.n_layers)
        self.usual = tuple(choose_degree(one * self.largest, self.tolerance) for one in self.omega)
        self.heads = torch.nn.ModuleDict(
            {str(layer): AttentionHead(shape.channels, frequencies, values) for layer in self.layers}
        )

    def after_layer(
        self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
    ) -> torch.Tensor:
        """Add to the features what each atom gathers."""
        del radial, memory
        if layer not in self.layers:
            return features
        gathered: torch.Tensor = self.heads[str(layer)](features, batch, self.omega, self.degrees(batch))
        return features + gathered

    def degrees(self, batch: AtomBatch) -> list[tuple[int, ...]]:
        """Degrees of the rules of every structure, one a frequency: those of `largest`, or of a larger width."""
        with torch.no_grad():
            widths = 2.0 * centred(batch).square().sum(dim=-1).sqrt().amax(dim=1)
        return [self._degrees(max(width, self.largest)) for width in widths.tolist()]

    def _degrees(self, width: float) -> tuple[int, ...]:
        if width == self.largest:
            return self.usual
        return tuple(choose_degree(one * width, self.tolerance) for one in self.omega)


class AttentionHead(torch.nn.Module):
    """Queries, keys and values of one layer, and what comes out of them: zero at the start of a training.

    Queries and keys are vectors over frequencies of length below 1, and so is the weight of every pair.
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
        """What atoms gather, (N, channels), each structure averaged by the rules of its degrees."""
        queries = batch.padded(_at_most_one(self.query(features)))
        keys = batch.padded(_at_most_one(self.key(features)))
        values, places = batch.padded(self.value(features)), centred(batch)
        kinds = sorted(set(degrees))
        if len(kinds) == 1:
            gathered = attend(queries, keys, values, places, plane_waves(omega, kinds[0]))
        else:
            rows = [[row for row, own in enumerate(degrees) if own == kind] for kind in kinds]
            parts = [
                attend(queries[own], keys[own], values[own], places[own], plane_waves(omega, kind))
                for kind, own in zip(kinds, rows, strict=True)
            ]
            order = torch.tensor([row for own in rows for row in own], device=features.device)
            gathered = torch.cat(parts)[torch.argsort(order)]
        found: torch.Tensor = self.out(batch.flat(gathered))
        return found


def attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, places: torch.Tensor, waves: PlaneWaves
) -> torch.Tensor:
    """sum_j sum_k q_ik k_jk [sin(omega_k r_ij) / (omega_k r_ij)] v_j, j = i included, (S, L, V).

    Parameters
    ----------
    queries, keys : (S, L, K) tensors
        One for each frequency; keys zero in empty slots.
    values : (S, L, V) tensor
    places : (S, L, 3) tensor
        A.
    waves : PlaneWaves
        For the same frequencies.
    """
    vectors, weights, owners = (
        torch.as_tensor(one, dtype=places.dtype, device=places.device)
        for one in (waves.vectors, waves.weights, waves.owners)
    )
    asking, told, phases = queries @ (owners * weights), keys @ owners, places @ vectors.T
    heard = torch.zeros_like(values)
    for turned in (phases.cos(), phases.sin()):
        heard = heard + (asking * turned) @ ((told * turned).transpose(1, 2) @ values)
    return heard


def centred(batch: AtomBatch) -> torch.Tensor:
    """Positions from the mean of each structure, (S, L, 3), A: phases stay small, and float32 keeps its digits."""
    counts = batch.sum_structures(torch.ones_like(batch.positions[:, :1]))
    means = batch.sum_structures(batch.positions) / counts
    return batch.padded(batch.positions - means[batch.structure])


def _at_most_one(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors shortened to below 1: with free ones, what is gathered would grow as the third power of the features."""
    return vectors * (1.0 + vectors.square().sum(dim=-1, keepdim=True)).rsqrt()


def _layers(name: str, given: Any, n_layers: int) -> tuple[int, ...]:
    if not isinstance(given, list | tuple):
        raise ValueError(f"scheme {name}: option layers: expected a list of layers, found {given!r}")
    return tuple(sorted({whole(name, "layers", one, least=0, below=n_layers) for one in given}))
