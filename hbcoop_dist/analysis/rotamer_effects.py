"""How much a cooperative energy depends on the methyl rotamer, which the paper does not state: the same bond in all."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.selection import DONE, done

_INDEX = ["model", "pattern", "length", "capping", "geometry", "hbond"]


def by_rotamer(ds: xr.Dataset, quantity: str = "cooperative_energy", statuses: Collection[str] = DONE) -> pd.DataFrame:
    """A quantity of every H-bond, rotamer beside rotamer.

    Parameters
    ----------
    ds : xarray.Dataset
        A dataset of a store with two rotamers or more.
    quantity : str
        What of ``hbond_...`` the store has: ``cooperative_energy``, ``interaction_energy``, ``distance_on``...
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    DataFrame
        By model, pattern, length, capping, geometry and H-bond (from 1): a column per rotamer, in the store's units,
        NaN where it is not done; ``spread``, the largest less the smallest of them, NaN where fewer than two are done;
        and ``saddles``, the rotamers in which the planar chain is a saddle, in one text. Bonds that no rotamer has a
        value of are left out.

    Raises
    ------
    ValueError
        When the store has only one rotamer, or no such quantity.
    """
    labels = [str(label) for label in ds["rotamer"].values]
    if len(labels) < 2:
        raise ValueError(f"rotamer: expected two or more to compare, found {', '.join(labels)}")
    name = f"hbond_{quantity}"
    if name not in ds:
        known = sorted(str(key).removeprefix("hbond_") for key, array in ds.data_vars.items() if _of_bonds(key, array))
        raise ValueError(f"quantity: expected one of {', '.join(known)}, found {quantity}")
    found = done(ds[[name, "status", *(["saddle"] if "saddle" in ds else [])]], statuses).compute()
    # not unstack, which would sort what the store has in its own order
    table = found[name].to_dataset("rotamer").to_dataframe(dim_order=_INDEX)[labels].dropna(how="all")
    values = table.copy()
    table["spread"] = (values.max(axis=1) - values.min(axis=1)).where(values.count(axis=1) > 1)
    table["saddles"] = _saddles(found, labels, table.index)
    return table.rename_axis(columns=None)


def _of_bonds(name: object, array: xr.DataArray) -> bool:
    return str(name).startswith("hbond_") and "rotamer" in array.dims


def _saddles(found: xr.Dataset, labels: list[str], index: pd.Index[Any]) -> list[str]:
    if "saddle" not in found:
        return [""] * len(index)
    flags = (found["saddle"] == 1).to_dataset("rotamer").to_dataframe(dim_order=_INDEX[:-1])
    return ["; ".join(label for label in labels if flags.at[cell[:-1], label]) for cell in index]
