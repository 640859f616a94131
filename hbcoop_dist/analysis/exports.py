"""Export a store: a tidy table with one row per H-bond, plain data for a leaderboard, and geometries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.quantities import with_spread
from hbcoop_dist.analysis.selection import done, readable
from hbcoop_dist.structures import Structure, position_of
from hbcoop_dist.structures.chains import CAP_WATERS, CELL_DIMS, POSITIONS
from hbcoop_dist.structures.structure import MOLECULE_NUMBERS

if TYPE_CHECKING:
    from ase import Atoms

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
"""Columns of the tidy table that hold the store's variables ``hbond_{name}``, in their units."""
SPREAD = "cooperative_energy_spread"
"""Standard deviation over the networks of an ensemble."""
_CELL = ("status", "reason", "saddle", "near_ring", "energy", "max_force", "seconds", "unit_rotamers")
_IDENTITY = ("checkpoint_sha256", "parameter_hash", "versions", "dtype")


def tidy(ds: xr.Dataset) -> pd.DataFrame:
    """Tabulate every H-bond of every cell, including cells that are not done.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.

    Returns
    -------
    DataFrame
        One row per H-bond: the labels of the cell, ``hbond`` (from 1), ``positions`` (those of head, middle and tail
        that the bond is, separated by commas), `QUANTITIES` and `SPREAD` in the units of the store (kcal/mol, A,
        degrees), NaN where the cell is not done, and status, reason and diagnostics of the cell.
    """
    masked = done(ds)
    names = {f"hbond_{name}": name for name in (*QUANTITIES, SPREAD) if f"hbond_{name}" in masked}
    bonds = masked[[*names, "phi1", "phi2"]].to_dataframe().reset_index()
    bonds = bonds[bonds["hbond"] < bonds["length"]].rename(columns=names)
    cells = masked[[name for name in _CELL if name in masked]].to_dataframe().reset_index()
    table = bonds.merge(cells, on=list(CELL_DIMS), how="left")
    positions = [_positions(length, hbond) for length, hbond in zip(table["length"], table["hbond"], strict=True)]
    table.insert(len(CELL_DIMS) + 1, "positions", positions)
    return table.sort_values([*CELL_DIMS, "hbond"], key=_axis_order(ds), ignore_index=True)


def leaderboard(ds: xr.Dataset) -> dict[str, object]:
    """Collect the data of a leaderboard in a form that JSON can hold.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.

    Returns
    -------
    dict
        ``schema_version``, ``protocol``, ``units`` and ``models``: for each model its identity, number of cells by
        status, cooperative energies by pattern, capping, geometry, rotamer, length and position (None where a cell is
        not done), and their spread if it is an ensemble.
    """
    masked = done(ds)
    order = ("model", ..., "length", "position")
    energies, ensembles = masked["cooperative_energy"].transpose(*order), with_spread(masked)
    status = readable(ds)["status"]
    models = {}
    for model in map(str, masked["model"].values):
        counts = pd.Series(status.sel(model=model).values.ravel()).value_counts()
        models[model] = {
            "identity": {name: _first(masked[name].sel(model=model)) for name in _IDENTITY if name in masked},
            "cells": {str(name): int(count) for name, count in counts.items()},
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


def _axis_order(ds: xr.Dataset) -> Callable[[pd.Series], pd.Series]:
    """Sort key that orders labels as the axes of the store do."""
    ranks = {dim: {label: rank for rank, label in enumerate(ds[dim].values.tolist())} for dim in CELL_DIMS}
    return lambda column: column.map(ranks[column.name]) if column.name in ranks else column


def _first(values: xr.DataArray) -> str | None:
    return next((str(value) for value in values.values.ravel() if value), None)


def _nested(values: xr.DataArray) -> object:
    """Values as nested dicts, one level per dim."""
    if not values.dims:
        number = float(values)
        return number if np.isfinite(number) else None
    first = values.dims[0]
    return {str(label): _nested(values.sel({first: label})) for label in values[first].values}


def geometries(ds: xr.Dataset) -> Iterator[Atoms]:
    """Yield the complex of every done cell.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.

    Yields
    ------
    ase.Atoms
        Positions in A. ``info`` holds the labels of the cell, ``energy_eV`` and ``cooperative_energy_kcal_per_mol``
        (one value per H-bond).
    """
    from ase import Atoms

    masked = done(ds)
    stacked = masked[["positions", "energy", "hbond_cooperative_energy"]].stack(cell=CELL_DIMS)
    for index in np.flatnonzero(np.isfinite(stacked["energy"].values)):
        cell = stacked.isel(cell=index)
        labels = {dim: cell[dim].item() for dim in CELL_DIMS}
        numbers = ds["atomic_number"].sel(length=labels["length"], capping=labels["capping"]).values
        in_chain = numbers > 0
        energies = cell["hbond_cooperative_energy"].values[: labels["length"] - 1]
        info = {**labels, "energy_eV": float(cell["energy"]), "cooperative_energy_kcal_per_mol": energies}
        yield Atoms(numbers[in_chain], cell["positions"].transpose("atom", "xyz").values[in_chain], info=info)


def structure_of(atoms: Atoms) -> Structure:
    """Convert one of `geometries` to a `Structure`, whose molecules classical force fields need.

    Parameters
    ----------
    atoms : ase.Atoms
        Chain with ``capping`` and ``length`` in ``info``.
    """
    waters = CAP_WATERS if atoms.info["capping"] == "water" else 0
    kinds = ["nma"] * atoms.info["length"] + ["water"] * waters
    ends = np.cumsum([len(MOLECULE_NUMBERS[kind]) for kind in kinds])[:-1]
    return Structure.from_molecules(zip(kinds, np.split(atoms.positions, ends), strict=True))
