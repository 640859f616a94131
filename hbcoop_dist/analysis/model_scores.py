"""Order models by their error at the reference's geometries, and say which of them that error can tell apart.

A reference has an error of its own. Two models whose errors differ by less than that share their ranks.

One row per model with what a reader asks first: how far from the reference, does it grow, does it hold together.

Nothing is averaged over what is missing: how many values went into a number stands beside it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hbcoop_dist.analysis.selection import DONE, done, readable
from hbcoop_dist.references import reference_energies

_AGREE = ("rimp2", "scs-mp2")
"""Methods either of which could be the reference; Hartree-Fock and double-zeta bases could not."""


def reference_width(reference: str = "rimp2:cc-pvtz:frozen-core", references: xr.Dataset | None = None) -> float:
    """How far other references of like standing are from one, kcal/mol.

    The largest root mean square difference of cooperative energies from `reference` among RI-MP2 and SCS-MP2 in
    triple-zeta bases, with counterpoise or without, at the same geometries. NaN when there is nothing to compare.

    Parameters
    ----------
    reference : str
        A level of theory of `references`.
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) when not given.
    """
    energies = (reference_energies() if references is None else references)["cooperative_energy"]
    if reference not in energies["model"].values:
        return float("nan")
    # a bare dimer has nothing to cooperate with, so that every level agrees on its zero
    energies = energies.where((energies["length"] > 2) | (energies["capping"] != "none"))
    known = energies.sel(model=reference, drop=True)
    widths = [float("nan")]
    for model in map(str, energies["model"].values):
        if model.split(":")[0] in _AGREE and "pvtz" in model and model != reference:
            squares = ((energies.sel(model=model, drop=True) - known) ** 2).values
            if np.isfinite(squares).any():
                widths.append(float(np.sqrt(np.nanmean(squares))))
    return float(np.nanmax(widths)) if len(widths) > 1 else float("nan")


def ranks(errors: pd.Series, width: float) -> pd.DataFrame:
    """Best and worst rank that each model can have, given how well the reference itself is known.

    Parameters
    ----------
    errors : Series
        By model, kcal/mol; NaN where none is known.
    width : float
        Two errors closer than that are not told apart, kcal/mol.

    Returns
    -------
    DataFrame
        By model, columns ``best`` and ``worst``, from 1; NaN for a model without an error.
    """
    known = errors.dropna()
    found = pd.DataFrame(np.nan, index=errors.index, columns=["best", "worst"])
    for model, error in known.items():
        others = known.drop(model)
        found.loc[model, "best"] = 1 + int((others < error - width).sum())
        found.loc[model, "worst"] = 1 + int((others < error + width).sum())
    return found


_ASKED = ("pending", "skipped")
_BROKEN = ("broken-geometry",)
_SHORTEST_GROWTH = 5
"""The first length with a bond that has two neighbours on one side at least, beyond what n = 4 shows."""


def scores(
    ds: xr.Dataset,
    reference: str = "rimp2:cc-pvtz:frozen-core",
    statuses: Collection[str] = DONE,
    references: xr.Dataset | None = None,
) -> pd.DataFrame:
    """What a store says of each model, for bare and capped arcs at the first rotamer.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    reference : str
        Level of theory of `references` for the errors.
    statuses : collection of str
        Statuses whose values count as results.
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) when not given.

    Returns
    -------
    DataFrame
        By model: ``cells`` that were tried, ``done``, ``unbroken`` (share of those tried whose geometry held);
        ``rmse_there`` and ``rmse_own`` (kcal/mol, cooperative energies less the reference's, at the bundled geometries
        and at own minima) with ``compared_there`` and ``compared_own`` (H-bonds in them); ``terminal`` and ``middle``
        (kcal/mol, of the longest bare arc done whose ends do not meet) and ``length`` (its units); ``beyond``
        (kcal/mol, what units beyond the nearest neighbours add to the middle bond: its value at that length less that
        of n = 4); ``shortening`` (A, O..N of its middle bond less that of the isolated dimer). NaN where there is
        none.
    """
    if "arc" not in ds["pattern"].values:
        # one that nobody asked for is one that is not done
        ds = ds.sel(pattern=ds["pattern"].values[:1]).assign_coords(pattern=["arc"])
        ds = ds.assign(status=xr.full_like(readable(ds)["status"], "pending"))
    found = done(ds, statuses).isel(rotamer=0).sel(pattern="arc").compute()
    status = readable(ds)["status"].isel(rotamer=0).sel(pattern="arc")
    bundled = (reference_energies() if references is None else references)["cooperative_energy"]
    known = bundled.sel(model=reference, drop=True) if reference in bundled["model"].values else None
    rows = {}
    for model in map(str, ds["model"].values):
        here = status.sel(model=model).values.ravel()
        tried = here[~np.isin(here, _ASKED)]
        rows[model] = {
            "cells": len(tried),
            "done": int((tried == "done").sum()),
            "unbroken": float((~np.isin(tried, _BROKEN)).mean()) if len(tried) else np.nan,
            **_errors(found["cooperative_energy"].sel(model=model), known),
            **_longest(found, model),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _errors(energies: xr.DataArray, known: xr.DataArray | None) -> dict[str, float]:
    """Root mean square differences from the reference, each H-bond once."""
    parts = {"there": np.array([]), "own": np.array([])}
    if known is not None and energies["rotamer"].item() in known["rotamer"].values:
        reference = known.sel(pattern="arc", rotamer=energies["rotamer"].item(), drop=True)
        for geometry in reference["geometry"].values:
            values = reference.sel(geometry=geometry, drop=True)
            for label, name in (("there", str(geometry)), ("own", "own")):
                if name not in energies["geometry"].values or (label == "own" and parts["own"].size):
                    continue
                difference = energies.sel(geometry=name, drop=True) - values
                parts[label] = np.append(parts[label], _once(difference))
    found: dict[str, float] = {}
    for label, differences in parts.items():
        found[f"rmse_{label}"] = float(np.sqrt(np.mean(differences**2))) if differences.size else np.nan
        found[f"compared_{label}"] = int(differences.size)
    return found


def _once(difference: xr.DataArray) -> NDArray[np.float64]:
    """Known differences of bonds that have something to cooperate with; a trimer's middle is its head."""
    kept = []
    for length in difference["length"].values:
        for capping in difference["capping"].values:
            if length == 2 and capping == "none":
                continue
            positions = {2: ["head"], 3: ["head", "tail"]}.get(int(length), ["head", "middle", "tail"])
            kept.append(difference.sel(length=length, capping=capping, position=positions).values)
    values = np.concatenate(kept) if kept else np.array([])
    return np.asarray(values[np.isfinite(values)], dtype=float)


