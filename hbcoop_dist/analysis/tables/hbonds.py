"""A store as a tidy table, one row per H-bond of a cell, and as plain data for a leaderboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from ase import Atoms

from hbcoop_dist.analysis.ensemble_spread import with_spread
from hbcoop_dist.analysis.selection import done, readable
from hbcoop_dist.structures import Structure, position_of
from hbcoop_dist.structures.chains import CAP_WATERS, CELL_DIMS, POSITIONS
from hbcoop_dist.structures.structure import MOLECULE_NUMBERS

QUANTITIES = (
    "cooperative_energy",
    "cooperative_energy_electronic",
    "cooperative_energy_geometric",
    "interaction_energy",
    "interaction_energy_dimer",
    "distance_on",
    "distance_oh",
    "angle",
)
"""Of every H-bond; in the table without the store's prefix ``hbond_``."""
SPREAD = "cooperative_energy_spread"
"""Over the networks of an ensemble; a store of an earlier version has none."""
_CELL = ("status", "reason", "saddle", "near_ring", "energy", "max_force", "seconds", "unit_rotamers")
_IDENTITY = ("checkpoint_sha256", "parameter_hash", "versions", "dtype")


def select(ds: xr.Dataset, where: Mapping[str, Sequence[str]]) -> xr.Dataset:
    """The part of a store with the given labels, every dim kept.

    Parameters
    ----------
    ds : xarray.Dataset
    where : mapping of str to sequence of str
        Label dim -> labels wanted, as text.

    Raises
    ------
    ValueError
        When there is no such dim or label; names those there are.
    """
    for dim, labels in where.items():
        if dim not in CELL_DIMS:
            raise ValueError(f"expected a dim ({', '.join(CELL_DIMS)}), found {dim}")
        known = {str(value): value for value in ds[dim].values}
        if unknown := [label for label in labels if label not in known]:
            raise ValueError(f"{dim}: expected labels of the store ({', '.join(known)}), found {', '.join(unknown)}")
        ds = ds.sel({dim: [known[label] for label in labels]})
    return ds


def tidy(ds: xr.Dataset) -> pd.DataFrame:
    """One row per H-bond of every cell, not done ones too.

    Returns
    -------
    DataFrame
        The labels of the cell, ``hbond`` (from 1), ``positions`` (which of head, middle and tail it is, in one text),
        `QUANTITIES` and `SPREAD` in the store's units, NaN where a cell is not done or there is none, and the cell's
        status and diagnostics.
    """
    masked = done(ds)
    names = {f"hbond_{name}": name for name in (*QUANTITIES, SPREAD) if f"hbond_{name}" in masked}
    bonds = masked[[*names, "phi1", "phi2"]].to_dataframe().reset_index()
    bonds = bonds[bonds["hbond"] < bonds["length"]].rename(columns=names)
    cells = masked[[name for name in _CELL if name in masked]].to_dataframe().reset_index()
    table = bonds.merge(cells, on=list(CELL_DIMS), how="left")
    table.insert(
        len(CELL_DIMS) + 1, "positions", [_positions(*at) for at in zip(table["length"], table["hbond"], strict=True)]
    )
    return table.sort_values([*CELL_DIMS, "hbond"], key=_in_order(ds), ignore_index=True)


def leaderboard(ds: xr.Dataset) -> dict[str, object]:
    """What a leaderboard needs, as plain JSON data; what is missing is null, and counted.

    Returns
    -------
    dict
        ``schema_version``, ``protocol``, ``units``, and by model its identity, its cells by status, cooperative
        energies by pattern, capping, geometry, rotamer, length and position, and their spread where it is an ensemble.
    """
    masked = done(ds)
    order = ("model", ..., "length", "position")
    energies, ensembles = masked["cooperative_energy"].transpose(*order), with_spread(masked)
    models = {}
    for model in map(str, masked["model"].values):
        statuses = pd.Series(readable(ds)["status"].sel(model=model).values.ravel()).value_counts()
        identity = {name: _first(masked[name].sel(model=model)) for name in _IDENTITY if name in masked}
        models[model] = {
            "identity": identity,
            "cells": {str(status): int(count) for status, count in statuses.items()},
            "cooperative_energy": _nested(energies.sel(model=model)),
            **({SPREAD: _nested(masked[SPREAD].transpose(*order).sel(model=model))} if model in ensembles else {}),
        }
    return {
        "schema_version": ds.attrs.get("schema_version"),
        "protocol": json.loads(ds.attrs.get("protocol", "{}")),
        "units": {"cooperative_energy": "kcal/mol", SPREAD: "kcal/mol"},
        "models": models,
    }


def _positions(length: int, hbond: int) -> str:
    return ", ".join(name for name in POSITIONS if position_of(name, int(length)) == hbond)


def _in_order(ds: xr.Dataset) -> Callable[[pd.Series], pd.Series]:
    """Sort labels as they stand on the store's axes."""
    places = {dim: {label: place for place, label in enumerate(ds[dim].values.tolist())} for dim in CELL_DIMS}
    return lambda column: column.map(places[column.name]) if column.name in places else column


def _first(values: xr.DataArray) -> str | None:
    found = [str(value) for value in values.values.ravel() if value]
    return found[0] if found else None


def _nested(values: xr.DataArray) -> object:
    """Values by label, dim after dim."""
    if not values.dims:
        number = float(values)
        return number if np.isfinite(number) else None
    first = values.dims[0]
    return {str(label): _nested(values.sel({first: label})) for label in values[first].values}


def geometries(ds: xr.Dataset) -> Iterator[Atoms]:
    """Every done cell's complex as `ase.Atoms`, its labels, energy (eV) and cooperative energies in ``info``."""
    masked = done(ds)
    stacked = masked[["positions", "energy", "hbond_cooperative_energy"]].stack(cell=CELL_DIMS)
    for place in np.flatnonzero(np.isfinite(stacked["energy"].values)):
        one = stacked.isel(cell=place)
        labels = {dim: one[dim].item() for dim in CELL_DIMS}
        numbers = ds["atomic_number"].sel(length=labels["length"], capping=labels["capping"]).values
        there = numbers > 0
        energies = one["hbond_cooperative_energy"].values[: labels["length"] - 1]
        info = {**labels, "energy_eV": float(one["energy"]), "cooperative_energy_kcal_per_mol": energies}
        yield Atoms(numbers[there], one["positions"].transpose("atom", "xyz").values[there], info=info)


def structure_of(atoms: Atoms) -> Structure:
    """The complex of one of `geometries` with its molecules and their kinds, which classical force fields read."""
    waters = CAP_WATERS if atoms.info["capping"] == "water" else 0
    kinds = ["nma"] * atoms.info["length"] + ["water"] * waters
    ends = np.cumsum([len(MOLECULE_NUMBERS[kind]) for kind in kinds])[:-1]
    return Structure.from_molecules(zip(kinds, np.split(atoms.positions, ends), strict=True))
