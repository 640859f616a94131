"""What decides a network before it is trained, as plain data that files hold and that needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network and its long-range scheme.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers, ascending.
    architecture, scheme : str
        Names in :mod:`hbcoop_dist.learning.networks.architectures.registry` and `schemes`.
    scheme_options : mapping
        As written in a campaign; plain data.
    cutoff : float
        Of one layer, A.
    layers : int
    channels : int
        Invariant features of an atom, and as many of every other kind.
    max_ell : int
        Largest angular momentum of the edges' spherical harmonics.
    hidden_ell : int
        Largest angular momentum of the features that layers hand on.
    correlation : int
        Body order of a layer, less one.
    n_radial : int
        Radial basis functions.
    radial_mlp : tuple of int
        Widths of the hidden layers that make weights from radial basis functions.
    readout : int
        Width of the hidden layer of the last readout.
    seed : int
        Of the first parameters and of the order in which structures are trained on.
    atomic_energies : tuple of float
        By element, eV; empty as long as they are not fitted to a training set.
    scale : float
        What the network's own energies are multiplied with, eV.
    average_neighbours : float
        What sums over neighbours are divided by.
    architecture_options : mapping
        Those its architecture has beside these fields, as written in a campaign; plain data.
    """

    elements: tuple[int, ...]
    architecture: str = "mace"
    scheme: str = "none"
    scheme_options: Mapping[str, Any] = field(default_factory=dict)
    cutoff: float = 4.0
    layers: int = 2
    channels: int = 16
    max_ell: int = 2
    hidden_ell: int = 1
    correlation: int = 2
    n_radial: int = 6
    radial_mlp: tuple[int, ...] = (16, 16)
    readout: int = 16
    seed: int = 0
    atomic_energies: tuple[float, ...] = ()
    scale: float = 1.0
    average_neighbours: float = 1.0
    architecture_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.elements or list(self.elements) != sorted(set(self.elements)):
            raise ValueError(f"network: expected elements, ascending and each once, found {self.elements}")
        if self.atomic_energies and len(self.atomic_energies) != len(self.elements):
            raise ValueError(
                f"network: expected atomic_energies of {len(self.elements)} elements, found {len(self.atomic_energies)}"
            )
        if min(self.cutoff, self.layers, self.channels, self.n_radial, self.correlation) <= 0:
            raise ValueError(f"network: expected cutoff, layers and widths above zero, found {self}")

    @property
    def fitted(self) -> bool:
        """Whether it knows the training set's atomic energies."""
        return bool(self.atomic_energies)

    def to_json(self) -> str:
        """The same as one line of JSON, keys in order."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> NetworkSpec:
        """The reverse.

        Raises
        ------
        ValueError
            When a field is missing that has no default, or is not known.
        """
        values = json.loads(text)
        known = {one.name for one in fields(cls)}
        if foreign := sorted(set(values) - known):
            raise ValueError(f"network: expected fields among {', '.join(sorted(known))}, found {', '.join(foreign)}")
        for name in ("elements", "radial_mlp", "atomic_energies"):
            if name in values:
                values[name] = tuple(values[name])
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"network: {error}") from None