def _longest(found: xr.Dataset, model: str) -> dict[str, float]:
    """Of the longest bare arc at own minima: end and middle, what units beyond neighbours add, and distances."""
    nothing = dict.fromkeys(("length", "terminal", "middle", "beyond", "shortening"), np.nan)
    if "own" not in found["geometry"].values or "none" not in found["capping"].values:
        return nothing
    own = found.sel(model=model, geometry="own", capping="none")
    energy = own["cooperative_energy"]
    if "near_ring" in own:
        # a ring has no ends, and its middle bond more neighbours than the chain of its length
        energy = energy.where(own["near_ring"] != 1)
    lengths = energy["length"].values[np.isfinite(energy.sel(position="middle").values)]
    if not len(lengths):
        return nothing
    longest = int(lengths.max())
    last = energy.sel(length=longest)
    beyond = np.nan
    if longest >= _SHORTEST_GROWTH and 4 in lengths:
        beyond = float(last.sel(position="middle") - energy.sel(length=4, position="middle"))
    dimer = own["dimer_distance_on"].sel(
        conformer=str(own["position_conformer"].sel(length=longest, position="middle").item())
    )
    return {
        "length": longest,
        "terminal": float(last.sel(position=["head", "tail"]).max()),
        "middle": float(last.sel(position="middle")),
        "beyond": beyond,
        "shortening": float(own["distance_on"].sel(length=longest, position="middle") - dimer),
    }
