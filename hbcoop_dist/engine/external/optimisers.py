"""Which optimisers there are, and whether their package is here; nothing is imported to find out."""

from __future__ import annotations

import importlib.util
from typing import Literal, get_args

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
