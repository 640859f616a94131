"""Score each model of a store against the reference, with the ranks that errors support, and compare two stores.

A reference has an uncertainty of its own: models whose errors differ by less share their ranks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.exports import QUANTITIES, tidy
from hbcoop_dist.analysis.selection import DONE, done, readable
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.references import reference_energies
from hbcoop_dist.structures.chains import CELL_DIMS

REFERENCE = "rimp2:cc-pvtz:frozen-core"
"""Level of theory that models are compared with by default."""
_COMPARABLE_METHODS = ("rimp2", "scs-mp2")
"""Methods as good as the reference; Hartree-Fock and double-zeta bases are not."""
_NOT_RUN = ("pending", "skipped")
_SHORTEST_GROWTH = 5
"""Shortest chain whose middle bond has two neighbours on one side."""
_BOND = [*CELL_DIMS, "hbond"]
_BOND_IN_ROTAMERS = ["model", "pattern", "length", "capping", "geometry", "constraint", "hbond"]


def reference_width(reference: str = REFERENCE, references: xr.Dataset | None = None) -> float:
    """Uncertainty of a reference: the largest RMS difference between it and comparable levels of theory.

    Comparable are RI-MP2 and SCS-MP2 in triple-zeta bases, with counterpoise or without, at the same geometries.

    Parameters
    ----------
    reference : str
        Level of theory in `references`.
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) by default.

    Returns
    -------
    float
        kcal/mol; NaN when there is no comparable level.
    """
    energies = (reference_energies() if references is None else references)["cooperative_energy"]
    if reference not in energies["model"].values:
        return float("nan")
    # the cooperative energy of a bare dimer is zero at every level
    energies = energies.where((energies["length"] > 2) | (energies["capping"] != "none"))
    reference_values = energies.sel(model=reference, drop=True)
    widths = [float("nan")]
    for model in map(str, energies["model"].values):
        if model.split(":")[0] in _COMPARABLE_METHODS and "pvtz" in model and model != reference:
            squares = ((energies.sel(model=model, drop=True) - reference_values) ** 2).values
            if np.isfinite(squares).any():
                widths.append(float(np.sqrt(np.nanmean(squares))))
    return float(np.nanmax(widths)) if len(widths) > 1 else float("nan")


def ranks(errors: pd.Series, width: float) -> pd.DataFrame:
    """Best and worst rank of each model, given the uncertainty of the reference.

    Parameters
    ----------
    errors : Series
        Error of each model, kcal/mol; NaN where unknown.
    width : float
        Smallest difference of two errors that orders them, kcal/mol.

    Returns
    -------
    DataFrame
        Indexed by model, columns ``best`` and ``worst``, counted from 1; NaN for a model without an error.
    """
    finite = errors.dropna()
    table = pd.DataFrame(np.nan, index=errors.index, columns=["best", "worst"])
    for model, error in finite.items():
        others = finite.drop(model)
        table.loc[model, "best"] = 1 + int((others < error - width).sum())
        table.loc[model, "worst"] = 1 + int((others < error + width).sum())
    return table


def scores(
    ds: xr.Dataset,
    reference: str = REFERENCE,
    statuses: Collection[str] = DONE,
    references: xr.Dataset | None = None,
) -> pd.DataFrame:
    """Score each model on bare and capped arcs in the first rotamer.

    Missing values are left out of every mean, and the number of values is given beside it.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    reference : str
        Level of theory in `references` that errors refer to.
    statuses : collection of str
        Statuses whose values count as results.
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) by default.

    Returns
    -------
    DataFrame
        Indexed by model; NaN where unknown:

        ``cells``, ``done``, ``unbroken``
            Cells that were run, those that are done, and the fraction of those run whose geometry is not broken.
        ``rmse_there``, ``rmse_own``, ``compared_there``, ``compared_own``
            RMS difference from the reference (kcal/mol) at the bundled geometries and at own minima, and the number
            of H-bonds in each.
        ``length``, ``terminal``, ``middle``
            Units of the longest done bare arc that is no near-ring, and the cooperative energy of its end and middle
            bonds (kcal/mol).
        ``beyond``
            Its middle value less that of four units (kcal/mol): the share of units beyond the nearest neighbours.
        ``shortening``
            O..N distance of its middle bond less that of the isolated dimer (A).
    """
    if "arc" not in ds["pattern"].values:
        ds = ds.sel(pattern=ds["pattern"].values[:1]).assign_coords(pattern=["arc"])
        ds = ds.assign(status=xr.full_like(readable(ds)["status"], "pending"))
    arcs = done(ds, statuses).isel(rotamer=0, constraint=0).sel(pattern="arc").compute()
    status = readable(ds)["status"].isel(rotamer=0, constraint=0).sel(pattern="arc")
    bundled = (reference_energies() if references is None else references)["cooperative_energy"]
    reference_values = bundled.sel(model=reference, drop=True) if reference in bundled["model"].values else None
    rows = {}
    for model in map(str, ds["model"].values):
        words = status.sel(model=model).values.ravel()
        run = words[~np.isin(words, _NOT_RUN)]
        rows[model] = {
            "cells": len(run),
            "done": int((run == "done").sum()),
            "unbroken": float((run != "broken-geometry").mean()) if len(run) else np.nan,
            **_errors(arcs["cooperative_energy"].sel(model=model), reference_values),
            **_longest(arcs, model),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _errors(energies: xr.DataArray, reference: xr.DataArray | None) -> dict[str, float]:
    """RMS differences from the reference, and how many H-bonds they cover."""
    differences: dict[str, FloatArray] = {"there": np.zeros(0), "own": np.zeros(0)}
    if reference is not None and energies["rotamer"].item() in reference["rotamer"].values:
        arcs = reference.sel(pattern="arc", rotamer=energies["rotamer"].item(), drop=True)
        for geometry in arcs["geometry"].values:
            values = arcs.sel(geometry=geometry, drop=True)
            for column, name in (("there", str(geometry)), ("own", "own")):
                if name not in energies["geometry"].values or (column == "own" and differences["own"].size):
                    continue
                difference = energies.sel(geometry=name, drop=True) - values
                differences[column] = np.append(differences[column], _distinct_bonds(difference))
    row: dict[str, float] = {}
    for column, errors in differences.items():
        row[f"rmse_{column}"] = float(np.sqrt(np.mean(errors**2))) if errors.size else np.nan
        row[f"compared_{column}"] = int(errors.size)
    return row


def _distinct_bonds(difference: xr.DataArray) -> FloatArray:
    """Finite differences, every H-bond once: a trimer's middle bond is its head; a bare dimer has no environment."""
    parts = []
    for length in difference["length"].values:
        for capping in difference["capping"].values:
            if length == 2 and capping == "none":
                continue
            positions = {2: ["head"], 3: ["head", "tail"]}.get(int(length), ["head", "middle", "tail"])
            parts.append(difference.sel(length=length, capping=capping, position=positions).values)
    values = np.concatenate(parts) if parts else np.zeros(0)
    return np.asarray(values[np.isfinite(values)], dtype=float)


