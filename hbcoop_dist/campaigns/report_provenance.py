"""Campaigns that made a store and works to cite, for the reports of all kinds of campaigns.

The specs are read as plain data, so that campaigns with models, schemes or families that are not installed any more
are shown all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import xarray as xr

from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.models import cards

SOFTWARE_CITATION = "the software: hbcoop_dist, in the version given with the provenance"
_COOPERATIVITY_CITATION = (
    "cooperative energy: Feng, Xu and Huang, Benchmarking Universal Machine Learning Force Fields with "
    "Hydrogen-Bonding Cooperativity (2025)"
)


def campaign_texts(ds: xr.Dataset) -> tuple[str, ...]:
    """Specs of the campaigns in a store's history as YAML, without repetitions.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store, with the attribute ``history``.

    Returns
    -------
    tuple of str
    """
    return tuple(dict.fromkeys(dump_yaml(spec) for spec in _specs(ds)))


def campaign_names(ds: xr.Dataset) -> str:
    """Names of the campaigns in a store's history.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.

    Returns
    -------
    str
        Names separated by commas; ``store`` when the history has none.
    """
    names = dict.fromkeys(str(spec.get("campaign", "")) for spec in _specs(ds))
    return ", ".join(filter(None, names)) or "store"


def cooperativity_citations(models: Iterable[str]) -> tuple[str, ...]:
    """Works to cite for cooperative energies: Eq. 1, the software and the registered models.

    Parameters
    ----------
    models : iterable of str
        Names of models; checkpoints that are not registered have no citation.

    Returns
    -------
    tuple of str
    """
    registered = cards()
    model_citations = (f"`{name}`: {registered[name].about.citation}" for name in models if name in registered)
    return (_COOPERATIVITY_CITATION, SOFTWARE_CITATION, *model_citations)


def _specs(ds: xr.Dataset) -> list[dict[str, Any]]:
    events = json.loads(ds.attrs.get("history", "[]"))
    return [json.loads(str(event["spec"])) for event in events if event.get("spec")]
