"""Compare the H-bonds of two stores, or those of one store in several methyl rotamers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.exports import QUANTITIES, tidy
from hbcoop_dist.analysis.selection import DONE, done
from hbcoop_dist.structures.chains import CELL_DIMS

_BOND = [*CELL_DIMS, "hbond"]
_BOND_IN_ROTAMERS = ["model", "pattern", "length", "capping", "geometry", "hbond"]


def compare(first: xr.Dataset, second: xr.Dataset, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Difference of two stores, H-bond by H-bond: two checkpoints, two package versions or two machines.

    Parameters
    ----------
    first, second : xarray.Dataset
        Datasets of two stores.
    names : mapping of str to str, optional
        Model of the second store -> model of the first that it is compared with; other models keep their names.

    Returns
    -------
    DataFrame
        One row per H-bond of either store: its labels, ``status_first`` and ``status_second`` (NaN where a store has
        no such cell), and for each of `exports.QUANTITIES` the second's value less the first's, NaN unless both are
        done.
    """
    left, right, names = tidy(first), tidy(second), dict(names or {})
    # a model of the second store gives way to the model that is compared under its name
    right = right[right["model"].isin(names) | ~right["model"].isin(names.values())]
    right = right.assign(model=right["model"].replace(names))
    joined = left.merge(right, on=_BOND, how="outer", suffixes=("_first", "_second"), sort=False)
    differences = joined[[*_BOND, "status_first", "status_second"]].copy()
    for name in QUANTITIES:
        differences[name] = joined[f"{name}_second"] - joined[f"{name}_first"]
    return differences


def largest(differences: pd.DataFrame, quantity: str = "cooperative_energy") -> pd.DataFrame:
    """Select the H-bond of every model at which a quantity differs most.

    Parameters
    ----------
    differences : DataFrame
        Result of `compare`.
    quantity : str
        Column of `differences`.

    Returns
    -------
    DataFrame
        One row per model that has a done H-bond in both stores.
    """
    sizes = differences[quantity].abs().dropna()
    return differences.loc[sizes.groupby(differences["model"].loc[sizes.index], sort=False).idxmax()]


def by_rotamer(ds: xr.Dataset, quantity: str = "cooperative_energy", statuses: Collection[str] = DONE) -> pd.DataFrame:
    """Tabulate a quantity of every H-bond with one column per methyl rotamer.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store with two rotamers or more.
    quantity : str
        Variable of the store without its prefix ``hbond_``: ``cooperative_energy``, ``distance_on``...
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    DataFrame
        Indexed by model, pattern, length, capping, geometry and H-bond (from 1). Columns: one per rotamer, in the
        store's units, NaN where the cell is not done; ``spread``, the largest less the smallest of them, NaN where
        fewer than two are done; ``saddles``, the rotamers in which the planar chain is a saddle, separated by
        semicolons. Bonds without any value are left out.

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
        names = sorted(
            str(key).removeprefix("hbond_")
            for key, array in ds.data_vars.items()
            if str(key).startswith("hbond_") and "rotamer" in array.dims
        )
        raise ValueError(f"quantity: expected one of {', '.join(names)}, found {quantity}")
    masked = done(ds[[name, "status", *(["saddle"] if "saddle" in ds else [])]], statuses).compute()
    # unstack would sort the labels, which have the store's own order
    table = masked[name].to_dataset("rotamer").to_dataframe(dim_order=_BOND_IN_ROTAMERS)[labels].dropna(how="all")
    values = table.copy()
    table["spread"] = (values.max(axis=1) - values.min(axis=1)).where(values.count(axis=1) > 1)
    table["saddles"] = _saddles(masked, labels, table.index)
    return table.rename_axis(columns=None)


def _saddles(masked: xr.Dataset, labels: list[str], index: pd.Index[Any]) -> list[str]:
    if "saddle" not in masked:
        return [""] * len(index)
    flags = (masked["saddle"] == 1).to_dataset("rotamer").to_dataframe(dim_order=_BOND_IN_ROTAMERS[:-1])
    return ["; ".join(label for label in labels if flags.at[bond[:-1], label]) for bond in index]
