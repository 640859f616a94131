"""Compare the models of a store with the values that papers print for them.

Papers give ranges for families of models (ANI, MACE-OFF); each model is compared with the range of its family.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.selection import DONE, done
from hbcoop_dist.references import published_values

WITHIN = 0.1
"""kcal/mol; one in the last digit that Feng, Xu and Huang (2025) print."""
_FAMILY_PREFIXES = {
    "ani": "ani-",
    "mace-off": "mace-off",
    "orb-v3": "orb-v3",
    "orb-v2": "orb-v2",
    "orb-d3-v2": "orb-d3-v2",
}
_ADDITIVE = ("amber14", "charmm36")
_COLUMNS = ["model", "what", "low", "high", "here", "inside"]


def beside_published(ds: xr.Dataset, statuses: Collection[str] = DONE) -> pd.DataFrame:
    """Tabulate published cooperative energies beside those of a store at own minima.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    DataFrame
        One row per model and published number: ``model``, ``what`` (description of the number), ``low``, ``high``
        and ``here`` (published range and the store's value, kcal/mol), ``inside`` (within `WITHIN` of the range).
        Values are those of the first rotamer; near-rings are left out.
    """
    rows = published_values()
    rows = rows[(rows["quantity"] == "cooperative_energy") & (rows["model"] != "qm") & rows["capping"].notna()]
    if "own" not in ds["geometry"].values:
        return pd.DataFrame(columns=_COLUMNS)
    masked = done(ds, statuses).sel(geometry="own").isel(rotamer=0)
    energy = masked["cooperative_energy"]
    if "near_ring" in masked:
        energy = energy.where(masked["near_ring"] != 1)
    energy = energy.compute()
    models = [str(name) for name in energy["model"].values]
    compared = [
        {
            "model": model,
            "what": f"{row['capping'].replace('none', 'bare').replace('water', 'capped')} {row['pattern']}: "
            f"{row['what the text says']}",
            "low": row["low"],
            "high": row["high"],
            "here": value,
            "inside": bool(row["low"] - WITHIN <= value <= row["high"] + WITHIN),
        }
        for _, row in rows.iterrows()
        for model in _members(str(row["model"]), models)
        if np.isfinite(value := _value(energy.sel(model=model), row))
    ]
    return pd.DataFrame(compared, columns=_COLUMNS)


def _members(family: str, models: Sequence[str]) -> list[str]:
    if family == "additive":
        return [model for model in models if model in _ADDITIVE]
    return [model for model in models if model.startswith(_FAMILY_PREFIXES.get(family, family))]


def _value(energy: xr.DataArray, row: pd.Series) -> float:
    """Largest value of the bonds and lengths that a published number refers to; NaN where the store has none."""
    if row["pattern"] not in energy["pattern"].values or row["capping"] not in energy["capping"].values:
        return float("nan")
    part = energy.sel(pattern=row["pattern"], capping=row["capping"])
    if pd.notna(row["length"]):
        if int(row["length"]) not in part["length"].values:
            return float("nan")
        part = part.sel(length=[int(row["length"])])
    if pd.notna(row["position"]):
        part = part.sel(position=["head", "tail"] if row["position"] == "terminal" else [row["position"]])
    finite = part.values[np.isfinite(part.values)]
    return float(finite.max()) if finite.size else float("nan")
