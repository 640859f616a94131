"""Compare the models of a store with reference energies by level of theory, and with values printed in papers.

At its own minima a model errs in geometry and in energy at once; at the geometries of a reference in energy alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.selection import DONE, done, readable
from hbcoop_dist.core.failures import suggestion
from hbcoop_dist.references import published_values, reference_energies, reference_runs

PLACES: Mapping[str, Mapping[str, str | int]] = {
    "n = 3, head": {"length": 3, "capping": "none", "position": "head"},
    "n = 3, tail": {"length": 3, "capping": "none", "position": "tail"},
    "n = 4, middle": {"length": 4, "capping": "none", "position": "middle"},
    "capped dimer": {"length": 2, "capping": "water", "position": "head"},
}
"""H-bonds of the reference tables, all of arc chains."""
_DIMER: Mapping[str, str | int] = {"length": 2, "capping": "none", "position": "head"}
_DIMS = ("model", "pattern", "length", "capping", "rotamer", "position")
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


class ComparisonError(ValueError):
    """Models cannot be compared with the given reference; the message names what was expected and found."""


def same_geometry(ds: xr.Dataset, reference: str, geometry: str, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Cooperative energies of all models at one set of geometries, beside a reference and their own minima.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    reference : str
        Model that the others are compared with.
    geometry : str
        Label of the geometry axis other than ``own``.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        kcal/mol, dims (model, pattern, length, capping, rotamer, position): ``same``, ``difference`` (same less the
        reference's value there) and ``own`` (at the model's own minimum); ``reference`` without the dim model.

    Raises
    ------
    ComparisonError
        When the store has no such model or geometry.
    """
    for dim, label in (("model", reference), ("geometry", geometry)):
        if label not in (axis := [str(value) for value in ds[dim].values]):
            raise ComparisonError(f"expected a {dim} of the store ({', '.join(axis)}), found {label}")
    # given geometries do not depend on the constraint
    energies = done(ds[["cooperative_energy", "status"]], statuses)["cooperative_energy"].isel(constraint=0, drop=True)
    same = energies.sel(geometry=geometry, drop=True).transpose(*_DIMS)
    reference_values = same.sel(model=reference, drop=True)
    own = (
        energies.sel(geometry="own", drop=True).transpose(*_DIMS)
        if "own" in ds["geometry"].values
        else xr.full_like(same, np.nan)
    )
    return xr.Dataset(
        {"reference": reference_values, "same": same, "difference": same - reference_values, "own": own},
        attrs={"reference": reference, "geometry": geometry},
    )


def with_references(ds: xr.Dataset, reference: str) -> xr.Dataset:
    """Add the energies of a bundled reference to those of a store that does not have it.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    reference : str
        Model of the store, or level of theory of the bundled references.

    Returns
    -------
    xarray.Dataset
        ``cooperative_energy`` (kcal/mol) and ``status``, with `reference` on the model axis.

    Raises
    ------
    ComparisonError
        When neither the store nor the package has such a model, or they share no geometry.
    """
    energies = ds[["cooperative_energy", "status"]].isel(constraint=[0])
    models = [str(name) for name in ds["model"].values]
    bundled = reference_energies()
    if reference in models:
        return energies
    levels = [str(name) for name in bundled["model"].values]
    if reference not in levels:
        raise ComparisonError(
            f"expected a model of the store ({', '.join(models)}), or a bundled one ({', '.join(levels)}), found "
            f"{reference}" + suggestion(reference, [*models, *levels])
        )
    labels = [str(name) for name in ds["geometry"].values]
    if not any(name in bundled["geometry"].values for name in labels):
        sets = [str(name) for name in bundled["geometry"].values]
        raise ComparisonError(
            f"expected one of the geometries that {reference} is bundled for ({', '.join(sets)}) among those of the "
            f"store, found {', '.join(labels)}; give the campaign geometry: [own, {sets[0]}]"
        )
    row = bundled[["cooperative_energy", "status"]].sel(model=[reference])
    row = row.reindex({name: energies[name] for name in _DIMS[1:]} | {"geometry": energies["geometry"]})
    row = row.expand_dims(constraint=energies["constraint"].values)
    row["status"] = row["status"].where(row["status"].notnull(), "pending")
    return xr.concat([readable(energies), row], "model", combine_attrs="override")


