"""Read a campaign file; every complaint names file, line, field, what was expected and what was found."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from hbcoop_dist.campaign import CampaignSpec
from hbcoop_dist.campaign_entries import ModelEntry
from hbcoop_dist.data import find_file
from hbcoop_dist.models.ase_calculator import files_beside
from hbcoop_dist.references import bundled_geometries
from hbcoop_dist.yaml_file import YamlError, place_of, read_model


class CampaignError(ValueError):
    """A campaign file that cannot be used; the message has one line per problem."""


def load_campaign(name: str | Path) -> CampaignSpec:
    """Load a campaign by path, or by the name of a bundled one (``quickstart``, ``nma``).

    Parameters
    ----------
    name : str or Path

    Returns
    -------
    CampaignSpec

    Raises
    ------
    CampaignError
        When there is no such file, it is not YAML, or a field is wrong.
    """
    try:
        path = find_file(name, "campaigns")
    except FileNotFoundError as error:
        raise CampaignError(str(error)) from None
    try:
        spec = read_model(path, CampaignSpec)
    except YamlError as error:
        raise CampaignError(str(error)) from None
    return _resolved(spec, path)


def _resolved(spec: CampaignSpec, path: Path) -> CampaignSpec:
    """Paths in a file are relative to the file."""
    base = path.resolve().parent
    models = tuple(_entry_resolved(base, entry) for entry in spec.models)
    geometry = tuple(_geometry(path, name, spec.lenders) for name in spec.geometry)
    systems = tuple(entry.model_copy(update={"file": _absolute(base, entry.file)}) for entry in spec.systems)
    return spec.model_copy(update={"models": models, "geometry": geometry, "systems": systems})


def _geometry(path: Path, name: str, lenders: Collection[str]) -> str:
    """``own``, a model and a bundled set stay what they are; everything else is a folder."""
    base, bundled = path.resolve().parent, bundled_geometries()
    if name == "own" or name in lenders:
        return name
    if name in bundled:
        if (base / name).is_dir():
            raise CampaignError(
                f"{place_of(path, 'geometry')}: expected {name} to be the set that comes with the package, found a "
                "folder of that name beside the file too; give the folder another name"
            )
        return name
    folder = _absolute(base, name)
    if not Path(folder).is_dir():
        raise CampaignError(
            f"{place_of(path, 'geometry')}: expected own, a model of the campaign, a set that comes with the package "
            f"({', '.join(bundled)}), or a folder of .xyz files, found no {folder}"
        )
    return folder


def _entry_resolved(base: Path, entry: ModelEntry) -> ModelEntry:
    """A checkpoint is a path; of a calculator's arguments only what is a file beside the campaign is taken for one."""
    if entry.checkpoint is not None:
        return entry.model_copy(update={"checkpoint": _absolute(base, entry.checkpoint)})
    if entry.kwargs is not None:
        return entry.model_copy(update={"kwargs": files_beside(base, entry.kwargs)})
    return entry


def _absolute(base: Path, name: str) -> str:
    """`~` and environment variables as in a shell; one that is not set stays as written, and is not found so."""
    return str(base / Path(os.path.expandvars(name)).expanduser())
