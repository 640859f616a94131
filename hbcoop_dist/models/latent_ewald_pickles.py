"""Read networks of class MACELES where their package ``les`` is not installed, which no registry has.

A pickle names the classes of its objects.  Those of ``les`` hold settings and no parameters, so any module that keeps
what it is given will do in their place: the settings are read off it, and `latent_ewald` does the work.  Names are
looked up here while a file is read, and nowhere else: nobody finds a package that is not there.
"""

from __future__ import annotations

import importlib.util
import math
import pickle
from typing import Any

from torch import nn

from hbcoop_dist.models.base import ModelError
from hbcoop_dist.models.latent_ewald import LatentEwald

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
