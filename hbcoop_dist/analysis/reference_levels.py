"""The yardstick and its own precision: MP2 by level at the bundled geometries, and models beside it.

Tables of numbers only; ``analysis/yardstick.py`` writes them as docs/yardstick.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.selection import done
from hbcoop_dist.references import reference_energies, reference_runs

PLACES: Mapping[str, Mapping[str, str | int]] = {
    "n = 3, head": {"length": 3, "capping": "none", "position": "head"},
    "n = 3, tail": {"length": 3, "capping": "none", "position": "tail"},
    "n = 4, middle": {"length": 4, "capping": "none", "position": "middle"},
    "capped dimer": {"length": 2, "capping": "water", "position": "head"},
}
"""H-bonds of the table, all of arc chains."""
_DIMER: Mapping[str, str | int] = {"length": 2, "capping": "none", "position": "head"}


def by_level(quantity: str = "cooperative_energy", references: xr.Dataset | None = None) -> pd.DataFrame:
    """Cooperative energies of references by level of theory, kcal/mol.

    Parameters
    ----------
    quantity : {"cooperative_energy", "cooperative_energy_electronic", "cooperative_energy_geometric"}
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) when not given.

    Returns
    -------
    DataFrame
        One row per (geometry, rotamer, model) that has a value, one column per place of `PLACES`, and the dimer's
        interaction energy.
    """
    energies = (reference_energies() if references is None else references).sel(pattern="arc", drop=True)
    columns = {place: _at(energies[quantity], where).to_series().rename(place) for place, where in PLACES.items()}
    columns["dimer V"] = _at(energies["interaction_energy_dimer"], _DIMER).to_series()
    table = pd.DataFrame(columns)
    return table.reorder_levels(["geometry", "rotamer", "model"]).dropna(how="all").sort_index(level=[0, 1])


def beside_models(ds: xr.Dataset, geometry: str) -> pd.DataFrame:
    """Cooperative energies of a store's models at a bundled geometry and at their own minima, kcal/mol.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset with `geometry` and ``own``.
    geometry : str
        Name of a bundled set of geometries.

    Returns
    -------
    DataFrame
        One row per model that has a value, columns (place, ``there``) and (place, ``own``).

    Raises
    ------
    ValueError
        When the store lacks one of the geometries.
    """
    for name in (geometry, "own"):
        if name not in ds["geometry"].values:
            found = ", ".join(str(label) for label in ds["geometry"].values)
            raise ValueError(f"expected geometry {name} in the store, found {found}")
    energies = done(ds[["cooperative_energy", "status"]])["cooperative_energy"].sel(pattern="arc", drop=True)
    energies = energies.isel(rotamer=0, drop=True)
    table = pd.DataFrame(
        {
            (place, label): _at(energies.sel(geometry=name, drop=True), where).to_series()
            for place, where in PLACES.items()
            for label, name in (("there", geometry), ("own", "own"))
        }
    )
    return table.reindex([str(name) for name in ds["model"].values]).dropna(how="all")


def wall_times() -> pd.DataFrame:
    """Seconds of the fragments of every chain and level of the bundled references, and on what.

    Returns
    -------
    DataFrame
        One row per (geometry, rotamer, level, machine), one column per chain.
    """
    runs = reference_runs()
    runs["level"] = runs["basis"] + runs["counterpoise"].map({True: ", counterpoise", False: ""})
    capped = runs["capping"].map(lambda capping: ", capped" if capping == "water" else "")
    runs["chain"] = "n = " + runs["length"].astype(str) + capped
    return runs.pivot_table(values="seconds", index=["geometry", "rotamer", "level", "machine"], columns="chain")


def _at(values: xr.DataArray, where: Mapping[str, str | int]) -> xr.DataArray:
    missing = [name for name, label in where.items() if label not in values[name].values]
    if missing:
        return values.isel(dict.fromkeys(where, 0), drop=True).where(False)
    return values.sel(where, drop=True)
