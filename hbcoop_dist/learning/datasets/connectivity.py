"""Molecules and parents of bare coordinates: who is bonded to whom, and a name that all conformers share.

One parent for all frames that share a SMILES or the bonds between their atoms.

So a molecule is itself in files that write it in different ways, and as a conformer with a bond stretched.
Stereoisomers share bonds, and therefore a parent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_ATOM = re.compile(r"\[(?:\d+)?([A-Za-z][a-z]?)[^\]:]*?((?:\++|-+)\d*)?:(\d+)\]")
_ATOM_MAP = re.compile(r":\d+\]")


def molecules_of(graph: nx.Graph[int]) -> IntArray:
    """Index of the molecule of every atom, counted in the order of first atoms: (N,)."""
    owner = np.empty(len(graph), dtype=np.int64)
    for molecule, atoms in enumerate(sorted(nx.connected_components(graph), key=min)):
        owner[list(atoms)] = molecule
    return owner


def connectivity_name(numbers: IntArray, graph: nx.Graph[int]) -> str:
    """Formula and hash of the bonds (Weisfeiler and Lehman): alike for conformers, and for stereoisomers too."""
    from ase.data import chemical_symbols
    from ase.formula import Formula

    formula = Formula.from_list([chemical_symbols[z] for z in numbers]).format("hill")
    return f"{formula} {nx.weisfeiler_lehman_graph_hash(graph, node_attr='element', iterations=6, digest_size=6)}"


def plain_smiles(smiles: str) -> str:
    """SMILES without atom maps."""
    return _ATOM_MAP.sub("]", smiles)


def mapped_molecules(smiles: str, numbers: IntArray) -> tuple[IntArray, tuple[int, ...]] | None:
    """Molecule of every atom (N,) and charge of every molecule, e, from a SMILES that maps atoms 1..N.

    None where the maps or elements are not those of the atoms.
    """
    from ase.data import chemical_symbols

    owner = np.full(len(numbers), -1, dtype=np.int64)
    charges: list[int] = []
    for molecule, part in enumerate(smiles.split(".")):
        charges.append(0)
        for symbol, charge, number in _ATOM.findall(part):
            atom = int(number) - 1
            if not 0 <= atom < len(numbers) or chemical_symbols[numbers[atom]] != symbol.capitalize():
                return None
            owner[atom] = molecule
            charges[-1] += _formal_charge(charge)
    return None if (owner < 0).any() else (owner, tuple(charges))


def _formal_charge(text: str) -> int:
    """``+``, ``--``, ``+2`` or nothing."""
    if not text:
        return 0
    size = int(text.lstrip("+-") or len(text))
    return size if text[0] == "+" else -size


@dataclass(frozen=True, slots=True)
class Parentage:
    """What tells the parent of a frame: its own word, else SMILES without atom maps, and the name of its bonds."""

    given: str | None
    smiles: str | None
    bonded: str


def parents(frames: Sequence[Parentage]) -> list[str]:
    """The parent of every frame: as given, else the first SMILES, or name of bonds, of all that belong together."""
    graph: nx.Graph[tuple[str, str]] = nx.Graph()
    for frame in frames:
        if frame.given is None:
            graph.add_node(("bonds", frame.bonded))
            if frame.smiles is not None:
                graph.add_edge(("bonds", frame.bonded), ("smiles", frame.smiles))
    names: dict[str, str] = {}
    for component in nx.connected_components(graph):
        smiles = sorted(text for kind, text in component if kind == "smiles")
        bonded = sorted(text for kind, text in component if kind == "bonds")
        names.update(dict.fromkeys(bonded, (smiles or bonded)[0]))
    return [names[frame.bonded] if frame.given is None else frame.given for frame in frames]
