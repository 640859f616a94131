"""A small dataset of a chain store, built by code, with several statuses, flags and reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA

AXES: dict[str, list[Any]] = {
    "model": ["so3lr", "ani-2x", "my-model"],
    "pattern": ["arc", "linear"],
    "length": [2, 3, 4, 5],
    "capping": ["none", "water"],
    "geometry": ["own"],
    "rotamer": ["cis-N, trans-C"],
    "constraint": ["torsions"],
    "position": ["head", "middle", "tail"],
    "hbond": [1, 2, 3, 4],
    "conformer": ["syn", "anti"],
}
NAMES = (
    "status",
    "reason",
    "saddle",
    "near_ring",
    "steps",
    "task_key",
    "cooperative_energy",
    "cooperative_energy_electronic",
    "cooperative_energy_geometric",
    "interaction_energy",
    "interaction_energy_dimer",
    "distance_on",
    "distance_oh",
    "angle",
    "hbond_distance_on",
    "dimer_status",
    "dimer_reason",
    "dimer_saddle",
    "dimer_interaction_energy",
    "dimer_distance_on",
    "hbond_conformer",
    "position_hbond",
)
CELL = {"geometry": "own", "rotamer": "cis-N, trans-C", "constraint": "torsions"}


def make() -> xr.Dataset:
    """Every number differs from every other and none is zero, so that a mix-up shows.

    so3lr is done everywhere but arc, none, n = 4 (unconverged) and water, n > 2 (skipped); its arc, none, n = 5 is a
    saddle and a near-ring. ani-2x is done in arc, none only; in linear it failed with reasons that differ in numbers.
    my-model was skipped everywhere.
    """
    ds = xr.Dataset(coords=AXES)
    for number, name in enumerate(NAMES, 1):
        variable = HBOND_SCHEMA.variables[name]
        shape = tuple(len(AXES[dim]) for dim in variable.dims)
        values = variable.missing(shape)
        if variable.dtype == "str":
            values = values.astype(object)
        if variable.dtype == "float64":
            values = number + np.arange(1, np.prod(shape) + 1).reshape(shape) / 1000
        if variable.dtype == "flag":
            values = np.zeros(shape, "int8")
        if variable.dtype == "int64":
            values = np.arange(1, np.prod(shape) + 1).reshape(shape)
        ds[name] = (variable.dims, values, variable.attributes())
    ds["status"][:] = "done"
    ds["task_key"][:] = "key"
    ds["dimer_status"][:] = "done"
    ds["hbond_conformer"][:] = [["syn"] * 4, ["syn", "anti", "syn", "anti"]]
    mark(ds, "unconverged", "max force 3.2e-04 eV/A after 500 force calls", model="so3lr", length=4, capping="none")
    mark(ds, "skipped", "not asked for", model="so3lr", length=[3, 4, 5], capping="water")
    mark(ds, "skipped", "not asked for", model="ani-2x", pattern="arc", capping="water")
    for length in AXES["length"]:
        mark(
            ds,
            "failed",
            f"H-bond {length - 1} at 1.{length} A is none",
            model="ani-2x",
            pattern="linear",
            length=length,
        )
    mark(ds, "skipped", "package not installed", model="my-model")
    for flag in ("saddle", "near_ring"):
        ds[flag].loc[{"model": "so3lr", "pattern": "arc", "length": 5, "capping": "none"}] = 1
    ds["dimer_status"].loc[{"model": "my-model"}] = "pending"
    ds["dimer_status"].loc[{"model": "ani-2x", "conformer": "anti"}] = "failed"
    ds["dimer_reason"].loc[{"model": "ani-2x", "conformer": "anti"}] = "stacked"
    ds["dimer_saddle"].loc[{"model": "so3lr", "conformer": "anti"}] = 1
    return ds


def mark(ds: xr.Dataset, status: str, reason: str, **labels: object) -> None:
    ds["status"].loc[labels] = status
    ds["reason"].loc[labels] = reason


@pytest.fixture
def ds() -> xr.Dataset:
    return make()


@pytest.fixture
def plain(ds: xr.Dataset) -> xr.Dataset:
    """As plain xarray.open_zarr gives it: text is numpy's variable-length strings, labels too."""
    text = np.dtypes.StringDType()
    names = [name for name, array in ds.data_vars.items() if array.dtype == object]
    coords = {name: (name, array.values.astype(text)) for name, array in ds.coords.items() if array.dtype.kind in "UO"}
    return ds.assign({name: ds[name].astype(text) for name in names}).assign_coords(coords)