def by_level(quantity: str = "cooperative_energy", references: xr.Dataset | None = None) -> pd.DataFrame:
    """Tabulate reference energies by level of theory.

    Parameters
    ----------
    quantity : {"cooperative_energy", "cooperative_energy_electronic", "cooperative_energy_geometric"}
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) by default.

    Returns
    -------
    DataFrame
        kcal/mol. One row per (geometry, rotamer, model) with a value, one column per bond of `PLACES`, and the
        dimer's interaction energy (``dimer V``).
    """
    energies = (reference_energies() if references is None else references).sel(pattern="arc", drop=True)
    columns = {place: _at(energies[quantity], labels).to_series().rename(place) for place, labels in PLACES.items()}
    columns["dimer V"] = _at(energies["interaction_energy_dimer"], _DIMER).to_series()
    table = pd.DataFrame(columns)
    return table.reorder_levels(["geometry", "rotamer", "model"]).dropna(how="all").sort_index(level=[0, 1])


def beside_models(ds: xr.Dataset, geometry: str) -> pd.DataFrame:
    """Tabulate the models of a store at a bundled set of geometries and at their own minima.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store with the geometries `geometry` and ``own``.
    geometry : str
        Name of a bundled set of geometries.

    Returns
    -------
    DataFrame
        kcal/mol. One row per model with a value, columns (place, ``there``) and (place, ``own``) for the bonds of
        `PLACES`.

    Raises
    ------
    ValueError
        When the store lacks one of the geometries.
    """
    for name in (geometry, "own"):
        if name not in ds["geometry"].values:
            labels = ", ".join(str(label) for label in ds["geometry"].values)
            raise ValueError(f"expected geometry {name} in the store, found {labels}")
    energies = done(ds[["cooperative_energy", "status"]])["cooperative_energy"].sel(pattern="arc", drop=True)
    energies = energies.isel(rotamer=0, constraint=0, drop=True)
    table = pd.DataFrame(
        {
            (place, heading): _at(energies.sel(geometry=name, drop=True), labels).to_series()
            for place, labels in PLACES.items()
            for heading, name in (("there", geometry), ("own", "own"))
        }
    )
    return table.reindex([str(name) for name in ds["model"].values]).dropna(how="all")


def wall_times() -> pd.DataFrame:
    """Tabulate the wall times of the bundled reference computations.

    Returns
    -------
    DataFrame
        Seconds. One row per (geometry, rotamer, level, machine), one column per chain.
    """
    runs = reference_runs()
    runs["level"] = runs["basis"] + runs["counterpoise"].map({True: ", counterpoise", False: ""})
    capped = runs["capping"].map(lambda capping: ", capped" if capping == "water" else "")
    runs["chain"] = "n = " + runs["length"].astype(str) + capped
    return runs.pivot_table(values="seconds", index=["geometry", "rotamer", "level", "machine"], columns="chain")


def _at(values: xr.DataArray, labels: Mapping[str, str | int]) -> xr.DataArray:
    """Values at some labels; NaN where an axis lacks one."""
    if any(label not in values[dim].values for dim, label in labels.items()):
        return values.isel(dict.fromkeys(labels, 0), drop=True).where(False)
    return values.sel(labels, drop=True)


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
    masked = done(ds, statuses).sel(geometry="own").isel(rotamer=0, constraint=0)
    energy = masked["cooperative_energy"]
    if "near_ring" in masked:
        energy = energy.where(masked["near_ring"] != 1)
    energy = energy.compute()
    models = [str(name) for name in energy["model"].values]
    compared = [
        {
            "model": model,
            "what": f"{row['capping'].replace('none', 'bare').replace('water', 'capped')} {row['pattern']}: "
            f"{row['statement']}",
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
