"""One row per model: what a reader sorts by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hbcoop_dist.analysis import scores
from hbcoop_dist.analysis.growth_fits import CLOSE, growth
from hbcoop_dist.analysis.model_scores import ranks, reference_width
from hbcoop_dist.analysis.selection import done
from hbcoop_dist.models import ModelCard, cards
from hbcoop_dist.report.content import Table
from hbcoop_dist.report.sentences import FLAT

FloatArray = NDArray[np.float64]
_PINNED = 0.5
"""kcal/mol; the largest standard error of an asymptote that is shown."""
REFERENCE = "rimp2:cc-pvtz:frozen-core"


def leaderboard(ds: xr.Dataset, reference: str, references: xr.Dataset) -> Table:
    """Errors, growth and geometry of every model of a store.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    reference : str
        Level of theory that the errors are against.
    references : xarray.Dataset
        Its energies, and those of others.
    """
    found, width = scores(ds, reference, references=references), reference_width(reference, references)
    # a reference that nothing else is compared with is taken at its word
    known = 0.0 if np.isnan(width) else width
    source = references.attrs.get("source")
    beside = f" References are those that come with the package and those of `{source}`." if source else ""
    certain = (
        "how far levels of theory of like standing differ from it is not known, so ranks take it at its word"
        if np.isnan(width)
        else f"levels of theory of like standing differ from it by up to {width:.2f} (root mean square), so models "
        "whose errors are closer than that share their ranks"
    )
    order = ranks(found["rmse_there"], known)
    rows = pd.DataFrame({"model": found.index})
    rows["rank"] = [_span(low, high) for low, high in order.itertuples(index=False)]
    rows["RMSE, same geometry"] = found["rmse_there"].values
    rows["RMSE, own minimum"] = found["rmse_own"].values
    rows["capped dimer"] = _at(ds, 2, "water", "head")
    rows["middle, n = 4"] = _at(ds, 4, "none", "middle")
    rows["middle, longest"] = found["middle"].values
    rows["units"] = found["length"].values
    rows["growth beyond n = 4"] = found["beyond"].values
    rows["flat from"], rows["tends to"] = _growth(ds)
    rows["ends, longest"] = found["terminal"].values
    rows["O..N change, A"] = found["shortening"].values
    rows["unbroken, %"] = (100 * found["unbroken"]).values
    rows["cells"] = found["cells"].values
    rows["fitted to"] = [_card_field(name, "level_of_theory") for name in found.index]
    words = (
        f"Bare arcs at own minima unless it says otherwise, kcal/mol. Errors are against `{reference}`, each H-bond "
        f"once; {certain}.{beside} `middle, longest` is the middle H-bond of the longest chain whose ends do not "
        "meet, `units` its length; `growth beyond n = 4` what units beyond the nearest neighbours add to it; `flat "
        f"from` the length from which on every value lies within {CLOSE:g} of the longest chain's, empty where only "
        f"that one does, or none is as large as {FLAT:g}; `tends to` the end of an exponential through all lengths; "
        "`O..N change` how the bond's length differs from the dimer's; `unbroken, %` how many of the arcs that were "
        "tried (`cells`: every length, caps and geometry; linear chains are in the table of convergence) kept their "
        "H-bonds. The paper's MP2 has 2.5 for the capped dimer, 2.8 in the middle of n = 4, 4.2 at the most in the "
        "middle and 2.2 at the ends. What is missing stays empty."
    )
    places = {"units": 0, "flat from": 0, "unbroken, %": 0, "cells": 0, "O..N change, A": 3}
    return Table("leaderboard", "Leaderboard", words, rows, places=places)


def card_of(name: str) -> ModelCard | None:
    """The card of a registered model; None for a checkpoint that only its campaign knows."""
    return cards().get(name)


def _card_field(name: str, field: str) -> str:
    found = card_of(name)
    return "" if found is None else str(getattr(found, field))


def _span(low: float, high: float) -> str:
    if not np.isfinite(low):
        return ""
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _at(ds: xr.Dataset, length: int, capping: str, position: str) -> FloatArray:
    place = {"length": length, "capping": capping, "position": position, "pattern": "arc", "geometry": "own"}
    if any(label not in ds[dim].values for dim, label in place.items()):
        return np.full(ds.sizes["model"], np.nan)
    values = done(ds[["cooperative_energy", "status"]])["cooperative_energy"].sel(place).isel(rotamer=0)
    return np.asarray(values.values, dtype=float)


def with_something_to_grow(found: xr.Dataset, ds: xr.Dataset) -> xr.Dataset:
    """Growth without a length from which on it is flat where no value is large enough to grow."""
    largest = abs(done(ds[["cooperative_energy", "status"]])["cooperative_energy"]).max("length")
    return found.assign(saturation_length=found["saturation_length"].where(largest >= FLAT))


def _growth(ds: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Saturation length and asymptote of the middle H-bond of bare arcs whose ends do not meet, by model."""
    place = {"pattern": "arc", "capping": "none", "geometry": "own"}
    if any(label not in ds[dim].values for dim, label in place.items()):
        return np.full(ds.sizes["model"], np.nan), np.full(ds.sizes["model"], np.nan)
    part = ds[["cooperative_energy", "status", "position_conformer"]]
    if "near_ring" in ds:
        part = part.assign(cooperative_energy=ds["cooperative_energy"].where(ds["near_ring"] != 1))
    part = part.sel({dim: [label] for dim, label in place.items()})
    found = with_something_to_grow(growth(part), part)
    found = found.isel(rotamer=0).sel(place).sel(position="middle", shape="exponential")
    # an end that the chains do not pin down is none
    end = found["asymptote"].where(found["asymptote_error"] < _PINNED)
    return np.asarray(found["saturation_length"].values, dtype=float), np.asarray(end.values, dtype=float)
