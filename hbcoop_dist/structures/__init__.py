"""Structures: NMA monomers, chains and caps, complexes, tree coordinates, covalent bonds and H-bond geometry."""

from hbcoop_dist.structures.chains import (
    CAPPINGS,
    CONFORMERS,
    DEFAULT_ROTAMER,
    PATTERNS,
    Chain,
    Rotamer,
    conformers_of,
    make_chain,
    position_of,
    rotamers_of,
)
from hbcoop_dist.structures.monomers import monomer
from hbcoop_dist.structures.structure import NMA_ATOMS, WATER_ATOMS, Structure

__all__ = [
    "CAPPINGS",
    "CONFORMERS",
    "DEFAULT_ROTAMER",
    "NMA_ATOMS",
    "PATTERNS",
    "WATER_ATOMS",
    "Chain",
    "Rotamer",
    "Structure",
    "conformers_of",
    "make_chain",
    "monomer",
    "position_of",
    "rotamers_of",
]
