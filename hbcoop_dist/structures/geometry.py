"""What is read off a structure: torsions, H-bond geometry, planarity, contacts, and whether it is still intact."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.structures.chains import CAP_WATERS
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
# Amide planes that stack come closer than two van der Waals radii of carbon, one above the other.
STACKING_LIMIT = 3.4
STACKING_HEIGHT = 2.0
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
    return float(_dihedrals(a, b, c, d))


def _dihedrals(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> FloatArray:
    """`dihedral` of many at once, (..., 3) to (...)."""
    b1, b2, b3 = b - a, c - b, d - c
    n2 = np.cross(b2, b3)
    # n1 x n2 = b2 (b1 . n2)
    sine = _dot(b1, n2) * np.linalg.norm(b2, axis=-1)
    return np.asarray(np.arctan2(sine, _dot(np.cross(b1, b2), n2)))


def _angles(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Angles a-b-c, rad, (..., 3) to (...)."""
    u, v = a - b, c - b
    return np.asarray(np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), _dot(u, v)))


def _dot(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("...i,...i", u, v))


def _unit_atoms(structure: Structure) -> list[dict[str, FloatArray]]:
    return [
        dict(zip(NMA_ATOMS, structure.positions[structure.atoms_of(unit)], strict=True)) for unit in structure.units
    ]


def hbond_geometry(structure: Structure) -> HBondGeometry:
    """Distances, angles and torsions (phi1, phi2) of every H-bond between successive units."""
    owners = [structure.atoms_of(unit) for unit in structure.units]
    at = {name: structure.positions[[atoms[i] for atoms in owners]] for i, name in enumerate(NMA_ATOMS)}
    a = {name: x[:-1] for name, x in at.items()}
    b = {name: x[1:] for name, x in at.items()}
    return HBondGeometry(
        np.linalg.norm(a["O"] - b["N"], axis=-1),
        np.linalg.norm(a["O"] - b["H"], axis=-1),
        np.degrees(_angles(b["N"], b["H"], a["O"])),
        np.degrees(_dihedrals(a["N"], a["C"], a["O"], b["N"])),
        np.degrees(_dihedrals(a["C"], a["O"], b["N"], b["C"])),
    )


def in_plane_atoms(structure: Structure) -> NDArray[np.int64]:
    """Atoms that lie in the mirror plane of a planar structure; the H of an accepting water do not."""
    named = {"nma": [name not in _MIRRORED for name in NMA_ATOMS], "water": [name == "O" for name in WATER_ATOMS]}
    keep = np.zeros(len(structure), dtype=bool)
    for molecule, kind in enumerate(structure.kinds):
        if kind in named:
            keep[structure.molecules == molecule] = named[kind]
    return np.flatnonzero(keep)


def planarity(structure: Structure) -> float:
    """Largest distance, A, of an in-plane atom from the best plane through all of them."""
    x = structure.positions[in_plane_atoms(structure)]
    x = x - x.mean(axis=0)
    normal = np.linalg.svd(x, full_matrices=False)[2][2]
    return float(np.abs(x @ normal).max())


def head_tail_contact(structure: Structure) -> float:
    """Shortest distance, A, between the two ends of a chain, their waters included; infinite below three units."""
    units = structure.units
    if len(units) < 3:
        return float("inf")
    waters = [m for m, kind in enumerate(structure.kinds) if kind == "water"]
    ends = np.zeros((2, len(structure.kinds)), dtype=bool)
    ends[0, [units[0], *waters[:1]]] = ends[1, [units[-1], *waters[1:]]] = True
    first, last = (structure.positions[end[structure.molecules]] for end in ends)
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
    """Which units lie on top of one another; empty when none do.

    Two units are stacked when heavy atoms come closer than `STACKING_LIMIT` and one lies `STACKING_HEIGHT` above the
    other's amide plane; the ends of a chain that closes into a ring meet in the plane.
    """
    units = _unit_atoms(structure)
    heavy = [np.array([unit[name] for name in ("CA", "C", "O", "N", "CN")]) for unit in units]
    for i, j in combinations(range(len(units)), 2):
        apart = heavy[j][None, :] - heavy[i][:, None]
        distance = np.linalg.norm(apart, axis=-1)
        normal = np.cross(units[i]["C"] - units[i]["N"], units[i]["O"] - units[i]["C"])
        height = np.abs(apart @ (normal / np.linalg.norm(normal)))
        if (over := (distance < STACKING_LIMIT) & (height > STACKING_HEIGHT)).any():
            return f"units {i + 1} and {j + 1} are stacked: {distance[over].min():.2f} A apart, limit {STACKING_LIMIT}"
    return ""


