"""Choose points on the sphere that average plane waves to a stated tolerance: how Euclidean attention stays invariant.

The average of exp(i b u.n) over all directions u is sin(b) / b.  In spherical waves, a rule exact to degree d makes no
error in the terms l <= d, and one that holds -u with every u none in the odd ones; its error is then at most
sum_{even l > d} (2 l + 1) |j_l(b)| whatever the direction n, since its weights are positive and sum to 1.  This bound
grows with b, so it is known at once up to which b a rule may be used.  Real errors are some 5 to 20 times smaller.

Sources: Lebedev and Laikov, Dokl. Math. 59, 477 (1999), the rules; DLMF 10.60.7, the plane wave in spherical waves.

Euclidean fast attention: every atom hears all others of its structure, at a cost linear in their number.

y_i = sum_u w_u q_i(u) sum_j k_j(u) v_j, where queries and keys turn as exp(i omega u.r): of positions only differences
are left, and the average over directions u makes of each frequency the factor sin(omega r_ij) / (omega r_ij).  The sum
over j is done once for a direction and a frequency, so no pair is ever written down.

Source: Frank, Chmiela, Mueller and Unke, arXiv:2412.08541 (2024), Euclidean rotary encodings and the linear attention.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import lebedev_rule
from scipy.special import spherical_jn

from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.schemes.base import Memory, NetworkShape, Scheme
from hbcoop_dist.learning.networks.schemes.options import positive, read, whole

FloatArray = NDArray[np.float64]

# Without 13, 25 and 27: some weights of theirs are negative, and the bound would not hold.
DEGREES: tuple[int, ...] = (3, 5, 7, 9, 11, 15, 17, 19, 21, 23, 29, 31, *range(35, 132, 6))


@functools.cache
def half_sphere(degree: int) -> tuple[FloatArray, FloatArray]:
    """Directions, (G, 3), one of u and -u each, and weights, (G,), that sum to 1, of the Lebedev rule of this degree.

    For functions that are the same at u and -u, half of a rule is as exact as the whole.
    """
    points, weights = lebedev_rule(degree)
    rounded = np.round(points, 9)
    leading = np.where(rounded[2] != 0, rounded[2], np.where(rounded[1] != 0, rounded[1], rounded[0]))
    upper = leading > 0
    return np.ascontiguousarray(points[:, upper].T), weights[upper] / weights[upper].sum()


@dataclass(frozen=True, slots=True, eq=False)
class PlaneWaves:
    """F plane waves whose weighted sums are averages over directions, for each of K frequencies.

    Attributes
    ----------
    vectors : (F, 3) array
        Wave vectors, 1/A.
    weights : (F,) array
        Those of one frequency sum to 1.
    owners : (K, F) array
        1 where a wave belongs to a frequency, 0 elsewhere.
    """

    vectors: FloatArray
    weights: FloatArray
    owners: FloatArray


@functools.cache
def plane_waves(omega: tuple[float, ...], degrees: tuple[int, ...]) -> PlaneWaves:
    """Plane waves of frequencies `omega`, 1/A, each by the rule of its degree: low ones need few directions."""
    spheres = [half_sphere(degree) for degree in degrees]
    sizes = [len(weights) for _, weights in spheres]
    return PlaneWaves(
        vectors=np.concatenate([one * points for one, (points, _) in zip(omega, spheres, strict=True)]),
        weights=np.concatenate([weights for _, weights in spheres]),
        owners=np.repeat(np.eye(len(omega)), sizes, axis=1),
    )


def error_bound(degree: int, b: float) -> float:
    """Largest error of the average of exp(i b u.n) by the rule of this degree, over all directions n."""
    first = degree + 1
    orders = np.arange(first, first + 2 * int(b) + 40, 2)
    return float(np.sum((2 * orders + 1) * np.abs(spherical_jn(orders, b))))


@functools.cache
def largest_b(tolerance: float) -> tuple[float, ...]:
    """For every rule of `DEGREES`, the b up to which its error stays within `tolerance`; they ascend."""
    return tuple(_largest(degree, tolerance) for degree in DEGREES)


def choose_degree(b: float, tolerance: float) -> int:
    """Least degree whose rule averages plane waves up to `b` to within `tolerance`.

    Parameters
    ----------
    b : float
        Highest frequency times largest distance.
    tolerance : float
        Of an average whose value at b = 0 is 1.

    Raises
    ------
    ValueError
        If no rule does.
    """
    reached = largest_b(tolerance)
    place = int(np.searchsorted(reached, b))
    if place == len(reached):
        raise ValueError(
            f"points on the sphere: expected frequency times distance up to {reached[-1]:.1f} "
            f"for a tolerance of {tolerance:g}, found {b:.1f}: lower the frequency"
        )
    return DEGREES[place]


def _largest(degree: int, tolerance: float) -> float:
    low, high = 0.0, float(degree)
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if error_bound(degree, middle) <= tolerance else (low, middle)
    return low


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
