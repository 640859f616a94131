"""Geometric properties of a structure: bonds, torsions, H-bond geometry, planarity, and checks for broken chains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.structures.chains import CAP_WATERS
from hbcoop_dist.structures.structure import (
    MOLECULE_ATOMS,
    MOLECULE_BONDS,
    MOLECULE_NUMBERS,
    NMA_ATOMS,
    WATER_ATOMS,
    Structure,
)

if TYPE_CHECKING:
    import networkx as nx

BOND_FACTOR = 1.3
"""Longest covalent bond, in sums of the covalent radii of Cordero et al., Dalton Trans. 2008, 2832.

It lies between stretched bonds (up to 1.2) and the shortest contacts of atoms that are not bonded: 1.5 for H..O in a
short H-bond, 1.6 for atoms two bonds apart.
"""
DISPLACED_BOND_FACTOR = 1.5
"""Longest bond of `kind_in_order`, in the same unit; atoms may be displaced by 0.1 A each."""
_MIRRORED = {"HA2", "HA3", "HN2", "HN3"}
HBOND_DISTANCE_LIMIT = 2.5
"""Longest H..O distance of an H-bond, A (Arunan et al., Pure Appl. Chem. 2011, 83, 1637)."""
HBOND_ANGLE_LIMIT = 120.0
"""Smallest N-H..O angle of an H-bond, degrees (same source)."""
BEND_LIMIT = 90.0
"""Smallest C-O..N angle of an H-bond, degrees."""
TILT_LIMIT = 60.0
"""Largest angle between the amide planes of two bonded units, degrees; both patterns are planar."""
STACKING_LIMIT = 3.4
"""Distance, A, of heavy atoms below which two units may be stacked: two van der Waals radii of carbon."""
STACKING_HEIGHT = 2.0
"""Height, A, above an amide plane from which on a close unit counts as stacked."""
NEAR_RING_LIMIT = 3.0
"""Distance, A, between the two ends of a chain below which the chain counts as nearly closed."""


def relative_distances(numbers: IntArray, positions: FloatArray) -> FloatArray:
    """Interatomic distances in units of the sum of the two covalent radii.

    Parameters
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.

    Returns
    -------
    (N, N) array
    """
    radii = covalent_radii[numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    return np.asarray(distances / (radii[:, None] + radii[None, :]))


def bond_graph(
    numbers: IntArray, positions: FloatArray, cell: FloatArray | None = None, factor: float = BOND_FACTOR
) -> nx.Graph[int]:
    """Graph of atoms and covalent bonds.

    Two atoms are bonded when they are closer than `factor` times the sum of their covalent radii.

    Parameters
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.
    cell : (3, 3) array, optional
        Lattice vectors, A, of a periodic structure: atoms are bonded to the nearest images, also across the boundary.
    factor : float
        Longest bond in units of the sum of covalent radii.

    Returns
    -------
    networkx.Graph
        Nodes 0..N-1, each with the attribute ``element``, its atomic number as text.
    """
    import networkx as nx

    graph: nx.Graph[int]
    if cell is None:
        relative = relative_distances(numbers, positions)
        graph = nx.from_numpy_array((relative < factor) & ~np.eye(len(numbers), dtype=bool))
    else:
        from ase.neighborlist import primitive_neighbor_list

        cutoffs = factor * covalent_radii[numbers]
        pairs = primitive_neighbor_list("ij", (True, True, True), cell, positions, cutoffs, self_interaction=False)
        graph = nx.empty_graph(len(numbers))
        graph.add_edges_from(np.stack(pairs, axis=1).tolist())
    nx.set_node_attributes(graph, {atom: str(number) for atom, number in enumerate(numbers)}, "element")
    return graph


def kind_in_order(numbers: IntArray, positions: FloatArray) -> str:
    """Recognise one NMA or water molecule whose atoms stand in the package's order.

    Neither molecule has rings, so its bonds are the edges of the minimum spanning tree of the relative distances. The
    tree is stable for displacements of 0.1 A per atom, for which no cut-off separates bonds from other distances.

    Parameters
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.

    Returns
    -------
    str
        ``nma`` or ``water`` when elements, order and bonds are those of `NMA_ATOMS` or `WATER_ATOMS`, else ``other``.
    """
    import networkx as nx

    elements = tuple(int(number) for number in numbers)
    kind = next((kind for kind, expected in MOLECULE_NUMBERS.items() if expected == elements), None)
    if kind is None:
        return "other"
    relative = relative_distances(numbers, positions)
    tree = nx.minimum_spanning_tree(nx.from_numpy_array(relative))
    if any(relative[i, j] >= DISPLACED_BOND_FACTOR for i, j in tree.edges):
        return "other"
    names = MOLECULE_ATOMS[kind]
    bonds = {frozenset((names[i], names[j])) for i, j in tree.edges}
    return kind if bonds == {frozenset(bond) for bond in MOLECULE_BONDS[kind]} else "other"


def broken_bond(structure: Structure) -> str:
    """Find the first covalent bond of an NMA or water molecule that is longer than `BOND_FACTOR` allows.

    Parameters
    ----------
    structure : Structure

    Returns
    -------
    str
        The bond, its length and the limit, A; empty when all molecules are intact.
    """
    for molecule, kind in enumerate(structure.kinds):
        if kind not in MOLECULE_BONDS:
            continue
        names, atoms = MOLECULE_ATOMS[kind], structure.atoms_of(molecule)
        positions, radii = structure.positions[atoms], covalent_radii[structure.numbers[atoms]]
        for bond in MOLECULE_BONDS[kind]:
            i, j = (names.index(name) for name in bond)
            length, limit = float(np.linalg.norm(positions[i] - positions[j])), BOND_FACTOR * (radii[i] + radii[j])
            if not length < limit:
                return (
                    f"molecule {molecule + 1} ({kind}) has reacted: {'-'.join(bond)} is {length:.2f} A, "
                    f"limit {limit:.2f}"
                )
    return ""


@dataclass(frozen=True, slots=True)
class HBondGeometry:
    """Geometry of the H-bonds between successive units, one element per H-bond.

    Attributes
    ----------
    distance_on, distance_oh : (n - 1,) array
        O..N and O..H distances, A.
    angle : (n - 1,) array
        N-H..O angle, degrees.
    phi1, phi2 : (n - 1,) array
        Torsions N-C-O..N and C-O..N-C, degrees in (-180, 180].
    bend : (n - 1,) array
        C-O..N angle, degrees.
    tilt : (n - 1,) array
        Angle between the amide planes of the two units, degrees.
    """

    distance_on: FloatArray
    distance_oh: FloatArray
    angle: FloatArray
    phi1: FloatArray
    phi2: FloatArray
    bend: FloatArray
    tilt: FloatArray

    def intact(self, conformers: tuple[str, ...]) -> list[bool]:
        """Test every H-bond for distance, angle and conformer.

        Parameters
        ----------
        conformers : tuple of str
            Expected conformer, ``syn`` or ``anti``, of every H-bond.

        Returns
        -------
        list of bool
        """
        bound = (self.distance_oh < HBOND_DISTANCE_LIMIT) & (self.angle > HBOND_ANGLE_LIMIT)
        return list((bound & ((np.abs(self.phi1) < 90.0) == (np.array(conformers) == "syn"))).tolist())


def dihedral(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> FloatArray:
    """Torsion angles a-b-c-d in the IUPAC sign convention.

    Parameters
    ----------
    a, b, c, d : (..., 3) arrays
        Positions.

    Returns
    -------
    (...) array
        rad, in (-pi, pi]; 0 is cis.
    """
    b1, b2, b3 = b - a, c - b, d - c
    n2 = np.cross(b2, b3)
    # |n1 x n2| = |b2| (b1 . n2), with n1 = b1 x b2
    sine = _dot(b1, n2) * np.linalg.norm(b2, axis=-1)
    return np.asarray(np.arctan2(sine, _dot(np.cross(b1, b2), n2)))


def _angles(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Angles a-b-c, rad, from (..., 3) to (...)."""
    u, v = a - b, c - b
    return np.asarray(np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), _dot(u, v)))


