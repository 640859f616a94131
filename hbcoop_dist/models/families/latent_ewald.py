"""Latent Ewald summation (LES) without periodic images, for networks of class MACELES.

A short-range network assigns every atom a latent charge q, which is fitted through energies and forces alone. Charges
are Gaussians of width sigma, so that the energy is finite where atoms meet and tends to Coulomb's at large distances:

    E = k/2 sum_ij q_i q_j erf(r_ij / (sqrt(2) sigma)) / r_ij

The self-interaction i = j, where included, is the limit r -> 0: k q_i^2 / (sqrt(2 pi) sigma). It is not constant, since
charges depend on their surroundings. Charges enter in products only; one sign for the whole network is arbitrary, and
the charges of a molecule need not sum to its charge. Cheng, npj Comput. Mater. 2025, 11, 80,
doi:10.1038/s41524-025-01577-7.

The package ``les``, whose objects are part of such networks, is in no registry. This module serves as ``pickle_module``
of `torch.load` and replaces the classes of that package, which contain settings but no parameters, by placeholders.
"""

from __future__ import annotations

import importlib.util
import math
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hbcoop_dist.models.base import ModelError


def pairs_of(batch: Tensor) -> Tensor:
    """All pairs i < j of atoms of the same structure.

    Parameters
    ----------
    batch : (n,) int tensor
        Structure of every atom, ascending from 0.

    Returns
    -------
    (2, pairs) int tensor
    """
    sizes = torch.bincount(batch).tolist()
    starts = [0, *torch.tensor(sizes).cumsum(0).tolist()]
    blocks = [torch.triu_indices(n, n, 1, device=batch.device) + start for n, start in zip(sizes, starts, strict=False)]
    return torch.cat(blocks, dim=1)


class LatentEwald(nn.Module):
    """Energy of latent charges; replaces the module ``les`` of a network of class MACELES.

    Parameters
    ----------
    sigma : float
        Width of the Gaussians, A.
    coulomb : float
        Coulomb's constant k with which the charges were fitted, eV A / e^2.
    self_interaction : bool
        Whether the interaction of a charge with itself is included.
    """

    def __init__(self, sigma: float, coulomb: float, self_interaction: bool) -> None:
        super().__init__()
        self.sigma, self.coulomb, self.self_interaction = sigma, coulomb, self_interaction

    def atom_energies(self, charges: Tensor, positions: Tensor, batch: Tensor) -> Tensor:
        """Energy of every atom: half that of its pairs, and the self-interaction.

        Parameters
        ----------
        charges : (n,) tensor
            Latent charges, e.
        positions : (n, 3) tensor
            A.
        batch : (n,) int tensor
            Structure of every atom, ascending from 0.

        Returns
        -------
        (n,) tensor
            eV.
        """
        first, second = pairs_of(batch)
        distances = torch.linalg.vector_norm(positions[first] - positions[second], dim=1)
        potential = torch.special.erf(distances / (math.sqrt(2.0) * self.sigma)) / distances
        half = 0.5 * self.coulomb * charges[first] * charges[second] * potential
        energies = torch.zeros_like(charges).index_add(0, first, half).index_add(0, second, half)
        if self.self_interaction:
            energies = energies + self.coulomb / (math.sqrt(2.0 * math.pi) * self.sigma) * charges.square()
        return energies

    def forward(
        self, *, latent_charges: Tensor, positions: Tensor, batch: Tensor, **_: object
    ) -> Mapping[str, Tensor | None]:
        """Energy of every structure, eV, under the names that the network expects of ``les``."""
        energies = self.atom_energies(latent_charges, positions, batch)
        total = energies.new_zeros(int(batch[-1]) + 1).index_add(0, batch, energies)
        return {"E_lr": total, "BEC": None}


_PACKAGE = "les"
# The class's module in mace-torch's fork, and in mace-torch.
_MOVED = {("mace.modules.models", "MACELES"): ("mace.modules.extensions", "MACELES")}
_SETTINGS = ("sigma", "norm_factor", "remove_self_interaction")


class Placeholder(nn.Module):
    """Keeps the attributes of a pickled object of ``les``."""


class Unpickler(pickle.Unpickler):
    """Finds classes that were moved, and placeholders for those of ``les`` where it is not installed."""

    def find_class(self, module: str, name: str) -> Any:
        """Find a class named in a pickle; called by `pickle.Unpickler`."""
        if module.partition(".")[0] == _PACKAGE and importlib.util.find_spec(_PACKAGE) is None:
            return Placeholder
        return super().find_class(*_MOVED.get((module, name), (module, name)))


def load(file: Any, **settings: Any) -> Any:
    """Read one object, as `pickle.load` does; called by `torch.load`."""
    return Unpickler(file, **settings).load()


def latent_ewald_of(les: Any, who: str) -> LatentEwald:
    """Make the `LatentEwald` with the settings of a network's module ``les``.

    Parameters
    ----------
    les : torch.nn.Module
        Module of the package ``les``, a placeholder, or a `LatentEwald`.
    who : str
        Model and file, for error messages.

    Raises
    ------
    ModelError
        When settings are missing, or the module has terms that `LatentEwald` does not compute.
    """
    if isinstance(les, LatentEwald):
        return les
    ewald = getattr(les, "ewald", None)
    settings: dict[str, Any] = {name: getattr(ewald, name, None) for name in _SETTINGS}
    if missing := [name for name, value in settings.items() if value is None]:
        raise ModelError(f"{who}: expected {', '.join(missing)} in its module les.ewald, found none")
    enabled = {name for module in (les, ewald) for name, on in vars(module).items() if name.startswith("use_") and on}
    if extra := sorted(enabled - {"use_atomwise"}):
        raise ModelError(f"{who}: expected latent charges alone, found {', '.join(extra)} in its module les")
    # norm_factor is 1 / (2 epsilon_0) with an epsilon_0 that is 0.5 % too large; the charges were fitted with it.
    coulomb = float(settings["norm_factor"]) / (2.0 * math.pi)
    return LatentEwald(float(settings["sigma"]), coulomb, self_interaction=not settings["remove_self_interaction"])
