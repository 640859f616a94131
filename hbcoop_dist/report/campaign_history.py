"""The campaigns that made a store, what they are called, and what to cite for its models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import xarray as xr
import yaml

from hbcoop_dist.report.ranking import card_of

_PAPER = (
    "the measure: Feng, Xu and Huang, Benchmarking Universal Machine Learning Force Fields with Hydrogen-Bonding "
    "Cooperativity (2025)"
)
_OURS = "the instrument: hbcoop_dist, with the version that the provenance gives"


def campaigns_of(ds: xr.Dataset) -> tuple[str, ...]:
    """Each campaign of a store's history once, as YAML."""
    return tuple(dict.fromkeys(yaml.safe_dump(spec, sort_keys=False, width=100) for spec in _specs(ds)))


def campaign_names(ds: xr.Dataset) -> str:
    """What they are called, or that it is a store."""
    names = dict.fromkeys(str(spec.get("campaign", "")) for spec in _specs(ds))
    return ", ".join(filter(None, names)) or "store"


def citations_of(ds: xr.Dataset) -> Iterator[str]:
    """What to cite, and for what."""
    yield _PAPER
    yield _OURS
    for name in map(str, ds["model"].values):
        if (card := card_of(name)) is not None:
            yield f"`{name}`: {card.about.citation}"


def _specs(ds: xr.Dataset) -> list[dict[str, Any]]:
    found = json.loads(ds.attrs.get("history", "[]"))
    return [json.loads(str(event["spec"])) for event in found if event.get("spec")]