def _dot(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("...i,...i", u, v))


def hbond_geometry(structure: Structure) -> HBondGeometry:
    """Measure the H-bonds between successive units of a chain.

    Parameters
    ----------
    structure : Structure
        n NMA units, with or without waters.

    Returns
    -------
    HBondGeometry
        n - 1 H-bonds.
    """
    unit_atoms = [structure.atoms_of(unit) for unit in structure.units]
    at = {name: structure.positions[[atoms[i] for atoms in unit_atoms]] for i, name in enumerate(NMA_ATOMS)}
    a = {name: x[:-1] for name, x in at.items()}
    b = {name: x[1:] for name, x in at.items()}
    return HBondGeometry(
        np.linalg.norm(a["O"] - b["N"], axis=-1),
        np.linalg.norm(a["O"] - b["H"], axis=-1),
        np.degrees(_angles(b["N"], b["H"], a["O"])),
        np.degrees(dihedral(a["N"], a["C"], a["O"], b["N"])),
        np.degrees(dihedral(a["C"], a["O"], b["N"], b["C"])),
        np.degrees(_angles(a["C"], a["O"], b["N"])),
        np.degrees(_tilts(np.cross(a["C"] - a["N"], a["O"] - a["C"]), np.cross(b["C"] - b["N"], b["O"] - b["C"]))),
    )


