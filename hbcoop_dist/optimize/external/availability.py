"""Availability of optimisers and of OpenMM's minimiser for a model, determined without importing their packages."""

from __future__ import annotations

import importlib.util
from typing import Literal, get_args

from hbcoop_dist.models.base import ModelCard

Optimiser = Literal["tree", "ase-lbfgs", "ase-fire", "sella", "geometric"]
OPTIMISERS: tuple[str, ...] = get_args(Optimiser)

EXTRA = "crosscheck"
_OPTIONAL = ("sella", "geometric")

FLOOR = 1.0e-3
"""Largest force, eV/A, below which OpenMM's L-BFGS finds no lower energy in float32."""
PAPER_TOLERANCE = 0.01
"""Tolerance of the RMS force, kJ/mol/nm, for ANI and MACE-OFF in Feng, Xu, Huang (2025)."""

_THROUGH_OPENMMML = ("ani", "mace")
_FORCE_FIELDS = "openmm"
OPENMM_EXTRA = "models"


def not_installed(optimiser: Optimiser) -> str:
    """Check that the package of an optimiser is installed.

    Parameters
    ----------
    optimiser : {"tree", "ase-lbfgs", "ase-fire", "sella", "geometric"}

    Returns
    -------
    str
        The missing package and how to install it; empty when nothing is missing.
    """
    if optimiser not in _OPTIONAL or importlib.util.find_spec(optimiser) is not None:
        return ""
    return _missing(optimiser, f"optimiser {optimiser}", EXTRA)


def forces_dtype(card: ModelCard) -> str:
    """Return the float type of a model's forces in OpenMM's minimiser, ``float32`` or ``float64``."""
    return "float64" if card.family == _FORCE_FIELDS else "float32"


def packages(card: ModelCard) -> tuple[str, ...]:
    """List the distributions, besides those of the model, whose versions affect a minimum found by OpenMM."""
    return ("openmm",) if card.family == _FORCE_FIELDS else ("openmm", "openmmml")


def not_minimised(card: ModelCard) -> str:
    """Check that OpenMM can minimise with a model in this environment.

    Parameters
    ----------
    card : ModelCard

    Returns
    -------
    str
        Why it cannot, and what to install; empty when it can.
    """
    families = (*_THROUGH_OPENMMML, _FORCE_FIELDS)
    if card.family not in families:
        return f"expected models of families {', '.join(families)}, found {card.name} of family {card.family}"
    if card.name == "charmm-drude":
        return f"expected a force field without Drude particles, found {card.name}; our own engine relaxes them"
    if card.family == "mace" and card.about.long_range:
        return f"expected a network of short range, which openmm-ml reads, found {card.name} with latent charges"
    if "head" in card.options:
        return f"expected a network with one head, which openmm-ml reads, found head {card.options['head']}"
    for package in packages(card):
        if importlib.util.find_spec(package) is None:
            return _missing(package, f"model {card.name}", OPENMM_EXTRA)
    return ""


def _missing(package: str, user: str, extra: str) -> str:
    return (
        f"expected package {package} for {user}, found none; install the extra {extra!r} "
        f"(pip install 'hbcoop_dist[{extra}]')"
    )
