"""Recognition of NMA chains in bare coordinates: molecules, order of the units, conformers, rotamers and caps.

Atoms and molecules of a quantum-chemical geometry file are brought into the order that the package uses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import networkx as nx
import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.structures.chains import CAP_WATERS, DEFAULT_ROTAMER, Chain, Conformer, Rotamer
from hbcoop_dist.structures.geometry import HBOND_DISTANCE_LIMIT, bond_graph, hbond_geometry
from hbcoop_dist.structures.monomers import rotamer_of
from hbcoop_dist.structures.structure import MOLECULE_ATOMS, MOLECULE_BONDS, MOLECULE_NUMBERS, NMA_ATOMS, Structure

_H, _O, _N = (NMA_ATOMS.index(name) for name in ("H", "O", "N"))


class PerceptionError(ValueError):
    """Coordinates that are not one NMA chain; the message describes them."""


def perceive(numbers: IntArray, positions: FloatArray) -> tuple[Structure, Chain]:
    """Recognise an NMA chain, with or without water caps.

    Parameters
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.

    Returns
    -------
    structure : Structure
        Units in chain order, then waters, with the atoms of every molecule in the package's order.
    chain : Chain

    Raises
    ------
    PerceptionError
        When a molecule is neither NMA nor water, or the units do not form one open chain of H-bonds.
    """
    graph = bond_graph(numbers, positions)
    molecules = [_match(graph, numbers, positions, atoms) for atoms in map(sorted, nx.connected_components(graph))]
    units = [x for kind, x in molecules if kind == "nma"]
    waters = [x for kind, x in molecules if kind == "water"]
    if not units:
        raise PerceptionError("expected at least one N-methylacetamide, found none")
    units = [units[index] for index in _chain_order(units)]
    waters = _cap_order(waters, units) if len(waters) == CAP_WATERS else waters
    structure = Structure.from_molecules([("nma", x) for x in units] + [("water", x) for x in waters])
    phi1 = hbond_geometry(structure).phi1
    conformers: tuple[Conformer, ...] = tuple("syn" if abs(angle) < 90 else "anti" for angle in phi1)
    rotamers: tuple[Rotamer, ...] = tuple(rotamer_of(x) or DEFAULT_ROTAMER for x in units)
    return structure, Chain(conformers, rotamers, "water" if waters else "none")


def _match(
    graph: nx.Graph[int], numbers: IntArray, positions: FloatArray, atoms: Sequence[int]
) -> tuple[str, FloatArray]:
    """Match one molecule to NMA or water; return its kind and its positions (m, 3) in the package's order."""
    elements = sorted(int(numbers[atom]) for atom in atoms)
    kind = next((kind for kind, expected in MOLECULE_NUMBERS.items() if sorted(expected) == elements), None)
    if kind is None:
        formula = Formula.from_list([chemical_symbols[number] for number in elements]).format("hill")
        raise PerceptionError(f"expected N-methylacetamide (C3H7NO) or water molecules, found {formula}")
    names = MOLECULE_ATOMS[kind]
    template: nx.Graph[str] = nx.Graph(MOLECULE_BONDS[kind])
    elements_by_name = zip(names, map(str, MOLECULE_NUMBERS[kind]), strict=True)
    nx.set_node_attributes(template, dict(elements_by_name), "element")
    same_element = nx.isomorphism.categorical_node_match("element", None)
    matcher = nx.isomorphism.GraphMatcher(template, graph.subgraph(atoms), node_match=same_element)
    if not matcher.is_isomorphic():
        raise PerceptionError(f"atoms {atoms[0] + 1} to {atoms[-1] + 1}: expected the bonds of {kind}, found others")
    order = _equivalent_hydrogens_in_file_order([matcher.mapping[name] for name in names], names)
    return kind, _name_methyl_hydrogens(positions[order]) if kind == "nma" else positions[order]


def _equivalent_hydrogens_in_file_order(order: Sequence[int], names: Sequence[str]) -> list[int]:
    """Assign equivalent H atoms in the order of the file.

    The bond graph leaves their order open, and the result of the matcher depends on Python's hash seed, whereas task
    keys must be equal in all processes.
    """
    out = list(order)
    for pattern in ("HA.", "HN.", "H[12]"):
        places = [place for place, name in enumerate(names) if re.fullmatch(pattern, name)]
        for place, atom in zip(places, sorted(order[place] for place in places), strict=True):
            out[place] = atom
    return out


def _name_methyl_hydrogens(x: FloatArray) -> FloatArray:
    """Order the H of each methyl as in `NMA_ATOMS`: nearest to the amide plane first, then above and below it."""
    at = {name: x[i] for i, name in enumerate(NMA_ATOMS)}
    normal = np.cross(at["C"] - at["N"], at["O"] - at["C"])
    normal = normal / np.linalg.norm(normal)
    out = x.copy()
    for names, carbon in ((("HA1", "HA2", "HA3"), "CA"), (("HN1", "HN2", "HN3"), "CN")):
        heights = [float((at[name] - at[carbon]) @ normal) for name in names]
        in_plane = int(np.argmin(np.abs(heights)))
        others = sorted((k for k in range(3) if k != in_plane), key=lambda k: -heights[k])
        for target, source in zip(names, (in_plane, *others), strict=True):
            out[NMA_ATOMS.index(target)] = at[names[source]]
    return out


def _chain_order(units: Sequence[FloatArray]) -> list[int]:
    """Order units from the free N-H end, so that unit i accepts the H-bond of unit i + 1."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(units)))
    for i, acceptor in enumerate(units):
        for j, donor in enumerate(units):
            if i != j and np.linalg.norm(acceptor[_O] - donor[_H]) < HBOND_DISTANCE_LIMIT:
                graph.add_edge(i, j)
    if not nx.is_directed_acyclic_graph(graph):
        raise PerceptionError("expected an open chain of H-bonds, found a ring")
    order = list(nx.topological_sort(graph))
    if gaps := [pair for pair in pairwise(order) if not graph.has_edge(*pair)]:
        raise PerceptionError(
            f"expected one chain of {len(units)} units joined by H-bonds below {HBOND_DISTANCE_LIMIT} A, "
            f"found {len(gaps)} gap(s)"
        )
    return order


def _cap_order(waters: Sequence[FloatArray], units: Sequence[FloatArray]) -> list[FloatArray]:
    """Order cap waters: at the free N-H; at the free C=O on the N side, then on the other side; the bridging one."""
    head = min(waters, key=lambda water: float(np.linalg.norm(water[0] - units[0][_H])))
    tail = [water for water in waters if water is not head]
    tail.sort(key=lambda water: float(np.linalg.norm(water[0] - units[-1][_O])))
    donors = sorted(tail[:2], key=lambda water: float(np.linalg.norm(water[0] - units[-1][_N])))
    return [head, *donors, tail[2]]
