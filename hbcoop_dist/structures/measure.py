"""What is read off a structure: torsions, H-bond geometry, planarity, contacts, and whether it is still intact."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.structures.structure import NMA_ATOMS, WATER_ATOMS, Structure

FloatArray = NDArray[np.float64]

_MIRRORED = {"HA2", "HA3", "HN2", "HN3"}
BONDS = {
    "nma": (
        ("CA", "C"),
        ("C", "O"),
        ("C", "N"),
        ("N", "H"),
        ("N", "CN"),
        ("CA", "HA1"),
        ("CA", "HA2"),
        ("CA", "HA3"),
        ("CN", "HN1"),
        ("CN", "HN2"),
        ("CN", "HN3"),
    ),
    "water": (("O", "H1"), ("O", "H2")),
}
# A bond may stretch by a third before the molecule counts as reacted, and an H-bond may grow to the usual
# geometric limits (H..O 2.5 A, N-H..O 120 degrees; Arunan et al., Pure Appl. Chem. 2011, 83, 1637).
_BOND_LIMITS = {frozenset("CH"): 1.45, frozenset("NH"): 1.35, frozenset("OH"): 1.30}
_HEAVY_BOND_LIMIT = 1.95
HBOND_DISTANCE_LIMIT = 2.5
HBOND_ANGLE_LIMIT = 120.0
# Shortest contact between non-neighbouring units of an intact chain is about 4 A; amide planes that stack come
# to 3.5 A or less between heavy atoms.
STACKING_LIMIT = 3.4
NEAR_RING_LIMIT = 3.0


@dataclass(frozen=True, slots=True)
class HBondGeometry:
    """Geometry of the H-bonds of a chain, one element per H-bond: distances A, angles and torsions degrees."""

    distance_on: FloatArray
    distance_oh: FloatArray
    angle: FloatArray
    phi1: FloatArray
    phi2: FloatArray


def dihedral(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> float:
    """Torsion a-b-c-d, rad, in (-pi, pi]; 0 is cis (IUPAC sign)."""
    b1, b2, b3 = b - a, c - b, d - c
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    return float(np.arctan2(np.dot(np.cross(n1, n2), b2) / np.linalg.norm(b2), np.dot(n1, n2)))


def _angle(a: FloatArray, b: FloatArray, c: FloatArray) -> float:
    u, v = a - b, c - b
    return float(np.arctan2(np.linalg.norm(np.cross(u, v)), np.dot(u, v)))


def _unit_atoms(structure: Structure) -> list[dict[str, FloatArray]]:
    return [
        dict(zip(NMA_ATOMS, structure.positions[structure.atoms_of(unit)], strict=True)) for unit in structure.units
    ]


def hbond_geometry(structure: Structure) -> HBondGeometry:
    """Distances, angles and torsions (phi1, phi2) of every H-bond between successive units."""
    units = _unit_atoms(structure)
    rows = []
    for a, b in pairwise(units):
        rows.append(
            (
                np.linalg.norm(a["O"] - b["N"]),
                np.linalg.norm(a["O"] - b["H"]),
                np.degrees(_angle(b["N"], b["H"], a["O"])),
                np.degrees(dihedral(a["N"], a["C"], a["O"], b["N"])),
                np.degrees(dihedral(a["C"], a["O"], b["N"], b["C"])),
            )
        )
    return HBondGeometry(*np.array(rows, dtype=float).reshape(-1, 5).T)


def in_plane_atoms(structure: Structure) -> NDArray[np.int64]:
    """Atoms that lie in the mirror plane of a planar structure; the H of an accepting water do not."""
    keep: list[int] = []
    for molecule, kind in enumerate(structure.kinds):
        atoms = structure.atoms_of(molecule)
        if kind == "nma":
            keep += [int(i) for i, name in zip(atoms, NMA_ATOMS, strict=True) if name not in _MIRRORED]
        elif kind == "water":
            keep += [int(atoms[0])]
    return np.array(keep)


def planarity(structure: Structure) -> float:
    """Largest distance, A, of an in-plane atom from the best plane through all of them."""
    x = structure.positions[in_plane_atoms(structure)]
    x = x - x.mean(axis=0)
    normal = np.linalg.svd(x, full_matrices=False)[2][2]
    return float(np.abs(x @ normal).max())


def head_tail_contact(structure: Structure) -> float:
    """Shortest distance, A, between an atom of the first unit and one of the last; infinite below three units."""
    units = structure.units
    if len(units) < 3:
        return float("inf")
    first, last = (structure.positions[structure.atoms_of(unit)] for unit in (units[0], units[-1]))
    return float(np.linalg.norm(first[:, None] - last[None, :], axis=-1).min())


def _bond_limit(one: str, other: str) -> float:
    return _BOND_LIMITS.get(frozenset((one[0], other[0])), _HEAVY_BOND_LIMIT)


def reacted(structure: Structure) -> str:
    """Which covalent bond is broken; empty when all molecules are whole."""
    for molecule, kind in enumerate(structure.kinds):
        if kind not in BONDS:
            continue
        names = NMA_ATOMS if kind == "nma" else WATER_ATOMS
        at = dict(zip(names, structure.positions[structure.atoms_of(molecule)], strict=True))
        for one, other in BONDS[kind]:
            length, limit = float(np.linalg.norm(at[one] - at[other])), _bond_limit(one, other)
            if not length < limit:
                return (
                    f"molecule {molecule + 1} ({kind}) has reacted: {one}-{other} is {length:.2f} A, limit {limit:.2f}"
                )
    return ""


def stacked(structure: Structure) -> str:
    """Which units that share no H-bond have come together; empty when none have."""
    heavy = structure.numbers > 1
    units = structure.units
    blocks = [structure.positions[(structure.molecules == unit) & heavy] for unit in units]
    for i in range(len(blocks)):
        # A chain that closes into a ring brings its two ends together in the plane: that is a flag, not a break.
        for j in range(i + 2, len(blocks) - (1 if i == 0 else 0)):
            contact = float(np.linalg.norm(blocks[i][:, None] - blocks[j][None, :], axis=-1).min())
            if contact < STACKING_LIMIT:
                return f"units {i + 1} and {j + 1} are stacked: {contact:.2f} A apart, limit {STACKING_LIMIT}"
    return ""


def broken(structure: Structure, conformers: tuple[str, ...]) -> str:
    """Why a structure is not the chain that was asked for; empty when it is intact.

    Checked: every covalent bond, every H-bond (distance, angle, conformer by phi1), stacked units.
    """
    if reason := reacted(structure):
        return reason
    geometry = hbond_geometry(structure)
    for bond, conformer in enumerate(conformers):
        oh, angle, phi1 = geometry.distance_oh[bond], geometry.angle[bond], geometry.phi1[bond]
        if not oh < HBOND_DISTANCE_LIMIT or not angle > HBOND_ANGLE_LIMIT:
            return (
                f"H-bond {bond + 1} is lost: H..O {oh:.2f} A (limit {HBOND_DISTANCE_LIMIT}), "
                f"N-H..O {angle:.0f} degrees (limit {HBOND_ANGLE_LIMIT:.0f})"
            )
        found = "syn" if abs(phi1) < 90.0 else "anti"
        if found != conformer:
            return f"H-bond {bond + 1} turned over: expected {conformer}, found {found} (phi1 {phi1:.0f} degrees)"
    return stacked(structure)
