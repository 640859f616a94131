"""What others printed of a model, and what a store has for it: inside their range or not.

The paper gives ranges for families of models (ANI, MACE-OFF), not values for each: a model of a family is held against
its family's range.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.selection import DONE, done
from hbcoop_dist.references import published_values

_MEMBERS = {"ani": "ani-", "mace-off": "mace-off", "orb-v3": "orb-v3", "orb-v2": "orb-v2", "orb-d3-v2": "orb-d3-v2"}
_ADDITIVE = ("amber14", "charmm36")
_ENDS = ("head", "tail")
WITHIN = 0.1
"""kcal/mol; one in the last digit that the paper prints."""


def beside_published(ds: xr.Dataset, statuses: Collection[str] = DONE) -> pd.DataFrame:
    """Printed cooperative energies of models that a store has, and the store's at own minima; kcal/mol.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    DataFrame
        One row per model and printed number: ``model``, ``what`` (as the text says it), ``low`` and ``high``,
        ``here`` and ``inside`` (within `WITHIN`); chains whose ends meet are left out, the first rotamer counts.
    """
    rows = published_values()
    rows = rows[(rows["quantity"] == "cooperative_energy") & (rows["model"] != "qm") & rows["capping"].notna()]
    empty = pd.DataFrame(columns=["model", "what", "low", "high", "here", "inside"])
    if "own" not in ds["geometry"].values:
        return empty
    found = done(ds, statuses).sel(geometry="own").isel(rotamer=0)
    energy = found["cooperative_energy"]
    if "near_ring" in found:
        energy = energy.where(found["near_ring"] != 1)
    energy = energy.compute()
    pairs = [
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
        for model in _members(str(row["model"]), [str(name) for name in energy["model"].values])
        if np.isfinite(value := _value(energy.sel(model=model), row))
    ]
    return pd.DataFrame(pairs, columns=empty.columns) if pairs else empty


def _members(name: str, models: list[str]) -> list[str]:
    if name == "additive":
        return [model for model in models if model in _ADDITIVE]
    return [model for model in models if model.startswith(_MEMBERS.get(name, name))]


def _value(energy: xr.DataArray, row: pd.Series) -> float:
    """The largest of the bonds and lengths that a printed number speaks of; NaN where the store has none."""
    if row["pattern"] not in energy["pattern"].values or row["capping"] not in energy["capping"].values:
        return float("nan")
    part = energy.sel(pattern=row["pattern"], capping=row["capping"])
    if pd.notna(row["length"]):
        if int(row["length"]) not in part["length"].values:
            return float("nan")
        part = part.sel(length=[int(row["length"])])
    if pd.notna(row["position"]):
        part = part.sel(position=list(_ENDS) if row["position"] == "terminal" else [row["position"]])
    known = part.values[np.isfinite(part.values)]
    return float(known.max()) if known.size else float("nan")
