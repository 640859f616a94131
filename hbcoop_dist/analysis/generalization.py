"""Errors of trained networks by split and scheme, and how much worse they are where the test set lies elsewhere."""

from __future__ import annotations

import pandas as pd
import xarray as xr

ERRORS = (
    "energy_rmse",
    "forces_rmse",
    "interaction_near_rmse",
    "interaction_beyond_rmse",
    "charges_mae",
    "charges_correlation",
    "dipole_rmse",
)
"""Errors that tables show, where a store has them."""
RANDOM = "random"


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
