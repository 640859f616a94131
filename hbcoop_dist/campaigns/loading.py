"""Load campaigns of any kind, from files and from the history of a store, and plan them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hbcoop_dist.campaigns.kind import DEFAULT_KIND, AnyPlan, find_kind, kind_of
from hbcoop_dist.campaigns.spec_fields import CampaignError, CampaignSpec
from hbcoop_dist.core.resources import find_file
from hbcoop_dist.core.yaml_source import YamlError, place_of, read_mapping


def load_campaign(name: str | Path) -> CampaignSpec:
    """Load a campaign by path, or by the name of a bundled one (``quickstart``, ``nma``).

    Parameters
    ----------
    name : str or Path

    Returns
    -------
    CampaignSpec
        Of the class that belongs to its kind.

    Raises
    ------
    CampaignError
        When there is no such file, it is not YAML, its kind is not installed, or a field is wrong.
    """
    try:
        path = find_file(name, "campaigns")
        kind = read_mapping(path).content.get("kind", DEFAULT_KIND)
    except (FileNotFoundError, YamlError) as error:
        raise CampaignError(str(error)) from None
    try:
        found = find_kind(str(kind))
    except CampaignError as error:
        raise CampaignError(f"{place_of(path, 'kind')}: {error}") from None
    spec: CampaignSpec = found.load(path)
    return spec


def plan(spec: CampaignSpec, *, device: str = "cpu", elsewhere: Collection[str] = ()) -> AnyPlan:
    """Expand a campaign into its plan.

    Parameters
    ----------
    spec : CampaignSpec
        From `load_campaign`.
    device : str
        Device of the workers, ``cpu`` or ``cuda``: decides how large batches are, and no result.
    elsewhere : collection of str
        Environments that workers have in a Python of their own: their packages are not looked for in this one.

    Returns
    -------
    Plan

    Raises
    ------
    CampaignError
        When a file that the campaign names cannot be used.
    ReferenceSetError
        When a reference set of geometries cannot be read, or holds nothing that a cell asks for.
    ModelError
        When a checkpoint that the campaign names does not exist, or is not what it should be.
    """
    return kind_of(spec).plan(spec, device=device, elsewhere=elsewhere)


def specs_in_history(history: str) -> list[dict[str, Any]]:
    """Return the specs of a store's history as plain data, each once; what is no JSON object is left out."""
    texts = dict.fromkeys(str(event.get("spec", "")) for event in json.loads(history))
    specs = []
    for text in texts:
        try:
            spec = json.loads(text)
        except ValueError:
            continue
        if isinstance(spec, dict):
            specs.append(spec)
    return specs


def load_from_history(spec: Mapping[str, Any]) -> CampaignSpec:
    """Read a spec of `specs_in_history` with the model of its kind.

    Raises
    ------
    CampaignError
        When its kind, or something that it names, is not installed.
    """
    loaded: CampaignSpec = find_kind(str(spec.get("kind", DEFAULT_KIND))).spec_from_json(json.dumps(spec))
    return loaded
