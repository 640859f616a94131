"""Cooperative energies (Eq. 1 of Feng, Xu and Huang 2025) from fragment energies."""

from hbcoop_dist.cooperativity.equation import (
    EV_TO_KCAL,
    FRAGMENTS,
    Cooperativity,
    FragmentEnergies,
    cooperativity_from_points,
    hbond_cooperativity,
    pair_cooperativity,
)

__all__ = [
    "EV_TO_KCAL",
    "FRAGMENTS",
    "Cooperativity",
    "FragmentEnergies",
    "cooperativity_from_points",
    "hbond_cooperativity",
    "pair_cooperativity",
]
