"""Two stores cell by cell: two checkpoints of one model, two versions of a package, two machines."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.tables.hbonds import QUANTITIES, tidy
from hbcoop_dist.structures.chains import CELL_DIMS

_KEYS = [*CELL_DIMS, "hbond"]


def compare(first: xr.Dataset, second: xr.Dataset, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """What two stores have of the same H-bonds, and by how much they differ.

    Parameters
    ----------
    first, second : xarray.Dataset
    names : mapping of str to str, optional
        Model of the second store -> model of the first that it is compared with; others keep their names.

    Returns
    -------
    DataFrame
        One row per H-bond of either store: its labels, ``status`` of both (NaN where a store has no such cell), and for
        each of `QUANTITIES` the second's less the first's, NaN unless both are done.
    """
    one, other, names = tidy(first), tidy(second), dict(names or {})
    # a model of the second store gives its place to the one that is compared under its name
    other = other[other["model"].isin(names) | ~other["model"].isin(names.values())]
    other = other.assign(model=other["model"].replace(names))
    both = one.merge(other, on=_KEYS, how="outer", suffixes=("_first", "_second"), sort=False)
    found = both[[*_KEYS, "status_first", "status_second"]].copy()
    for name in QUANTITIES:
        found[name] = both[f"{name}_second"] - both[f"{name}_first"]
    return found


def largest(found: pd.DataFrame, quantity: str = "cooperative_energy") -> pd.DataFrame:
    """The H-bond of every model at which a quantity differs most; models that share no done cell are left out."""
    sizes = found[quantity].abs().dropna()
    return found.loc[sizes.groupby(found["model"].loc[sizes.index], sort=False).idxmax()]
