"""Where each model's cooperative energy stops growing, beside how far the model sees."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hbcoop_dist.analysis.growth import CLOSE, growth
from hbcoop_dist.analysis.mask import done
from hbcoop_dist.analysis.reach import units_seen
from hbcoop_dist.report.content import Table
from hbcoop_dist.report.leaderboard import card_of, with_something_to_grow
from hbcoop_dist.report.summary import FLAT


def growth_table(ds: xr.Dataset) -> Table | None:
    """Middle H-bond of bare arcs at own minima; None when the store has none of three units and more.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    """
    wanted = {"pattern": "arc", "capping": "none", "geometry": "own"}
    if any(label not in ds[dim].values for dim, label in wanted.items()) or ds["length"].max() < 3:
        return None
    part = ds.sel({dim: [label] for dim, label in wanted.items()})
    if "near_ring" in part:
        part = part.assign(cooperative_energy=part["cooperative_energy"].where(part["near_ring"] != 1))
    energy = done(part[["cooperative_energy", "status"]])["cooperative_energy"].sel(position="middle")
    # named, because a store may have one model or one length
    one = {**dict.fromkeys(wanted, 0), "rotamer": 0}
    energy = energy.isel(one, drop=True)
    fits = with_something_to_grow(growth(part), part).sel(position="middle").isel(one, drop=True)
    rows = [
        {
            "model": model,
            **_values(ds, energy.sel(model=model).values),
            **_fit(fits.sel(model=model)),
            **_sight(ds, model),
        }
        for model in map(str, ds["model"].values)
    ]
    words = (
        "Middle H-bond of bare arcs, kcal/mol; chains whose ends meet are left out. `flat from` is the length from "
        f"which on every value lies within {CLOSE:g} kcal/mol of the longest chain's (empty where only that one does,"
        f" or none is as large as {FLAT:g}); two shapes are fitted through all lengths, `exponential` and `power`, "
        "and what they tend to stands with its standard error (a fit that the lengths do not pin down is left out). "
        "`sees` is cutoff times message-passing layers, and `units seen` how many units beyond its neighbour some "
        "atom of the model has in sight together with both partners of the first bond, in its own longest arc: no "
        "other unit can have an electronic share in the bond. `-`: a checkpoint that only its campaign knows, and "
        "that a store does not hold."
    )
    return Table("growth", "Growth with the chain", words, pd.DataFrame(rows), places={"flat from": 0})


def _values(ds: xr.Dataset, values: NDArray[np.float64]) -> dict[str, float]:
    at = dict(zip(ds["length"].values.tolist(), values.tolist(), strict=True))
    return {f"n = {length}": float(at[length]) for length in (3, 4, 6, 8, 11) if length in at}


def _fit(fit: xr.Dataset) -> dict[str, object]:
    found: dict[str, object] = {"flat from": float(fit["saturation_length"])}
    for shape in map(str, fit["shape"].values):
        end, error = float(fit["asymptote"].sel(shape=shape)), float(fit["asymptote_error"].sel(shape=shape))
        found[shape] = f"{end:.2f} ± {error:.2f}" if np.isfinite(end) and error < 0.5 else ""
    return found


def _sight(ds: xr.Dataset, model: str) -> dict[str, object]:
    card = card_of(model)
    if card is None:
        return {"sees": "-", "units seen": "-"}
    if card.cutoff is None:
        return {"sees": "everything", "units seen": "all"}
    field = card.cutoff * card.layers
    words = f"{card.cutoff:g} A x {card.layers}" + (", and charges everywhere" if card.long_range else "")
    seen = units_seen(ds, model, field)
    return {"sees": words, "units seen": "all" if card.long_range else ("" if seen < 0 else str(seen))}
