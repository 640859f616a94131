"""Errors of trained networks by set, split, architecture and scheme, and their degradation on biased splits."""

from __future__ import annotations

import pandas as pd
import xarray as xr

TITLES = {
    "energy_rmse": "energy",
    "forces_rmse": "forces",
    "interaction_near_rmse": "interaction within the cutoff",
    "interaction_beyond_rmse": "interaction beyond the cutoff",
    "charges_mae": "charges",
    "charges_correlation": "correlation of charges",
    "dipole_rmse": "dipole",
}
"""Error variables of a generalization store and their titles in figures."""
ERRORS = tuple(TITLES)
RANDOM = "random"


def axis_label(ds: xr.Dataset, error: str) -> str:
    """Axis label of an error: its statistic and unit.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.
    error : str
        One of `ERRORS`, or another variable whose name ends in its statistic.
    """
    statistic = error.rpartition("_")[2]
    name = statistic.upper() if statistic in ("rmse", "mae") else statistic
    unit = str(ds[error].attrs["units"]).replace("angstrom", "A")
    per_atom = " per atom" if error.startswith("energy") else ""
    return name if unit == "1" else f"{name}, {unit}{per_atom}"


def one_network(ds: xr.Dataset, dataset: str | None, architecture: str | None) -> xr.Dataset:
    """Select one set and one architecture.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.
    dataset, architecture : str or None
        Labels; None selects the first of the store.
    """
    return ds.sel(
        dataset=ds["dataset"].values[0] if dataset is None else dataset,
        architecture=ds["architecture"].values[0] if architecture is None else architecture,
    )


def errors(ds: xr.Dataset) -> xr.Dataset:
    """Select the errors of networks that are done; others are NaN.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store, dims (dataset, split, architecture, scheme, seed).
    """
    return ds[list(ERRORS)].where(ds["status"] == "done")


def degradation(ds: xr.Dataset) -> xr.Dataset:
    """Divide RMS errors by those of the random split of the same set, architecture, scheme and seed.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.

    Returns
    -------
    xarray.Dataset
        Ratios on the other splits; 1 where nothing is lost.

    Raises
    ------
    ValueError
        When the store has no random split.
    """
    if RANDOM not in ds["split"].values:
        raise ValueError(f"degradation: expected a split {RANDOM}, found {', '.join(map(str, ds['split'].values))}")
    rmse = errors(ds)[[name for name in ERRORS if name.endswith("_rmse")]]
    ratio = rmse / rmse.sel(split=RANDOM, drop=True)
    return ratio.sel(split=[name for name in ds["split"].values if name != RANDOM])


def errors_table(ds: xr.Dataset) -> pd.DataFrame:
    """Tabulate errors averaged over seeds.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.

    Returns
    -------
    DataFrame
        One row per set, split, architecture and scheme with a done network, in the order of the store: ``seeds``
        (number of done networks) and one column per error that the store has, in its units.
    """
    mean = errors(ds).mean("seed").assign(seeds=(ds["status"] == "done").sum("seed"))
    frame = mean.to_dataframe().reset_index()
    order = ["dataset", "split", "architecture", "scheme"]
    ranks = {dim: {label: rank for rank, label in enumerate(ds[dim].values.tolist())} for dim in order}
    frame = frame.sort_values(order, key=lambda column: column.map(ranks[str(column.name)]))
    frame = frame[frame["seeds"] > 0]
    columns = [name for name in ERRORS if bool(frame[name].notna().any())]
    return frame[[*order, "seeds", *columns]].reset_index(drop=True)
