"""Names of the MP2 variants and of their options, and the weights of their correlation energies."""

from __future__ import annotations

from collections.abc import Mapping

FROZEN_CORE = "frozen-core"
COUNTERPOISE = "cp"

SPIN_SCALED: Mapping[str, tuple[float, float]] = {
    "rimp2": (1.0, 1.0),
    "scs-mp2": (1 / 3, 6 / 5),
    "sos-mp2": (0.0, 1.3),
}
"""Weights of the same-spin and opposite-spin correlation energies by method: Grimme, J. Chem. Phys. 2003, 118, 9095,
Eq. 6 and below; Jung et al., J. Chem. Phys. 2004, 121, 9793."""