def broken(structure: Structure, conformers: tuple[str, ...]) -> str:
    """Why a structure is not the chain that was asked for; empty when it is intact.

    Checked: every covalent bond, every H-bond (distance, angle, conformer by phi1), the H-bonds of the caps, stacked
    units.
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
    return _cap_lost(structure) or stacked(structure)


def _cap_lost(structure: Structure) -> str:
    """Which H-bond of the caps is lost: the head water accepts, two donate to the last O, the fourth to those two."""
    for name, h, o in _cap_bridges(structure):
        distance = float(np.linalg.norm(structure.positions[h] - structure.positions[o]))
        if not distance < HBOND_DISTANCE_LIMIT:
            return f"cap is lost: {name}, H..O {distance:.2f} A (limit {HBOND_DISTANCE_LIMIT})"
    return ""


def _cap_bridges(structure: Structure) -> list[tuple[str, int, int]]:
    """What the H-bonds of the caps are called, and the atoms H and O of each; of two H the nearer one donates."""
    waters = [structure.atoms_of(m) for m, kind in enumerate(structure.kinds) if kind == "water"]
    if len(waters) != CAP_WATERS:
        return []
    head, one, other, bridge = waters
    ends = [structure.atoms_of(structure.units[end]) for end in (0, -1)]
    donors, acceptor = ends[0][[NMA_ATOMS.index("H")]], ends[1][NMA_ATOMS.index("O")]
    return [
        (name, _nearest(structure, hydrogens, oxygen), int(oxygen))
        for name, hydrogens, oxygen in (
            ("water 1 at the free N-H", donors, head[0]),
            ("water 2 at the free C=O", one[1:], acceptor),
            ("water 3 at the free C=O", other[1:], acceptor),
            ("water 4 to water 2", bridge[1:], one[0]),
            ("water 4 to water 3", bridge[1:], other[0]),
        )
    ]


def _nearest(structure: Structure, atoms: NDArray[np.int64], to: int) -> int:
    apart = np.linalg.norm(structure.positions[atoms] - structure.positions[to], axis=-1)
    return int(atoms[np.argmin(apart)])


@dataclass(frozen=True, slots=True)
class Bridge:
    """An H-bond that a structure is meant to have: the atoms H and O, and whether it is within the limits."""

    h: int
    o: int
    whole: bool


def bridges(structure: Structure, conformers: tuple[str, ...]) -> tuple[Bridge, ...]:
    """Every H-bond a chain is meant to have, those of its units first; a bond that turned over is not whole.

    Parameters
    ----------
    structure : Structure
    conformers : tuple of str
        Of the H-bonds between the units.
    """
    geometry = hbond_geometry(structure)
    good = (geometry.distance_oh < HBOND_DISTANCE_LIMIT) & (geometry.angle > HBOND_ANGLE_LIMIT)
    good &= (np.abs(geometry.phi1) < 90.0) == (np.array(conformers) == "syn")
    atoms = [structure.atoms_of(unit) for unit in structure.units]
    h, o = NMA_ATOMS.index("H"), NMA_ATOMS.index("O")
    found = [
        Bridge(int(donor[h]), int(acceptor[o]), bool(whole))
        for acceptor, donor, whole in zip(atoms[:-1], atoms[1:], good, strict=True)
    ]
    for _, hydrogen, oxygen in _cap_bridges(structure):
        distance = np.linalg.norm(structure.positions[hydrogen] - structure.positions[oxygen])
        found.append(Bridge(hydrogen, oxygen, bool(distance < HBOND_DISTANCE_LIMIT)))
    return tuple(found)
