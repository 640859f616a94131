"""Recognise NMA chains in bare coordinates: a user's QM geometry becomes a structure in our order.

Molecules come from covalent radii, atoms are matched to the NMA or water graph, units are put in chain order by who
donates to whom, and conformers, rotamers and caps are read off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.structures.chains import CAP_WATERS, DEFAULT_ROTAMER, Chain, Conformer, Rotamer
from hbcoop_dist.structures.geometry import BONDS, HBOND_DISTANCE_LIMIT, hbond_geometry
from hbcoop_dist.structures.monomers import rotamer_of
from hbcoop_dist.structures.structure import MOLECULE_NUMBERS, NMA_ATOMS, WATER_ATOMS, Structure

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_H, _O, _N = (NMA_ATOMS.index(name) for name in ("H", "O", "N"))

_LONGEST_BOND = 1.5
"""Sums of covalent radii; the nearest atoms that are not bonded, two bonds apart, are at 1.6."""


class PerceptionError(ValueError):
    """Coordinates that are not an NMA chain; the message says what was found instead."""


def perceive(numbers: IntArray, positions: FloatArray) -> tuple[Structure, Chain]:
    """The structure and system of bare coordinates.

    Parameters
    ----------
    numbers : (N,) int array
    positions : (N, 3) array
        A.

    Returns
    -------
    Structure
        Units in chain order, then waters; atoms in our order.
    Chain

    Raises
    ------
    PerceptionError
        When a molecule is neither NMA nor water, or the units do not form one chain of H-bonds.
    """
    molecules = [_match(numbers, positions, component) for component in _components(numbers, positions)]
    units = [x for kind, x in molecules if kind == "nma"]
    waters = [x for kind, x in molecules if kind == "water"]
    if not units:
        raise PerceptionError("expected at least one N-methylacetamide, found none")
    ordered = [units[index] for index in _chain_order(units)]
    waters = _cap_order(waters, ordered) if len(waters) == CAP_WATERS else waters
    structure = Structure.from_molecules([("nma", x) for x in ordered] + [("water", x) for x in waters])
    phi1 = hbond_geometry(structure).phi1
    conformers: tuple[Conformer, ...] = tuple("syn" if abs(angle) < 90 else "anti" for angle in phi1)
    rotamers: tuple[Rotamer, ...] = tuple(rotamer_of(x) or DEFAULT_ROTAMER for x in ordered)
    return structure, Chain(conformers, rotamers, "water" if waters else "none")


def kind_in_order(numbers: IntArray, positions: FloatArray) -> str:
    """Kind of one molecule whose atoms stand in our order, ``other`` where they do not or it is neither.

    Our molecules have no rings, so their bonds are the shortest tree through their atoms. That stays so for atoms moved
    by 0.1 A each, whose bonds no limit of length would tell.

    Parameters
    ----------
    numbers : (N,) int array
    positions : (N, 3) array
        A.
    """
    from ase.data import covalent_radii

    kind = next((kind for kind, z in MOLECULE_NUMBERS.items() if z == tuple(int(number) for number in numbers)), None)
    if kind is None:
        return "other"
    reach = covalent_radii[numbers][:, None] + covalent_radii[numbers][None, :]
    lengths = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1) / reach
    tree = nx.minimum_spanning_tree(nx.from_numpy_array(lengths))
    names = NMA_ATOMS if kind == "nma" else WATER_ATOMS
    found = {frozenset((names[i], names[j])) for i, j in tree.edges}
    whole = all(lengths[i, j] < _LONGEST_BOND for i, j in tree.edges)
    return kind if whole and found == {frozenset(bond) for bond in BONDS[kind]} else "other"


def _components(numbers: IntArray, positions: FloatArray) -> list[list[int]]:
    from ase.data import covalent_radii

    reach = 1.3 * (covalent_radii[numbers][:, None] + covalent_radii[numbers][None, :])
    distance = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    graph = nx.from_numpy_array((distance < reach) & (distance > 0))
    return [sorted(component) for component in nx.connected_components(graph)]


def _match(numbers: IntArray, positions: FloatArray, component: list[int]) -> tuple[str, FloatArray]:
    """Kind of one molecule and its positions in our order."""
    from ase.formula import Formula

    found = sorted(int(numbers[i]) for i in component)
    kind = next((kind for kind, z in MOLECULE_NUMBERS.items() if sorted(z) == found), None)
    if kind is None:
        formula = Formula.from_list([_symbol(z) for z in found]).format("hill")
        raise PerceptionError(f"expected N-methylacetamide (C3H7NO) or water molecules, found {formula}")
    names = NMA_ATOMS if kind == "nma" else WATER_ATOMS
    template: nx.Graph[str] = nx.Graph()
    template.add_nodes_from((name, {"z": z}) for name, z in zip(names, MOLECULE_NUMBERS[kind], strict=True))
    template.add_edges_from(BONDS[kind])
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from((i, {"z": int(numbers[i])}) for i in component)
    bond_reach = {(1, 1): 0.0}
    for a, i in enumerate(component):
        for j in component[a + 1 :]:
            pair = tuple(sorted((int(numbers[i]), int(numbers[j]))))
            limit = bond_reach.get(pair, 1.3 if 1 in pair else 1.8)  # type: ignore[arg-type]
            if np.linalg.norm(positions[i] - positions[j]) < limit:
                graph.add_edge(i, j)
    matcher = nx.isomorphism.GraphMatcher(template, graph, node_match=lambda one, two: one["z"] == two["z"])
    if not matcher.is_isomorphic():
        raise PerceptionError(
            f"atoms {component[0] + 1} to {component[-1] + 1}: expected the bonds of {kind}, found others"
        )
    order = _as_in_the_file([matcher.mapping[name] for name in names], names)
    return kind, _name_methyl_hydrogens(positions[order]) if kind == "nma" else positions[order]


def _as_in_the_file(order: list[int], names: Sequence[str]) -> list[int]:
    """H of one methyl or water in the order of the file: which is which, bonds do not say, and hashes must not."""
    alike = [
        [at for at, name in enumerate(names) if re.fullmatch(pattern, name)] for pattern in ("HA.", "HN.", "H[12]")
    ]
    out = list(order)
    for places in alike:
        for place, atom in zip(places, sorted(order[at] for at in places), strict=True):
            out[place] = atom
    return out


def _name_methyl_hydrogens(x: FloatArray) -> FloatArray:
    """Put the H nearest the amide plane first in each methyl, as our names want it."""
    at = {name: x[i] for i, name in enumerate(NMA_ATOMS)}
    normal = np.cross(at["C"] - at["N"], at["O"] - at["C"])
    normal = normal / np.linalg.norm(normal)
    out = x.copy()
    for names, carbon in ((("HA1", "HA2", "HA3"), "CA"), (("HN1", "HN2", "HN3"), "CN")):
        heights = [float((at[name] - at[carbon]) @ normal) for name in names]
        flat = int(np.argmin(np.abs(heights)))
        others = sorted((k for k in range(3) if k != flat), key=lambda k: -heights[k])
        for target, source in zip(names, (flat, *others), strict=True):
            out[NMA_ATOMS.index(target)] = at[names[source]]
    return out


def _chain_order(units: list[FloatArray]) -> list[int]:
    """Units from the free N-H end: unit i accepts from unit i + 1."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(units)))
    for i, acceptor in enumerate(units):
        for j, donor in enumerate(units):
            if i != j and np.linalg.norm(acceptor[_O] - donor[_H]) < HBOND_DISTANCE_LIMIT:
                graph.add_edge(i, j)
    if not nx.is_directed_acyclic_graph(graph):
        raise PerceptionError("expected an open chain of H-bonds, found a ring")
    order = list(nx.topological_sort(graph))
    if missing := [pair for pair in pairwise(order) if not graph.has_edge(*pair)]:
        raise PerceptionError(
            f"expected one chain of {len(units)} units joined by H-bonds below {HBOND_DISTANCE_LIMIT} A, "
            f"found {len(missing)} gap(s)"
        )
    return order


def _cap_order(waters: list[FloatArray], units: list[FloatArray]) -> list[FloatArray]:
    """Waters of a capped chain in our order: at the free N-H; N side and other side of the free C=O; the bridge."""
    head = min(waters, key=lambda water: float(np.linalg.norm(water[0] - units[0][_H])))
    rest = [water for water in waters if water is not head]
    rest.sort(key=lambda water: float(np.linalg.norm(water[0] - units[-1][_O])))
    pair = sorted(rest[:2], key=lambda water: float(np.linalg.norm(water[0] - units[-1][_N])))
    return [head, *pair, rest[2]]


def _symbol(z: int) -> str:
    from ase.data import chemical_symbols

    return str(chemical_symbols[z])
