"""Molecules and parents of structures: bonds from coordinates, molecules and charges from SMILES.

All frames that share a SMILES or the bonds between their atoms get one parent. So a molecule keeps its parent in files
that describe it in different ways, and as a conformer with a stretched bond. Stereoisomers share bonds, and therefore a
parent.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from hbcoop_dist.core.arrays import IntArray


def molecule_indices(graph: nx.Graph[int]) -> IntArray:
    """Return the index of the molecule of every atom, (N,), numbered by their first atoms."""
    owner = np.empty(len(graph), dtype=np.int64)
    for molecule, atoms in enumerate(sorted(nx.connected_components(graph), key=min)):
        owner[list(atoms)] = molecule
    return owner


def connectivity_name(numbers: IntArray, graph: nx.Graph[int]) -> str:
    """Return formula and Weisfeiler-Lehman hash of the bonds, equal for conformers and for stereoisomers.

    Parameters
    ----------
    numbers : (N,) int array
    graph : networkx.Graph
        From `hbcoop_dist.structures.geometry.bond_graph`.
    """
    from ase.data import chemical_symbols
    from ase.formula import Formula

    formula = Formula.from_list([chemical_symbols[z] for z in numbers]).format("hill")
    return f"{formula} {nx.weisfeiler_lehman_graph_hash(graph, node_attr='element', iterations=6, digest_size=6)}"


def without_atom_maps(smiles: str) -> str:
    """Return a SMILES without atom maps, ``[H:5]`` as ``[H]``."""
    return re.sub(r":\d+\]", "]", smiles)


def mapped_molecules(smiles: str, numbers: IntArray) -> tuple[IntArray, tuple[int, ...]] | None:
    """Return molecules and their formal charges from a SMILES that maps the atoms 1 .. N.

    Parameters
    ----------
    smiles : str
    numbers : (N,) int array
        Atomic numbers.

    Returns
    -------
    tuple or None
        Index of the molecule of every atom, (N,), and charge of every molecule, e; None when the SMILES cannot be read,
        or maps and elements are not those of the atoms.
    """
    molecules = _smiles_molecules(smiles)
    if molecules is None:
        return None
    owner = np.full(len(numbers), -1, dtype=np.int64)
    for molecule, (atoms, _) in enumerate(molecules):
        for atom, element in atoms:
            if not 0 <= atom < len(numbers) or numbers[atom] != element:
                return None
            owner[atom] = molecule
    return None if (owner < 0).any() else (owner, tuple(charge for _, charge in molecules))


@functools.lru_cache(maxsize=4096)
def _smiles_molecules(smiles: str) -> tuple[tuple[tuple[tuple[int, int], ...], int], ...] | None:
    """Mapped atoms (index from 0, atomic number) and charge of every molecule; None when the SMILES is not readable."""
    from ase.data import atomic_numbers
    from pysmiles import read_smiles

    # stereochemistry, which pysmiles checks, does not matter here; neither do its warnings about unusual valences
    logging.getLogger("pysmiles").setLevel(logging.ERROR)
    flat = smiles.translate(str.maketrans("", "", "/\\@"))
    try:
        graph = read_smiles(flat, explicit_hydrogen=False, reinterpret_aromatic=False, strict=False)
    except (ValueError, KeyError, IndexError):
        return None
    graph.remove_edges_from([(first, second) for first, second, order in graph.edges(data="order") if order == 0])
    return tuple(
        (
            tuple(
                (graph.nodes[k].get("class", 0) - 1, atomic_numbers[graph.nodes[k].get("element", "X")])
                for k in sorted(atoms)
            ),
            sum(graph.nodes[k]["charge"] for k in atoms),
        )
        for atoms in sorted(nx.connected_components(graph), key=min)
    )


@dataclass(frozen=True, slots=True)
class ParentClues:
    """Properties of a frame that determine its parent.

    Attributes
    ----------
    parent : str or None
        Parent given in the file, which takes precedence.
    smiles : str or None
        SMILES without atom maps.
    connectivity : str
        Name from `connectivity_name`; empty when `parent` is given and bonds were not determined.
    """

    parent: str | None
    smiles: str | None
    connectivity: str


def parent_names(frames: Sequence[ParentClues]) -> list[str]:
    """Return the parent of every frame: as given, or the first SMILES, or connectivity, of all frames linked by either.

    Parameters
    ----------
    frames : sequence of ParentClues
        All frames of a set.
    """
    graph: nx.Graph[tuple[str, str]] = nx.Graph()
    for frame in frames:
        if frame.parent is None:
            graph.add_node(("connectivity", frame.connectivity))
            if frame.smiles is not None:
                graph.add_edge(("connectivity", frame.connectivity), ("smiles", frame.smiles))
    names: dict[str, str] = {}
    for component in nx.connected_components(graph):
        smiles = sorted(text for kind, text in component if kind == "smiles")
        connectivities = sorted(text for kind, text in component if kind == "connectivity")
        names.update(dict.fromkeys(connectivities, (smiles or connectivities)[0]))
    return [names[frame.connectivity] if frame.parent is None else frame.parent for frame in frames]
