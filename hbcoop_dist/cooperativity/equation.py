"""Cooperative energy of an H-bond from fragment energies (Eq. 1 of Feng, Xu, Huang 2025).

    dV = -( U_ABC - U_BC - U_AC + U_C  [geometry ABC]  -  U_AB + U_A + U_B  [geometry AB] )

A positive dV means that the bond is stronger in the complex. The electronic part takes AB, A and B at the geometry of
the complex and vanishes for an additive model; the rest is geometric. This module is arithmetic and imports no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from ase import units

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.structure import Molecules, fragments_of

EV_TO_KCAL = units.mol / units.kcal
"""kcal/mol per eV."""

FRAGMENTS = ("ABC", "BC", "AC", "C", "AB", "A", "B", "AB_complex", "A_complex", "B_complex")
"""Points of Eq. 1: four at the geometry of the complex; AB, A and B at the geometry of the isolated pair; for the
electronic part, AB, A and B at the geometry of the complex."""
_IN_COMPLEX, _PAIR = FRAGMENTS[:4], FRAGMENTS[4:7]


@dataclass(frozen=True, slots=True)
class FragmentEnergies:
    """Energies of m fragments of one complex at the geometry of the complex.

    Attributes
    ----------
    fragments : tuple of tuple of int
        Molecules of every fragment.
    energies : (m,) array
        eV.
    atom_energies : (m, N) array or None
        Per-atom energies, eV, of the atoms of the complex; zero where an atom is not in the fragment.
    parts : (m, p) array or None
        Terms, eV, that the energies are combined from, in the order of the card's `combination`.
    member_energies : (m, M) array or None
        Energies, eV, of the M networks of an ensemble; None where the model is no ensemble.
    """

    fragments: tuple[Molecules, ...]
    energies: FloatArray
    atom_energies: FloatArray | None = None
    parts: FloatArray | None = None
    member_energies: FloatArray | None = None

    def energy(self, molecules: Molecules) -> float:
        """Return the energy, eV, of one fragment; zero for the empty fragment."""
        return float(self.energies[self.fragments.index(molecules)]) if molecules else 0.0

    def by_member(self, molecules: Molecules) -> FloatArray:
        """Return the energy, eV, of one fragment by every network of the ensemble, (M,).

        Raises
        ------
        ValueError
            When the model is no ensemble.
        """
        if self.member_energies is None:
            raise ValueError("fragment energies: expected those of an ensemble, found a model that is no ensemble")
        return self._row(self.member_energies, molecules)

    def by_atom(self, molecules: Molecules) -> FloatArray:
        """Return the per-atom energies, eV, of one fragment on the atoms of the complex, (N,).

        Raises
        ------
        ValueError
            When the model gives no per-atom energies.
        """
        if self.atom_energies is None:
            raise ValueError("fragment energies: expected per-atom energies, found none from this model")
        return self._row(self.atom_energies, molecules)

    def _row(self, values: FloatArray, molecules: Molecules) -> FloatArray:
        if not molecules:
            return np.zeros(values.shape[1])
        return np.asarray(values[self.fragments.index(molecules)])


@dataclass(frozen=True, slots=True)
class Cooperativity:
    """Cooperative energy of one H-bond and its parts, kcal/mol.

    Attributes
    ----------
    total, electronic, geometric : float
        dV of Eq. 1 and its parts; total = electronic + geometric.
    interaction, interaction_dimer : float
        Interaction energy of A and B inside the complex and in the isolated pair (negative = bound).
    points : (10,) array
        Energies, eV, of `FRAGMENTS`.
    atoms : (N,) array or None
        Eq. 1 atom by atom over the complex; the sum is `total`.
    spread : mapping of str to float
        Standard deviation of every energy above over the networks of an ensemble, all evaluated at the same geometries.
        Empty where the model is no ensemble.
    """

    total: float
    electronic: float
    geometric: float
    interaction: float
    interaction_dimer: float
    points: FloatArray
    atoms: FloatArray | None
    spread: Mapping[str, float] = field(default_factory=dict)


def hbond_cooperativity(
    structure: Structure, energies: FragmentEnergies, hbond: int, dimer: Structure, dimer_energies: FragmentEnergies
) -> Cooperativity:
    """Evaluate Eq. 1 for one H-bond of a chain.

    Parameters
    ----------
    structure : Structure
        The chain.
    energies : FragmentEnergies
        Its fragments, those of the electronic part included.
    hbond : int
        H-bond of the chain, from 1.
    dimer : Structure
        The isolated dimer in the same conformer and rotamers.
    dimer_energies : FragmentEnergies
        Its fragments.

    Returns
    -------
    Cooperativity
    """
    return pair_cooperativity(
        structure, energies, fragments_of(structure, hbond), dimer_energies, fragments_of(dimer, 1)
    )


def pair_cooperativity(
    structure: Structure,
    energies: FragmentEnergies,
    fragments: Mapping[str, Molecules],
    pair_energies: FragmentEnergies,
    pair_fragments: Mapping[str, Molecules],
) -> Cooperativity:
    """Evaluate Eq. 1 for any pair of molecules A, B of a complex.

    Parameters
    ----------
    structure : Structure
        The complex.
    energies : FragmentEnergies
        Its fragments, those of the electronic part included.
    fragments : mapping of str to tuple of int
        Molecules of ABC, BC, AC, C, AB, A and B in the complex.
    pair_energies : FragmentEnergies
        Fragments AB, A and B of the isolated pair.
    pair_fragments : mapping of str to tuple of int
        Molecules of AB, A and B in the isolated pair.

    Returns
    -------
    Cooperativity
        With atomic terms and with the spread of an ensemble where the energies include them.
    """

    def points(read: Callable[[FragmentEnergies, Molecules], float | FloatArray]) -> FloatArray:
        in_complex = [read(energies, fragments[name]) for name in _IN_COMPLEX]
        isolated = [read(pair_energies, pair_fragments[name]) for name in _PAIR]
        return np.array(in_complex + isolated + [read(energies, fragments[name]) for name in _PAIR])

    ensemble = energies.member_energies is not None and pair_energies.member_energies is not None
    return cooperativity_from_points(
        points(FragmentEnergies.energy),
        _atomic_terms(structure, energies, fragments, pair_energies, pair_fragments),
        points(FragmentEnergies.by_member) if ensemble else None,
    )


def cooperativity_from_points(
    points: FloatArray, atoms: FloatArray | None = None, member_points: FloatArray | None = None
) -> Cooperativity:
    """Evaluate Eq. 1 from the energies of its points.

    Parameters
    ----------
    points : (10,) array
        Energies, eV, of `FRAGMENTS`.
    atoms : (N,) array, optional
        Atomic terms, kcal/mol.
    member_points : (10, M) array, optional
        Energies, eV, of `FRAGMENTS` by every network of an ensemble.

    Returns
    -------
    Cooperativity
    """
    values = {name: float(value) for name, value in _energies(points).items()}
    member_values = {} if member_points is None else _energies(member_points)
    spread = {name: float(energies.std(ddof=1)) for name, energies in member_values.items()}
    return Cooperativity(**values, points=points, atoms=atoms, spread=spread)


def _energies(points: FloatArray) -> dict[str, FloatArray]:
    """Energies of a `Cooperativity` by name, kcal/mol, from points (10, ...), eV."""
    abc, bc, ac, c, ab, a, b, ab_complex, a_complex, b_complex = points
    inside = abc - bc - ac + c
    rigid = ab_complex - a_complex - b_complex
    isolated = ab - a - b
    energies = {
        "total": isolated - inside,
        "electronic": rigid - inside,
        "geometric": isolated - rigid,
        "interaction": inside,
        "interaction_dimer": isolated,
    }
    return {name: energy * EV_TO_KCAL for name, energy in energies.items()}


def _atomic_terms(
    structure: Structure,
    energies: FragmentEnergies,
    fragments: Mapping[str, Molecules],
    pair_energies: FragmentEnergies,
    pair_fragments: Mapping[str, Molecules],
) -> FloatArray | None:
    """Atomic terms (N,), kcal/mol: Eq. 1 for every atom of A, B and C (Eqs. 2 to 5 of the paper)."""
    if energies.atom_energies is None or pair_energies.atom_energies is None:
        return None
    inside = energies.by_atom(fragments["ABC"]) - energies.by_atom(fragments["BC"])
    inside += energies.by_atom(fragments["C"]) - energies.by_atom(fragments["AC"])
    isolated = pair_energies.by_atom(pair_fragments["AB"])
    isolated = isolated - pair_energies.by_atom(pair_fragments["A"]) - pair_energies.by_atom(pair_fragments["B"])
    in_pair = np.isin(structure.molecules, fragments["AB"])
    # the isolated pair has the atoms of A and B only, unless its energies were taken from the complex
    inside[in_pair] -= isolated if len(isolated) == in_pair.sum() else isolated[in_pair]
    return np.asarray(-inside * EV_TO_KCAL)
