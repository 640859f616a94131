"""The energy of latent charges without periodic images: Gaussians in vacuum, as latent Ewald summation (LES) has them.

A network of short range gives every atom a latent charge q, fitted through nothing but energies and forces.  It is
smeared to a Gaussian of width sigma, so that the energy stays finite where atoms meet and is Coulomb's far away:

    E = k/2 sum_ij q_i q_j erf(r_ij / (sqrt(2) sigma)) / r_ij

where i = j, if it counts, is the limit r -> 0: k q_i^2 / (sqrt(2 pi) sigma).  It is no constant, since charges change
with their surroundings.

Charges enter in products only, so they are known up to one sign for the whole network, and a molecule's need not add up
to its charge.  Cheng, npj Comput. Mater. 2025, 11, 80, doi:10.1038/s41524-025-01577-7.

Read networks of class MACELES where their package ``les`` is not installed, which no registry has.

A pickle names the classes of its objects.  Those of ``les`` hold settings and no parameters, so any module that keeps
what it is given will do in their place: the settings are read off it, and `latent_ewald` does the work.  Names are
looked up here while a file is read, and nowhere else: nobody finds a package that is not there.
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
    """Every pair i < j of atoms of one structure, shape (2, pairs).

    Parameters
    ----------
    batch : (n,) int tensor
        Structure of every atom, ascending from 0.
    """
    sizes = torch.bincount(batch).tolist()
    starts = [0, *torch.tensor(sizes).cumsum(0).tolist()]
    blocks = [torch.triu_indices(n, n, 1, device=batch.device) + start for n, start in zip(sizes, starts, strict=False)]
    return torch.cat(blocks, dim=1)


class LatentEwald(nn.Module):
    """Energy of latent charges, in place of the module ``les`` of a network of class MACELES.

    Parameters
    ----------
    sigma : float
        Width of the Gaussians, A.
    coulomb : float
        Coulomb's constant k, eV A / e^2: the one that the charges were fitted with.
    own : bool
        Whether a charge's energy in its own potential counts.
    """

    def __init__(self, sigma: float, coulomb: float, own: bool) -> None:
        super().__init__()
        self.sigma, self.coulomb, self.own = sigma, coulomb, own

    def atom_energies(self, charges: Tensor, positions: Tensor, batch: Tensor) -> Tensor:
        """Energy of every atom, eV: half of its pairs', and its own.

        Parameters
        ----------
        charges : (n,) tensor
            e.
        positions : (n, 3) tensor
            A.
        batch : (n,) int tensor
            Structure of every atom, ascending from 0.
        """
        first, second = pairs_of(batch)
        distances = torch.linalg.vector_norm(positions[first] - positions[second], dim=1)
        potential = torch.special.erf(distances / (math.sqrt(2.0) * self.sigma)) / distances
        half = 0.5 * self.coulomb * charges[first] * charges[second] * potential
        energies = torch.zeros_like(charges).index_add(0, first, half).index_add(0, second, half)
        if self.own:
            energies = energies + self.coulomb / (math.sqrt(2.0 * math.pi) * self.sigma) * charges.square()
        return energies

    def forward(
        self, *, latent_charges: Tensor, positions: Tensor, batch: Tensor, **_: object
    ) -> Mapping[str, Tensor | None]:
        """What the network asks of ``les``: the energy of every structure, eV."""
        energies = self.atom_energies(latent_charges, positions, batch)
        total = energies.new_zeros(int(batch[-1]) + 1).index_add(0, batch, energies)
        return {"E_lr": total, "BEC": None}


_PACKAGE = "les"
# where mace-torch's fork had it, and where mace-torch has it now
_MOVED = {("mace.modules.models", "MACELES"): ("mace.modules.extensions", "MACELES")}
_SETTINGS = ("sigma", "norm_factor", "remove_self_interaction")


class StandIn(nn.Module):
    """Keeps the attributes of an object of ``les``."""


class Unpickler(pickle.Unpickler):
    """Finds what has moved, and stand-ins for what is not installed."""

    def find_class(self, module: str, name: str) -> Any:
        """Find a class that a pickle names."""
        if module.partition(".")[0] == _PACKAGE and importlib.util.find_spec(_PACKAGE) is None:
            return StandIn
        return super().find_class(*_MOVED.get((module, name), (module, name)))


def load(file: Any, **settings: Any) -> Any:
    """Read one object, as `pickle.load` does: torch takes this module in place of ``pickle``."""
    return Unpickler(file, **settings).load()


def latent_ewald_of(les: Any, who: str) -> LatentEwald:
    """What computes the energy of a network's module ``les``, by the settings that it was saved with.

    Parameters
    ----------
    les : module
        Of ``les`` itself, a stand-in, or already ours.
    who : str
        Model and file, for errors.

    Raises
    ------
    ModelError
        When it does something that `LatentEwald` does not.
    """
    if isinstance(les, LatentEwald):
        return les
    ewald = getattr(les, "ewald", None)
    kept: dict[str, Any] = {name: getattr(ewald, name, None) for name in _SETTINGS}
    if missing := [name for name, value in kept.items() if value is None]:
        raise ModelError(f"{who}: expected {', '.join(missing)} in its module les.ewald, found none")
    more = [name for one in (les, ewald) for name, value in vars(one).items() if name.startswith("use_") and value]
    if extra := sorted(set(more) - {"use_atomwise"}):
        raise ModelError(f"{who}: expected latent charges alone, found {', '.join(extra)} in its module les")
    # saved is 1 / (2 epsilon_0) in a value of epsilon_0 that is 0.5 % too large; the charges were fitted with it
    coulomb = float(kept["norm_factor"]) / (2.0 * math.pi)
    return LatentEwald(float(kept["sigma"]), coulomb, own=not kept["remove_self_interaction"])