def _longest(arcs: xr.Dataset, model: str) -> dict[str, float]:
    """Values of the longest bare arc of a model at own minima."""
    missing = dict.fromkeys(("length", "terminal", "middle", "beyond", "shortening"), np.nan)
    if "own" not in arcs["geometry"].values or "none" not in arcs["capping"].values:
        return missing
    own = arcs.sel(model=model, geometry="own", capping="none")
    energy = own["cooperative_energy"]
    if "near_ring" in own:
        # a ring has no ends, and its middle bond more neighbours than the chain of its length
        energy = energy.where(own["near_ring"] != 1)
    lengths = energy["length"].values[np.isfinite(energy.sel(position="middle").values)]
    if not len(lengths):
        return missing
    longest = int(lengths.max())
    last = energy.sel(length=longest)
    beyond = np.nan
    if longest >= _SHORTEST_GROWTH and 4 in lengths:
        beyond = float(last.sel(position="middle") - energy.sel(length=4, position="middle"))
    conformer = str(own["position_conformer"].sel(length=longest, position="middle").item())
    dimer = own["dimer_distance_on"].sel(conformer=conformer)
    return {
        "length": longest,
        "terminal": float(last.sel(position=["head", "tail"]).max()),
        "middle": float(last.sel(position="middle")),
        "beyond": beyond,
        "shortening": float(own["distance_on"].sel(length=longest, position="middle") - dimer),
    }


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
        Indexed by model, pattern, length, capping, geometry, constraint and H-bond (from 1). Columns: one per rotamer,
        in the store's units, NaN where the cell is not done; ``spread``, the largest less the smallest of them, NaN
        fewer than two are done; ``saddles``, the rotamers in which the chain is a saddle, separated by
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
