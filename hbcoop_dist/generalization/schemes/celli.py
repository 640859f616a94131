"""Charge equilibration inside a network: charges follow from electronegativities, interact, and go on as features.

What is added to the energy is the Coulomb energy of the Gaussian charges, self-energies included, q' J q / 2.  The
electronegativity and hardness terms of the energy that the charges minimise are not: they belong to single atoms and
their surroundings, and the short-range network has to learn those anyway.  So the energy is not stationary in the
charges, and forces need their derivatives.

Source: Sanocki and Zavadlav (2026), the charge equilibration layer; the solve is that of `equilibrate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from ase.data import covalent_radii

from hbcoop_dist.generalization.atoms import AtomBatch
from hbcoop_dist.generalization.schemes.base import LongRange, Memory, NetworkShape, Scheme
from hbcoop_dist.generalization.schemes.equilibrate import equilibrate
from hbcoop_dist.generalization.schemes.options import choice, flag, read, whole

_CHI_UNIT = 5.0
"""eV/e of a network output of 1: with hardnesses near 10 eV/e^2 charges move as far as outputs do."""
_START_HARDNESS = 1.0
"""eV/e^2, beside the Gaussian's own ke / (sqrt(pi) s), which for covalent radii is 10 to 26 already."""
_START_WIDTH = 0.7
"""A, where the elements are not known."""


class ChargeEquilibration(Scheme):
    """Charges by one linear solve, with a multiplier for each structure or for each molecule.

    In a structure that repeats they interact with all images; a charged cell has a uniform background.

    Options
    -------
    charge_constraint : global (default) or fragment
        Global: only the charge of a structure is given, and charge leaks between molecules however far apart they are,
        as long as they are of different electronegativity. Fragment: every molecule keeps its own charge. Where a data
        set knows no molecules a structure is one, and both are the same.
    layer : int, the last but one
        Layer (from 0) after which electronegativities are read and charges embedded; the last of a network of one.
    embed_charges : bool, True
        Whether a function of its charge is added to the features of an atom.
    charge_loss : bool, True
        Whether reference charges, where there are some, go into the loss.
    hidden : int, the channels of the network
        Width of the hidden layers.
    """

    name: ClassVar[str] = "celli"
    periodic: ClassVar[bool] = True
    extensive = False
    reaches = True
    charges_wanted = True

    def __init__(self, shape: NetworkShape, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(shape)
        defaults = {
            "charge_constraint": "global",
            "layer": max(shape.n_layers - 2, 0),
            "embed_charges": True,
            "charge_loss": True,
            "hidden": shape.channels,
        }
        chosen = read(self.name, options, defaults)
        reach = choice(self.name, "charge_constraint", chosen["charge_constraint"], ("global", "fragment"))
        self.fragments = self.extensive = reach == "fragment"
        self.charges_wanted = flag(self.name, "charge_loss", chosen["charge_loss"])
        self.layer = whole(self.name, "layer", chosen["layer"], least=0, below=shape.n_layers)
        hidden = whole(self.name, "hidden", chosen["hidden"], least=1)
        self.electronegativity = Electronegativity(shape, hidden)
        self.hardness = torch.nn.Parameter(torch.full((shape.n_species,), _inverse_softplus(_START_HARDNESS)))
        self.widths = torch.nn.Parameter(torch.tensor([_inverse_softplus(one) for one in _start_widths(shape)]))
        self.embedding = (
            _embedding(hidden, shape.channels) if flag(self.name, "embed_charges", chosen["embed_charges"]) else None
        )

    def after_layer(
        self, layer: int, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch, memory: Memory
    ) -> torch.Tensor:
        """Equilibrate charges after the chosen layer, and tell the features of them."""
        if layer != self.layer:
            return features
        charges, memory["potential"] = equilibrate(
            self.electronegativity(features, radial, batch),
            torch.nn.functional.softplus(self.hardness)[batch.species],
            torch.nn.functional.softplus(self.widths)[batch.species],
            batch,
            fragments=self.fragments,
        )
        memory["charges"] = charges
        return features if self.embedding is None else features + self.embedding(charges[:, None])

    def energy(self, features: Sequence[torch.Tensor], batch: AtomBatch, memory: Memory) -> LongRange:
        """Coulomb energy of the charges, self-energies included, and these."""
        del features, batch
        return LongRange(energy=0.5 * memory["charges"] * memory["potential"], charges=memory["charges"])


class Electronegativity(torch.nn.Module):
    """chi of atoms, (N,), eV/e: a constant of the species and a sum over edges, whose terms end at the cutoff."""

    def __init__(self, shape: NetworkShape, hidden: int) -> None:
        super().__init__()
        self.species = torch.nn.Parameter(torch.zeros(shape.n_species))
        self.sender = torch.nn.Linear(shape.channels, hidden)
        self.receiver = torch.nn.Linear(shape.channels, hidden, bias=False)
        self.gate = torch.nn.Linear(shape.n_radial, hidden, bias=False)
        self.last = torch.nn.Linear(hidden, 1, bias=False)

    def forward(self, features: torch.Tensor, radial: torch.Tensor, batch: AtomBatch) -> torch.Tensor:
        """From features, (N, channels), and radial functions of edges, (E, n_radial)."""
        sender, receiver = batch.edges
        pairs = torch.nn.functional.silu(self.sender(features)[sender] + self.receiver(features)[receiver])
        edges: torch.Tensor = self.last(pairs * self.gate(radial)).squeeze(-1)
        return _CHI_UNIT * self.species[batch.species].index_add(0, receiver, edges)


def _embedding(hidden: int, channels: int) -> torch.nn.Sequential:
    """A function of one charge that is zero at the start: training begins from the features as they were."""
    last = torch.nn.Linear(hidden, channels, bias=False)
    torch.nn.init.zeros_(last.weight)
    return torch.nn.Sequential(torch.nn.Linear(1, hidden), torch.nn.SiLU(), last)


def _start_widths(shape: NetworkShape) -> list[float]:
    if not shape.elements:
        return [_START_WIDTH] * shape.n_species
    return [float(covalent_radii[number]) for number in shape.elements]


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
