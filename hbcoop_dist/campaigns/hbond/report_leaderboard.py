"""Leaderboard of a report on hydrogen-bonded chains: one row per model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis import scores
from hbcoop_dist.analysis.growth_fits import CLOSE, growth
from hbcoop_dist.analysis.model_scores import ranks, reference_width
from hbcoop_dist.analysis.report_content import Table
from hbcoop_dist.analysis.selection import done
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models import cards

DEFAULT_REFERENCE = "rimp2:cc-pvtz:frozen-core"
"""Reference level that models are compared with unless another one is named."""
FLAT = 0.1
"""kcal/mol; smaller changes beyond n = 4 do not count as growth, smaller values at n = 4 not as cooperativity."""
_LARGEST_ERROR = 0.5
"""kcal/mol; asymptotes with a larger standard error are not shown."""


def leaderboard(ds: xr.Dataset, reference: str, references: xr.Dataset) -> Table:
    """Errors, growth and geometry of every model of a store.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.
    reference : str
        Reference level of the errors.
    references : xarray.Dataset
        Reference energies.

    Returns
    -------
    Table
    """
    by_model = scores(ds, reference, references=references)
    width = reference_width(reference, references)
    # without a second level to compare with, the reference level is taken as exact
    rank_ranges = ranks(by_model["rmse_there"], 0.0 if np.isnan(width) else width)
    saturation, asymptote = _growth_of_middle(ds)
    levels_of_theory = {name: card.about.level_of_theory for name, card in cards().items()}
    frame = pd.DataFrame({"model": by_model.index})
    frame["rank"] = [_rank_range(best, worst) for best, worst in rank_ranges.itertuples(index=False)]
    frame["RMSE, same geometry"] = by_model["rmse_there"].values
    frame["RMSE, own minimum"] = by_model["rmse_own"].values
    frame["capped dimer"] = _energy_of_arc(ds, 2, "water", "head")
    frame["middle, n = 4"] = _energy_of_arc(ds, 4, "none", "middle")
    frame["middle, longest"] = by_model["middle"].values
    frame["units"] = by_model["length"].values
    frame["growth beyond n = 4"] = by_model["beyond"].values
    frame["flat from"] = saturation
    frame["asymptote"] = asymptote
    frame["ends, longest"] = by_model["terminal"].values
    frame["O..N change, A"] = by_model["shortening"].values
    frame["unbroken, %"] = (100 * by_model["unbroken"]).values
    frame["cells"] = by_model["cells"].values
    frame["level of theory"] = [levels_of_theory.get(name, "") for name in by_model.index]
    digits = {"units": 0, "flat from": 0, "unbroken, %": 0, "cells": 0, "O..N change, A": 3}
    return Table("leaderboard", "Leaderboard", _caption(reference, references, width), frame, column_digits=digits)


def _caption(reference: str, references: xr.Dataset, width: float) -> str:
    source = references.attrs.get("source")
    origin = f" References are the bundled ones and those of `{source}`." if source else ""
    uncertainty = (
        "no comparable reference level is available, so its uncertainty is not known and ranks take it as exact"
        if np.isnan(width)
        else f"comparable reference levels differ from it by up to {width:.2f} (root mean square), and models whose "
        "errors differ by less than that share their ranks"
    )
    return (
        f"Bare arcs at own minima unless stated otherwise, kcal/mol. Errors are relative to `{reference}`, each H-bond "
        f"counted once; {uncertainty}.{origin} `middle, longest`: middle H-bond of the longest chain that is not a "
        "near-ring, of so many `units`. `growth beyond n = 4`: its increase relative to n = 4, where the bond has one "
        f"neighbour on either side. `flat from`: length from which on all values lie within {CLOSE:g} of the longest "
        f"chain's; empty where only the longest does, or no value reaches {FLAT:g}. `asymptote`: limit of an "
        "exponential fitted to all lengths. `O..N change`: distance in the chain minus that of the isolated dimer. "
        "`unbroken, %`: share of the arcs calculated (`cells`: all lengths, caps and geometries) that kept their "
        "H-bonds; linear chains are in the table of convergence. The paper's MP2 values are 2.5 for the capped dimer, "
        "2.8 for the middle at n = 4, and at most 4.2 in the middle and 2.2 at the ends. Missing values are empty."
    )


def _rank_range(best: float, worst: float) -> str:
    if not np.isfinite(best):
        return ""
    return f"{best:.0f}" if best == worst else f"{best:.0f} to {worst:.0f}"


def _energy_of_arc(ds: xr.Dataset, length: int, capping: str, position: str) -> FloatArray:
    """Cooperative energy of one H-bond by model, kcal/mol; NaN where the store does not have it."""
    labels = {"length": length, "capping": capping, "position": position, "pattern": "arc", "geometry": "own"}
    if any(label not in ds[dim].values for dim, label in labels.items()):
        return np.full(ds.sizes["model"], np.nan)
    energies = done(ds[["cooperative_energy", "status"]])["cooperative_energy"].sel(labels).isel(rotamer=0)
    return np.asarray(energies.values, dtype=float)


def growth_of_arcs(ds: xr.Dataset) -> xr.Dataset | None:
    """Growth of the middle H-bond of bare arcs at own minima, without near-rings, at the first rotamer.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    xarray.Dataset or None
        The variables of `hbcoop_dist.analysis.growth_fits.growth` and ``cooperative_energy`` (kcal/mol), dims model,
        length and shape. The saturation length is NaN where no value reaches `FLAT`. None when the store has no bare
        arcs at own minima.
    """
    labels = {"pattern": "arc", "capping": "none", "geometry": "own"}
    if any(label not in ds[dim].values for dim, label in labels.items()):
        return None
    arcs = ds[["cooperative_energy", "status", "position_conformer"]]
    if "near_ring" in ds:
        arcs = arcs.assign(cooperative_energy=ds["cooperative_energy"].where(ds["near_ring"] != 1))
    arcs = arcs.sel({dim: [label] for dim, label in labels.items()})
    energy = done(arcs[["cooperative_energy", "status"]])["cooperative_energy"]
    fits = growth(arcs)
    saturation = fits["saturation_length"].where(abs(energy).max("length") >= FLAT)
    fits = fits.assign(saturation_length=saturation, cooperative_energy=energy)
    return fits.isel({**dict.fromkeys(labels, 0), "rotamer": 0}, drop=True).sel(position="middle", drop=True)


def _growth_of_middle(ds: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Saturation length and asymptote (kcal/mol) of the middle H-bond by model, NaN where not determined."""
    fits = growth_of_arcs(ds)
    if fits is None:
        return np.full(ds.sizes["model"], np.nan), np.full(ds.sizes["model"], np.nan)
    fits = fits.sel(shape="exponential")
    asymptote = fits["asymptote"].where(fits["asymptote_error"] < _LARGEST_ERROR)
    return np.asarray(fits["saturation_length"].values, dtype=float), np.asarray(asymptote.values, dtype=float)


def asymptote_text(value: float, error: float) -> str:
    """Asymptote with its standard error, empty when the fit does not determine it.

    Parameters
    ----------
    value, error : float
        kcal/mol.

    Returns
    -------
    str
    """
    return f"{value:.2f} ± {error:.2f}" if np.isfinite(value) and error < _LARGEST_ERROR else ""
