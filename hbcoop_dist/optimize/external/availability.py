"""Which optimisers there are, and whether their package is here; nothing is imported to find out.

Which models OpenMM can minimise, and in which float type it sees their forces; nothing is imported to find out.
"""

from __future__ import annotations

import importlib.util
from typing import Literal, get_args

from hbcoop_dist.models.base import ModelCard

Optimiser = Literal["tree", "ase-lbfgs", "ase-fire", "sella", "geometric"]
OPTIMISERS: tuple[str, ...] = get_args(Optimiser)

EXTRA = "crosscheck"
_OPTIONAL = ("sella", "geometric")


def not_installed(optimiser: Optimiser) -> str:
    """Why an optimiser cannot run here, and what to install; empty when it can."""
    if optimiser not in _OPTIONAL or importlib.util.find_spec(optimiser) is not None:
        return ""
    return (
        f"expected package {optimiser} for optimiser {optimiser}, found none; install the extra {EXTRA!r} "
        f"(pip install 'hbcoop_dist[{EXTRA}]')"
    )


FLOOR = 1.0e-3
"""Largest force, eV/A, below which float32 energies end no minimisation: L-BFGS finds no lower point before."""
PAPER_TOLERANCE = 0.01
"""RMS force, kJ/mol/nm, asked for by Feng, Xu, Huang (2025) of ANI and MACE-OFF."""

_THROUGH_OPENMMML = ("ani", "mace")
_ITS_OWN = "openmm"
OPENMM_EXTRA = "models"


def forces_dtype(card: ModelCard) -> str:
    """Float type of the forces that OpenMM's minimiser sees of a model."""
    return "float64" if card.family == _ITS_OWN else "float32"


def packages(card: ModelCard) -> tuple[str, ...]:
    """Distributions whose versions decide a minimum besides the model's own."""
    return ("openmm",) if card.family == _ITS_OWN else ("openmm", "openmmml")


def not_minimised(card: ModelCard) -> str:
    """Why OpenMM cannot minimise with a model here, and what to do; empty when it can."""
    families = (*_THROUGH_OPENMMML, _ITS_OWN)
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
            return (
                f"expected package {package} for model {card.name}, found none; install the extra {OPENMM_EXTRA!r} "
                f"(pip install 'hbcoop_dist[{OPENMM_EXTRA}]')"
            )
    return ""
