"""Errors of trained networks by split and scheme, and how much worse they are where the test set lies elsewhere."""

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
"""What errors are called above a figure."""
ERRORS = tuple(TITLES)
"""Errors that tables show, where a store has them."""
RANDOM = "random"


def axis_label(ds: xr.Dataset, error: str) -> str:
    """What is drawn along an axis, with its unit."""
    statistic = error.rpartition("_")[2]
    name = statistic.upper() if statistic in ("rmse", "mae") else statistic
    unit = str(ds[error].attrs["units"]).replace("angstrom", "A")
    per_atom = " per atom" if error.startswith("energy") else ""
    return name if unit == "1" else f"{name}, {unit}{per_atom}"


def one_network(ds: xr.Dataset, dataset: str | None, architecture: str | None) -> xr.Dataset:
    """One set and one architecture; the first of the store where none is named."""
    return ds.sel(
        dataset=ds["dataset"].values[0] if dataset is None else dataset,
        architecture=ds["architecture"].values[0] if architecture is None else architecture,
    )


def errors(ds: xr.Dataset) -> xr.Dataset:
    """Errors of the networks that are done; all others are missing.

    Parameters
    ----------
    ds : xarray.Dataset
        Of a generalization store, dims (dataset, split, architecture, scheme, seed).
    """
    return ds[list(ERRORS)].where(ds["status"] == "done")


def degradation(ds: xr.Dataset) -> xr.Dataset:
    """Errors over those of the random split of the same set, network, scheme and seed: 1 where nothing is lost.

    Raises
    ------
    ValueError
        When the store has no random split.
    """
    if RANDOM not in ds["split"].values:
        raise ValueError(f"degradation: expected a split {RANDOM}, found {', '.join(map(str, ds['split'].values))}")
    found = errors(ds)[[name for name in ERRORS if name.endswith("_rmse")]]
    ratio = found / found.sel(split=RANDOM, drop=True)
    return ratio.sel(split=[name for name in ds["split"].values if name != RANDOM])


def errors_table(ds: xr.Dataset) -> pd.DataFrame:
    """One row per set, split, architecture and scheme: errors, mean over seeds, the number of seeds beside them."""
    found = errors(ds)
    mean = found.mean("seed").assign(seeds=(ds["status"] == "done").sum("seed"))
    frame = mean.to_dataframe().reset_index()
    order = ["dataset", "split", "architecture", "scheme"]
    ranks = {dim: {label: place for place, label in enumerate(ds[dim].values.tolist())} for dim in order}
    frame = frame.sort_values(order, key=lambda column: column.map(ranks[str(column.name)]))
    frame = frame[frame["seeds"] > 0]
    # an error that no network of the store has is no column
    kept = [name for name in ERRORS if bool(frame[name].notna().any())]
    return frame[[*order, "seeds", *kept]].reset_index(drop=True)
