"""Cells requested by the campaigns in a store's history, read as plain data.

Plain data stay readable when a campaign was written by an older version, or names a family that is not installed here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from hbcoop_dist.structures.chains import rotamer_label

Labels = tuple[str | int, ...]
"""Labels of a cell in the order of `structures.chains.CELL_DIMS`."""
UNREQUESTED = "not asked for by campaign"
"""Start of the reason of a skipped cell that the campaign being run does not request."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Label sets whose product are the cells of one campaign."""

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


def requested_by(history: str) -> Callable[[Labels], bool]:
    """Build a predicate: whether any campaign of a history requests a cell.

    Parameters
    ----------
    history : str
        Attribute ``history`` of a store (JSON). Campaigns that cannot be read request nothing.

    Returns
    -------
    callable
        Maps the labels of a cell, in the order of `structures.chains.CELL_DIMS`, to a bool.
    """
    return requested_by_specs(spec for event in json.loads(history) if (spec := _plain(event)) is not None)


def requested_by_specs(specs: Iterable[Mapping[str, Any]]) -> Callable[[Labels], bool]:
    """Build a predicate that tests whether any of these campaigns requests a cell.

    Parameters
    ----------
    specs : iterable of mapping
        Campaigns as plain JSON data. Those that are no campaigns of chains request nothing.
    """
    grids = [grid for spec in specs if (grid := _grid(spec)) is not None]
    return lambda labels: any(labels in grid for grid in grids)


def _plain(event: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        return dict(json.loads(event["spec"]))
    except (ValueError, KeyError, TypeError):
        return None


def _grid(spec: Mapping[str, Any]) -> _Grid | None:
    try:
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
