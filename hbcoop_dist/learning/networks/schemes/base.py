"""What a long-range scheme may do to a message-passing network; every method of the base does nothing.

A network calls, on one batch and in this order: `embed` before its first layer, `after_layer` after each layer,
`energy` at the end.  What a scheme has to remember between them goes into `memory`, which is new for every call of the
network, so that a scheme has parameters and no state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from hbcoop_dist.learning.networks.atom_batches import AtomBatch

FloatArray = NDArray[np.float64]
Memory = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What a scheme is told of the network that it is part of.

    Attributes
    ----------
    n_species : int
    channels : int
        Invariant features of an atom, the same in every layer.
    n_layers : int
    n_radial : int
        Radial basis functions of an edge.
    cutoff : float
        A.
    elements : tuple of int
        Atomic numbers of the species, ascending; empty where a scheme is not told.
    """

    n_species: int
    channels: int
    n_layers: int
    n_radial: int
    cutoff: float
    elements: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LongRange:
    """What a scheme adds.

    Attributes
    ----------
    energy : (N,) tensor
        Energy of every atom, eV; their sum over a structure is what the scheme adds to its energy.
    charges : (N,) tensor or None
        Partial charges, e.
    """

    energy: torch.Tensor
    charges: torch.Tensor | None = None


class Scheme(torch.nn.Module):
    """A long-range scheme, as a part of a network; see the head of this file.

    Class attributes
    ----------------
    name : str
        As written in a spec.
    periodic : bool
        Whether it is defined for structures that repeat, whose `AtomBatch.cells` it then takes account of.

    Attributes
    ----------
    (what the class says holds for its default options; one that an option changes is set anew on the instance)
    extensive : bool
        Whether the energy of molecules infinitely far apart is the sum of theirs alone.
    reaches : bool
        Whether it couples atoms farther apart than the network's layers do.
    charges_wanted : bool
        Whether reference charges of the training set, where there are some, go into its loss.
    """

    name: ClassVar[str] = "none"
    periodic: ClassVar[bool] = False
    extensive: bool = True
    reaches: bool = False
    charges_wanted: bool = False

    def __init__(self, shape: NetworkShape, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.shape = shape
        if options:
            raise ValueError(f"scheme {self.name}: expected no options, found {', '.join(sorted(options))}")

    def require_defined(self, cells: Sequence[FloatArray | None]) -> None:
        """Raise `ValueError` when structures repeat, with these cells, and the scheme is not defined for such."""
        if not self.periodic and (count := sum(cell is not None for cell in cells)):
            raise ValueError(
                f"scheme {self.name}: expected structures that do not repeat, found {count} of {len(cells)} with a "
                "cell, for which it is not defined"
            )

    def embed(self, features: torch.Tensor, batch: AtomBatch, memory: Memory) -> torch.Tensor:
        """Features of atoms, (N, channels), before the first layer."""
        del batch, memory
        return features

    def after_layer(
        self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
    ) -> torch.Tensor:
        """Invariant features, (N, channels), after a layer (from 0); `radial`, (E, n_radial), ends at the cutoff."""
        del layer, radial, batch, memory
        return features

    def energy(self, features: Sequence[torch.Tensor], batch: AtomBatch, memory: Memory) -> LongRange | None:
        """What is added to the energy, from the invariant features after every layer; None for nothing."""
        del features, batch, memory
        return None