def _tilts(normals: FloatArray, next_normals: FloatArray) -> FloatArray:
    """Angles between planes, rad, from normals (..., 3) of either sense."""
    sine = np.linalg.norm(np.cross(normals, next_normals), axis=-1)
    return np.asarray(np.arctan2(sine, np.abs(_dot(normals, next_normals))))


def in_plane_atoms(structure: Structure) -> IntArray:
    """Select the atoms that lie in the mirror plane of a planar chain.

    Parameters
    ----------
    structure : Structure

    Returns
    -------
    (m,) int array
        All NMA atoms but the mirrored methyl H, and the O of every water.
    """
    in_plane = {"nma": [name not in _MIRRORED for name in NMA_ATOMS], "water": [name == "O" for name in WATER_ATOMS]}
    selected = np.zeros(len(structure), dtype=bool)
    for molecule, kind in enumerate(structure.kinds):
        if kind in in_plane:
            selected[structure.molecules == molecule] = in_plane[kind]
    return np.flatnonzero(selected)


def planarity(structure: Structure, *, hydrogens: bool = False) -> float:
    """Largest distance, A, of a heavy atom of the NMA units from their least-squares plane.

    Parameters
    ----------
    structure : Structure
    hydrogens : bool
        Include the hydrogens of the units that lie in the plane of a planar chain, and the O of waters.
    """
    atoms = in_plane_atoms(structure)
    if not hydrogens:
        in_units = np.array(structure.kinds)[structure.molecules] == "nma"
        atoms = np.flatnonzero(in_units & (structure.numbers > 1))
    x = structure.positions[atoms]
    x = x - x.mean(axis=0)
    normal = np.linalg.svd(x, full_matrices=False)[2][2]
    return float(np.abs(x @ normal).max())


def head_tail_contact(structure: Structure) -> float:
    """Shortest distance, A, between the two ends of a chain, cap waters included; infinite below three units."""
    units = structure.units
    if len(units) < 3:
        return float("inf")
    waters = [m for m, kind in enumerate(structure.kinds) if kind == "water"]
    ends = np.zeros((2, len(structure.kinds)), dtype=bool)
    ends[0, [units[0], *waters[:1]]] = ends[1, [units[-1], *waters[1:]]] = True
    first, last = (structure.positions[end[structure.molecules]] for end in ends)
    return float(np.linalg.norm(first[:, None] - last[None, :], axis=-1).min())


def stacking(structure: Structure) -> str:
    """Find two units that lie on top of one another.

    Two units are stacked when heavy atoms come closer than `STACKING_LIMIT` and one of these atoms lies more than
    `STACKING_HEIGHT` above the amide plane of the other unit. The ends of a chain that closes into a ring meet in the
    plane and are not stacked.

    Parameters
    ----------
    structure : Structure

    Returns
    -------
    str
        The units and their distance; empty when no units are stacked.
    """
    units = [
        dict(zip(NMA_ATOMS, structure.positions[structure.atoms_of(unit)], strict=True)) for unit in structure.units
    ]
    heavy = [np.array([unit[name] for name in ("CA", "C", "O", "N", "CN")]) for unit in units]
    for i, j in combinations(range(len(units)), 2):
        vectors = heavy[j][None, :] - heavy[i][:, None]
        distances = np.linalg.norm(vectors, axis=-1)
        normal = np.cross(units[i]["C"] - units[i]["N"], units[i]["O"] - units[i]["C"])
        heights = np.abs(vectors @ (normal / np.linalg.norm(normal)))
        if (close := (distances < STACKING_LIMIT) & (heights > STACKING_HEIGHT)).any():
            return (
                f"units {i + 1} and {j + 1} are stacked: {distances[close].min():.2f} A apart, limit {STACKING_LIMIT}"
            )
    return ""


