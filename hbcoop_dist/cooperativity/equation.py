"""Eq. 1: cooperative energy of an H-bond from fragment energies. Arithmetic only.

    dV = -( U_ABC - U_BC - U_AC + U_C  [geometry ABC]  -  U_AB + U_A + U_B  [geometry AB] )

(Feng, Xu, Huang 2025).  Positive = the bond is stronger in the complex.  The electronic part takes AB, A and B at the
complex's geometry and vanishes for an additive model; the rest is geometric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from ase import units
from numpy.typing import NDArray

from hbcoop_dist.cooperativity.fragments import FragmentEnergies
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.fragments import Molecules, fragments_of

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
        Energies of `hbcoop_dist.core.results.FRAGMENTS`, eV.
    atoms : (N,) array or None
        Eq. 1 atom by atom over the complex; sums to `total`.
    spread : mapping of str to float
        By the name of an energy above: the standard deviation of what the networks of an ensemble say of it, each at
        these geometries, which are one for all. Empty where the model is no ensemble.
    """

    total: float
    electronic: float
    geometric: float
    interaction: float
    interaction_dimer: float
    points: FloatArray
    atoms: FloatArray | None
    spread: Mapping[str, float] = field(default_factory=dict)


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
    return pair_cooperativity(
        structure, energies, fragments_of(structure, hbond), dimer_energies, fragments_of(dimer, 1)
    )


def pair_cooperativity(
    structure: Structure,
    energies: FragmentEnergies,
    parts: Mapping[str, Molecules],
    pair_energies: FragmentEnergies,
    pair_parts: Mapping[str, Molecules],
) -> Cooperativity:
    """Eq. 1 for any pair A, B of molecules of a complex.

    Parameters
    ----------
    structure, energies
        The complex and its fragments.
    parts : mapping of str to tuple of int
        Molecules of ABC, BC, AC, C, AB, A and B in the complex.
    pair_energies, pair_parts
        The same of A and B alone, of which AB, A and B count.
    """

    def points(read: Callable[[FragmentEnergies, Molecules], float | FloatArray]) -> FloatArray:
        there = ("AB", "A", "B")
        found = [read(energies, parts[name]) for name in ("ABC", "BC", "AC", "C")]
        found += [read(pair_energies, pair_parts[name]) for name in there]
        return np.array(found + [read(energies, parts[name]) for name in there])

    ensemble = energies.member_energies is not None and pair_energies.member_energies is not None
    return from_points(
        points(FragmentEnergies.energy),
        _atomic(structure, energies, parts, pair_energies, pair_parts),
        points(FragmentEnergies.of_members) if ensemble else None,
    )


def from_points(
    points: FloatArray, atoms: FloatArray | None = None, member_points: FloatArray | None = None
) -> Cooperativity:
    """Eq. 1 from the energies of its fragments.

    Parameters
    ----------
    points : (10,) array
        Energies of `hbcoop_dist.core.results.FRAGMENTS`, eV.
    atoms : (N,) array, optional
        What they come to atom by atom, kcal/mol.
    member_points : (10, M) array, optional
        The same energies as each network of an ensemble has them, eV.
    """
    values = {name: float(value) for name, value in _energies(points).items()}
    members = {} if member_points is None else _energies(member_points)
    spread = {name: float(each.std(ddof=1)) for name, each in members.items()}
    return Cooperativity(**values, points=points, atoms=atoms, spread=spread)


def _energies(points: FloatArray) -> dict[str, FloatArray]:
    """Energies of a `Cooperativity` by name, kcal/mol, from (10, ...) points."""
    abc, bc, ac, c, pair, a, b, pair_there, a_there, b_there = points
    inside = abc - bc - ac + c
    rigid = pair_there - a_there - b_there
    isolated = pair - a - b
    found = {
        "total": isolated - inside,
        "electronic": rigid - inside,
        "geometric": isolated - rigid,
        "interaction": inside,
        "interaction_dimer": isolated,
    }
    return {name: value * EV_TO_KCAL for name, value in found.items()}


def _atomic(
    structure: Structure,
    energies: FragmentEnergies,
    parts: Mapping[str, Molecules],
    pair_energies: FragmentEnergies,
    pair_parts: Mapping[str, Molecules],
) -> FloatArray | None:
    """Eqs. 2 to 5: Eq. 1 summed atom by atom over A, B and C, kcal/mol, (N,)."""
    if energies.atom_energies is None or pair_energies.atom_energies is None:
        return None
    inside = energies.of_atoms(parts["ABC"]) - energies.of_atoms(parts["BC"])
    inside += energies.of_atoms(parts["C"]) - energies.of_atoms(parts["AC"])
    isolated = pair_energies.of_atoms(pair_parts["AB"])
    isolated = isolated - pair_energies.of_atoms(pair_parts["A"]) - pair_energies.of_atoms(pair_parts["B"])
    mine = np.isin(structure.molecules, parts["AB"])
    # the pair alone has its own atoms only, or all of them where it was taken from the complex
    inside[mine] -= isolated if len(isolated) == mine.sum() else isolated[mine]
    return np.asarray(-inside * EV_TO_KCAL)
