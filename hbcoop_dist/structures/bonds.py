"""Covalent bonds from interatomic distances: the bond graph, molecules recognised by it, and bonds that broke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.structures.structure import MOLECULE_ATOMS, MOLECULE_BONDS, MOLECULE_NUMBERS, Structure

if TYPE_CHECKING:
    import networkx as nx

BOND_FACTOR = 1.3
"""Longest covalent bond, in sums of the covalent radii of Cordero et al., Dalton Trans. 2008, 2832.

It lies between stretched bonds (up to 1.2) and the shortest contacts of atoms that are not bonded: 1.5 for H..O in a
short H-bond, 1.6 for atoms two bonds apart.
"""
DISPLACED_BOND_FACTOR = 1.5
"""Longest bond of `kind_in_order`, in the same unit; atoms may be displaced by 0.1 A each."""


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