def broken_geometry(structure: Structure, conformers: tuple[str, ...]) -> str:
    """Check that a structure is still the chain it was built as.

    The checks are: covalent bonds, H-bonds between units (distance, angles, tilt of the amide planes, conformer from
    phi1), H-bonds of the caps, and stacked units.

    Parameters
    ----------
    structure : Structure
    conformers : tuple of str
        Expected conformer, ``syn`` or ``anti``, of every H-bond between units.

    Returns
    -------
    str
        The first check that fails, with values and limits; empty when the chain is intact.
    """
    if reason := broken_bond(structure):
        return reason
    geometry = hbond_geometry(structure)
    for bond, expected in enumerate(conformers):
        oh, angle, phi1 = geometry.distance_oh[bond], geometry.angle[bond], geometry.phi1[bond]
        if not oh < HBOND_DISTANCE_LIMIT or not angle > HBOND_ANGLE_LIMIT:
            return (
                f"H-bond {bond + 1} is lost: H..O {oh:.2f} A (limit {HBOND_DISTANCE_LIMIT}), "
                f"N-H..O {angle:.0f} degrees (limit {HBOND_ANGLE_LIMIT:.0f})"
            )
        bend, tilt = geometry.bend[bond], geometry.tilt[bond]
        if not bend > BEND_LIMIT or not tilt < TILT_LIMIT:
            return (
                f"H-bond {bond + 1} left the pattern: C-O..N {bend:.0f} degrees (at least {BEND_LIMIT:.0f}), amide "
                f"planes tilted by {tilt:.0f} (at most {TILT_LIMIT:.0f})"
            )
        conformer = "syn" if abs(phi1) < 90.0 else "anti"
        if conformer != expected:
            return f"H-bond {bond + 1} turned over: expected {expected}, found {conformer} (phi1 {phi1:.0f} degrees)"
    for name, _, _, distance in _cap_hbonds(structure):
        if not distance < HBOND_DISTANCE_LIMIT:
            return f"cap is lost: {name}, H..O {distance:.2f} A (limit {HBOND_DISTANCE_LIMIT})"
    return stacking(structure)


def _cap_hbonds(structure: Structure) -> Iterator[tuple[str, int, int, float]]:
    """Yield name, H atom, O atom and H..O distance, A, of every H-bond of the caps; the nearer H of a water donates.

    The first water accepts from the free N-H, two donate to the free O, and the fourth donates to those two.
    """
    waters = [structure.atoms_of(m) for m, kind in enumerate(structure.kinds) if kind == "water"]
    if len(waters) != CAP_WATERS:
        return
    water1, water2, water3, water4 = waters
    first_unit, last_unit = (structure.atoms_of(structure.units[end]) for end in (0, -1))
    for name, hydrogens, oxygen in (
        ("water 1 at the free N-H", first_unit[[NMA_ATOMS.index("H")]], water1[0]),
        ("water 2 at the free C=O", water2[1:], last_unit[NMA_ATOMS.index("O")]),
        ("water 3 at the free C=O", water3[1:], last_unit[NMA_ATOMS.index("O")]),
        ("water 4 to water 2", water4[1:], water2[0]),
        ("water 4 to water 3", water4[1:], water3[0]),
    ):
        distances = np.linalg.norm(structure.positions[hydrogens] - structure.positions[oxygen], axis=-1)
        nearest = int(np.argmin(distances))
        yield name, int(hydrogens[nearest]), int(oxygen), float(distances[nearest])


@dataclass(frozen=True, slots=True)
class HBond:
    """An H-bond that a chain is built with.

    Attributes
    ----------
    h, o : int
        Indices of the atoms H and O.
    intact : bool
        Whether distance, angle and conformer are within the limits.
    """

    h: int
    o: int
    intact: bool


def hbonds(structure: Structure, conformers: tuple[str, ...]) -> tuple[HBond, ...]:
    """List the H-bonds that a chain is built with, those between units before those of the caps.

    Parameters
    ----------
    structure : Structure
    conformers : tuple of str
        Expected conformer of every H-bond between units; an H-bond in the other conformer is not intact.

    Returns
    -------
    tuple of HBond
    """
    intact = hbond_geometry(structure).intact(conformers)
    atoms = [structure.atoms_of(unit) for unit in structure.units]
    h, o = NMA_ATOMS.index("H"), NMA_ATOMS.index("O")
    between_units = [
        HBond(int(donor[h]), int(acceptor[o]), is_intact)
        for acceptor, donor, is_intact in zip(atoms[:-1], atoms[1:], intact, strict=True)
    ]
    of_caps = [HBond(h, o, distance < HBOND_DISTANCE_LIMIT) for _, h, o, distance in _cap_hbonds(structure)]
    return (*between_units, *of_caps)
