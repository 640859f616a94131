"""Eq. 1: cooperative energy of an H-bond from fragment energies. Arithmetic only.

    dV = -( U_ABC - U_BC - U_AC + U_C  [geometry ABC]  -  U_AB + U_A + U_B  [geometry AB] )

(Feng, Xu, Huang 2025).  Positive = the bond is stronger in the complex.  The electronic part takes AB, A and B at the
complex's geometry and vanishes for an additive model; the rest is geometric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import NDArray

from hbcoop_dist.engine.energies import FragmentEnergies
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.fragments import fragments_of

FloatArray = NDArray[np.float64]

EV_TO_KCAL = units.mol / units.kcal
"""kcal/mol per eV."""


@dataclass(frozen=True, slots=True)
class Cooperativity:
    """Cooperative energy of one H-bond and its parts, kcal/mol.

    Attributes
    ----------
    total, electronic, geometric : float
        dV of Eq. 1 and its parts; total = electronic + geometric.
    interaction, interaction_dimer : float
        Interaction energy of A and B inside the complex and in the isolated dimer (negative = bound).
    points : (10,) array
        Energies of `hbcoop_dist.results.FRAGMENTS`, eV.
    atoms : (N,) array or None
        Eq. 1 atom by atom over the complex; sums to `total`.
    """

    total: float
    electronic: float
    geometric: float
    interaction: float
    interaction_dimer: float
    points: FloatArray
    atoms: FloatArray | None


def cooperativity(
    structure: Structure, energies: FragmentEnergies, hbond: int, dimer: Structure, dimer_energies: FragmentEnergies
) -> Cooperativity:
    """Eq. 1 for one H-bond (1-based) of a complex.

    Parameters
    ----------
    structure, energies
        The complex and its fragments, the electronic ones included.
    hbond : int
    dimer, dimer_energies
        The isolated dimer in the same conformer and rotamers, and its fragments.
    """
    parts = fragments_of(structure, hbond)
    here = {name: energies.energy(molecules) for name, molecules in parts.items()}
    alone = {name: dimer_energies.energy(molecules) for name, molecules in fragments_of(dimer, 1).items()}
    inside = here["ABC"] - here["BC"] - here["AC"] + here["C"]
    rigid = here["AB"] - here["A"] - here["B"]
    isolated = alone["AB"] - alone["A"] - alone["B"]
    points = np.array(
        [here[name] for name in ("ABC", "BC", "AC", "C")]
        + [alone[name] for name in ("AB", "A", "B")]
        + [here[name] for name in ("AB", "A", "B")]
    )
    return Cooperativity(
        total=(isolated - inside) * EV_TO_KCAL,
        electronic=(rigid - inside) * EV_TO_KCAL,
        geometric=(isolated - rigid) * EV_TO_KCAL,
        interaction=inside * EV_TO_KCAL,
        interaction_dimer=isolated * EV_TO_KCAL,
        points=points,
        atoms=_atomic(structure, energies, hbond, dimer_energies),
    )


def _atomic(
    structure: Structure, energies: FragmentEnergies, hbond: int, dimer_energies: FragmentEnergies
) -> FloatArray | None:
    """Eqs. 2 to 5: Eq. 1 summed atom by atom over A, B and C, kcal/mol, (N,)."""
    if energies.atom_energies is None or dimer_energies.atom_energies is None:
        return None
    parts = fragments_of(structure, hbond)
    inside = energies.of_atoms(parts["ABC"]) - energies.of_atoms(parts["BC"])
    inside += energies.of_atoms(parts["C"]) - energies.of_atoms(parts["AC"])
    isolated = dimer_energies.of_atoms((0, 1)) - dimer_energies.of_atoms((0,)) - dimer_energies.of_atoms((1,))
    a, b = parts["AB"]
    pair = (structure.molecules == a) | (structure.molecules == b)
    inside[pair] -= isolated
    return np.asarray(-inside * EV_TO_KCAL)
