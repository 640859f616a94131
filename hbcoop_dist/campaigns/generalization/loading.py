"""Read a generalization campaign; every complaint names file, line, field, what was expected and what was found."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.campaigns.hbond.spec import CampaignError
from hbcoop_dist.core.resources import find_file
from hbcoop_dist.core.yaml_source import YamlError, place_of, read_model
from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.registry import scheme_options

_HBOND = "hbond"


def is_generalization(name: str | Path) -> bool:
    """Whether a campaign file says that it is of this kind; one that cannot be read is not, and is refused later.

    Raises
    ------
    CampaignError
        When it is of no kind that there is, or has this one's fields without saying so.
    """
    try:
        path = find_file(name, "campaigns")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        place = place_of(path, "kind")
    except (OSError, ValueError, yaml.YAMLError):
        return False
    kind = content.get("kind", _HBOND)
    if kind not in (_HBOND, KIND) or ("kind" not in content and "datasets" in content):
        # every field of the other kind would be called unknown
        raise CampaignError(f"{place}: expected {_HBOND} or {KIND}, found {content.get('kind', 'none')}")
    return bool(kind == KIND)


def load_generalization(name: str | Path) -> GeneralizationSpec:
    """Load a campaign by path, or by the name of a bundled one (``generalization-quick``).

    Raises
    ------
    CampaignError
        When there is no such file, it is not YAML, a field is wrong, or a file or folder of a set is not there.
    """
    try:
        path = find_file(name, "campaigns")
    except FileNotFoundError as error:
        raise CampaignError(str(error)) from None
    try:
        spec = read_model(path, GeneralizationSpec)
    except YamlError as error:
        raise CampaignError(str(error)) from None
    _check_options(path, spec)
    base = path.resolve().parent
    datasets = []
    for entry in spec.datasets:
        files = tuple(str(base / Path(os.path.expandvars(file)).expanduser()) for file in entry.files)
        if absent := [file for file in files if not Path(file).exists()]:
            raise CampaignError(
                f"{place_of(path, 'datasets')}: set {entry.name}: expected files, found no {', '.join(absent)}"
            )
        datasets.append(entry.model_copy(update={"files": files}))
    return spec.model_copy(update={"datasets": tuple(datasets)})


def _check_options(path: Path, spec: GeneralizationSpec) -> None:
    """Refuse options that a scheme does not have, or that do not fit one of the networks."""
    for entry in spec.schemes:
        for network in spec.architectures:
            shape = NetworkShape(2, network.channels, network.layers, network.radial, network.cutoff, elements=(1, 8))
            try:
                scheme_options(entry.scheme, entry.options, shape)
            except ValueError as error:
                raise CampaignError(f"{place_of(path, 'schemes')}: {entry.name}: {error}") from None
