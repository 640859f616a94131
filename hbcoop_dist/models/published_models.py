"""Published models: cards from ``families/published_models.yaml``, names and weights of the MP2 variants."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hbcoop_dist.core.yaml_source import read_mapping
from hbcoop_dist.models.base import About, ModelCard

FROZEN_CORE = "frozen-core"
COUNTERPOISE = "cp"

SPIN_SCALED: Mapping[str, tuple[float, float]] = {
    "rimp2": (1.0, 1.0),
    "scs-mp2": (1 / 3, 6 / 5),
    "sos-mp2": (0.0, 1.3),
}
"""Weights of the same-spin and opposite-spin correlation energies by method: Grimme, J. Chem. Phys. 2003, 118, 9095,
Eq. 6 and below; Jung et al., J. Chem. Phys. 2004, 121, 9793."""

_FILE = Path(__file__).parent / "families" / "published_models.yaml"


def published_cards(family: str) -> tuple[ModelCard, ...]:
    """Cards of the published models of a family of this package, in the order of the file.

    Parameters
    ----------
    family : str
        Name of the family's entry point.
    """
    return tuple(
        _card(name, {**shared, **(own or {})})
        for shared, models in _groups()
        for name, own in models.items()
        if shared["family"] == family
    )


@functools.cache
def _groups() -> list[tuple[dict[str, Any], dict[str, dict[str, Any]]]]:
    """Shared fields of every group, and the fields of its models by name."""
    groups = cast(dict[str, dict[str, Any]], read_mapping(_FILE).content)
    return [
        ({field: value for field, value in group.items() if field != "models"}, group["models"])
        for group in groups.values()
    ]


def _card(name: str, fields: dict[str, Any]) -> ModelCard:
    places = {"name": name, "file": fields.get("file")}
    filled = {field: _filled(value, places) for field, value in fields.items() if field != "elements"}
    empty = ModelCard(name, fields["family"], About("", "", "", _elements(fields["elements"])))
    return empty.with_fields(**filled)


def _filled(value: Any, places: Mapping[str, object]) -> Any:
    """The value with names filled in, and with tuples in place of lists."""
    if isinstance(value, dict):
        return {key: _filled(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_filled(item, places) for item in value)
    return value.format_map(places) if isinstance(value, str) else value


def _elements(listed: list[int | str]) -> tuple[int, ...]:
    """Atomic numbers from numbers and ranges such as ``1-83``."""
    ends = [str(item).partition("-") for item in listed]
    return tuple(number for first, _, last in ends for number in range(int(first), int(last or first) + 1))
