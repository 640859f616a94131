"""One parent for all frames that share a SMILES or the bonds between their atoms.

So a molecule is itself in files that write it in different ways, and as a conformer with a bond stretched.
Stereoisomers share bonds, and therefore a parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx


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
