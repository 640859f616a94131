"""Which cells the campaigns of a store ask for, from its history alone.

Read as plain data: a campaign of an older version, or of a family that is not installed here, still says what it asked
for, though it could not be run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from hbcoop_dist.campaigns.hbond.spec import rotamer_label

Labels = tuple[str | int, ...]
"""Of a cell, as `results.CELL_DIMS` has them."""
UNASKED = "not asked for by campaign"
"""How the reason of a cell begins that no campaign of its store asks for."""


@dataclass(frozen=True, slots=True)
class _Grid:
    models: frozenset[str]
    patterns: frozenset[str]
    lengths: Mapping[str, frozenset[int]]
    geometries: frozenset[str]
    rotamers: frozenset[str]

    def __contains__(self, labels: Labels) -> bool:
        model, pattern, length, capping, geometry, rotamer = labels
        return (
            model in self.models
            and pattern in self.patterns
            and length in self.lengths.get(str(capping), ())
            and geometry in self.geometries
            and rotamer in self.rotamers
        )


def asked_for(history: str) -> Callable[[Labels], bool]:
    """Whether any campaign of a store's history asks for a cell.

    Parameters
    ----------
    history : str
        Attribute ``history`` of a store. A campaign in it that cannot be read asks for nothing.
    """
    texts = dict.fromkeys(str(event.get("spec", "")) for event in json.loads(history))
    grids = [grid for text in texts if (grid := _grid(text)) is not None]
    return lambda labels: any(labels in grid for grid in grids)


def _grid(text: str) -> _Grid | None:
    try:
        spec = json.loads(text)
        lengths = spec.get("lengths", [])
        return _Grid(
            frozenset(entry["name"] for entry in spec["models"]),
            frozenset(spec["patterns"]),
            {entry["name"]: frozenset(entry.get("lengths") or lengths) for entry in spec["capping"]},
            frozenset(PurePath(name).name for name in spec["geometry"]),
            frozenset(map(rotamer_label, spec["rotamer"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
