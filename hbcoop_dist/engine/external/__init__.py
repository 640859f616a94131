"""Optimisers of other packages, one structure at a time: cross-checks of our own minimiser."""

from hbcoop_dist.engine.external.minimise_with import minimise_in_openmm, minimise_with
from hbcoop_dist.engine.external.optimisers import OPTIMISERS, Optimiser, not_installed

__all__ = ["OPTIMISERS", "Optimiser", "minimise_in_openmm", "minimise_with", "not_installed"]
