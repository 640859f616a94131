"""Base class of long-range schemes, with hooks that by default do nothing, and the schemes without interactions.

A network calls, for one batch and in this order: `Scheme.embed` before its first layer, `Scheme.after_layer` after each
layer, and `Scheme.energy` at the end. Intermediate results go into ``memory``, which is new for every call of the
network, so that a scheme has parameters but no state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.registry import (
    ComponentOptions,
    find_scheme,
    load_implementation,
    scheme_options,
)

Memory = dict[str, torch.Tensor]
"""Intermediate tensors of one call of a network, by names that a scheme chooses."""


@dataclass(frozen=True, slots=True)
class LongRange:
    """Energies and charges that a scheme adds to a network.

    Attributes
    ----------
    energy : (N,) tensor
        Energy of every atom, eV; the sum over a structure is added to its energy.
    charges : (N,) tensor or None
        Partial charges, e.
    """

    energy: torch.Tensor
    charges: torch.Tensor | None = None


class Scheme(torch.nn.Module):
    """A long-range scheme, part of a network.

    Parameters
    ----------
    shape : NetworkShape
        Sizes of the network.
    options : ComponentOptions, optional
        Validated options, an instance of the model that the scheme's declaration names.

    Attributes
    ----------
    name : str
        Name in messages.
    periodic : bool
        Whether the scheme is defined for periodic structures, by `AtomBatch.cells`.
    extensive : bool
        Whether the energy of molecules infinitely far apart is the sum of their own. Like the attributes below, set on
        the instance where it depends on an option.
    long_range : bool
        Whether the scheme couples atoms beyond the receptive field of the layers.
    fits_charges : bool
        Whether reference charges of the training set enter the loss.
    """

    name: ClassVar[str] = "none"
    periodic: ClassVar[bool] = False
    extensive: bool = True
    long_range: bool = False
    fits_charges: bool = False

    def __init__(self, shape: NetworkShape, options: ComponentOptions | None = None) -> None:
        super().__init__()
        del options
        self.shape = shape

    def require_supported(self, cells: Sequence[FloatArray | None]) -> None:
        """Raise `ValueError` when a structure has a cell and the scheme is not defined for periodic structures.

        Parameters
        ----------
        cells : sequence of (3, 3) array or None
            Cell of every structure.
        """
        if not self.periodic and (count := sum(cell is not None for cell in cells)):
            raise ValueError(
                f"scheme {self.name}: expected structures that are not periodic, found {count} of {len(cells)} with a "
                "cell, for which it is not defined"
            )

    def embed(self, features: torch.Tensor, batch: AtomBatch, memory: Memory) -> torch.Tensor:
        """Return the features of atoms, (N, channels), for the first layer.

        Parameters
        ----------
        features : (N, channels) tensor
        batch : AtomBatch
        memory : Memory
        """
        del batch, memory
        return features

    def after_layer(
        self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
    ) -> torch.Tensor:
        """Return the invariant features, (N, channels), for the next layer.

        Parameters
        ----------
        layer : int
            From 0.
        features : (N, channels) tensor
        radial : (E, n_radial) tensor
            Radial basis functions of the edges, which vanish smoothly at the cutoff.
        batch : AtomBatch
        memory : Memory
        """
        del layer, radial, batch, memory
        return features

    def energy(self, features: Sequence[torch.Tensor], batch: AtomBatch, memory: Memory) -> LongRange | None:
        """Return what is added to the energy, or None.

        Parameters
        ----------
        features : sequence of (N, channels) tensor
            Invariant features after every layer.
        batch : AtomBatch
        memory : Memory
        """
        del features, batch, memory
        return None


class NoScheme(Scheme):
    """The network alone, whose receptive field is its cutoff times its layers."""

    periodic = True


class TotalChargeEmbedding(Scheme):
    """Total charge of a structure, of a periodic one that of its cell, in the first features of all its atoms.

    The features of an atom of element z get an addition that depends on the total charge Q,

        a_z(Q) = W silu(U_z s(Q)),    s(Q) = (max(Q, 0), max(-Q, 0)),

    which vanishes at Q = 0, since silu(0) = 0 and there is no bias. Separate weights for the two signs and the
    vanishing term at Q = 0 follow SpookyNet's electronic embedding (Unke et al., Nat. Commun. 2021, 12, 7273,
    doi:10.1038/s41467-021-27504-0, Eqs. 9 and 10), here without its attention over atoms. Q belongs to the whole
    structure, so the energy of a molecule depends on the charge of others at any distance: the scheme is not extensive.

    Parameters
    ----------
    shape : NetworkShape
    options : ComponentOptions, optional
        The scheme has none.
    """

    name = "charge-embedding"
    periodic = True
    extensive = False
    long_range = True

    def __init__(self, shape: NetworkShape, options: ComponentOptions | None = None) -> None:
        super().__init__(shape, options)
        self.inner = torch.nn.Parameter(torch.randn(shape.n_species, 2, shape.channels))
        self.outer = torch.nn.Linear(shape.channels, shape.channels, bias=False)

    def embed(self, features: torch.Tensor, batch: AtomBatch, memory: Memory) -> torch.Tensor:
        """Add the embedded total charge to the features, (N, channels)."""
        del memory
        signs = torch.stack([batch.charge.clamp(min=0.0), (-batch.charge).clamp(min=0.0)], dim=-1)
        hidden = torch.einsum("nsc,ns->nc", self.inner[batch.species], signs[batch.structure])
        added: torch.Tensor = self.outer(torch.nn.functional.silu(hidden))
        return features + added


def build_scheme(name: str, shape: NetworkShape, options: Mapping[str, Any]) -> Scheme:
    """Build a scheme from its name and its options.

    Parameters
    ----------
    name : str
        Name in the registry.
    shape : NetworkShape
    options : mapping
        Options as written in a campaign.

    Raises
    ------
    ValueError
        When there is no such scheme, an option is invalid, or the implementation is not a `Scheme`.
    """
    declaration = find_scheme(name)
    implementation = load_implementation(declaration)
    if not (isinstance(implementation, type) and issubclass(implementation, Scheme)):
        raise ValueError(f"scheme {name}: expected a subclass of Scheme, found {implementation!r}")
    return implementation(shape, scheme_options(name, options, shape))
