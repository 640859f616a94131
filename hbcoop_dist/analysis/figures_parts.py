"""Draw the two parts of a cooperative energy side by side: electronic, and geometric."""

from __future__ import annotations

from collections.abc import Collection

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hbcoop_dist.analysis.mask import DONE, done
from hbcoop_dist.analysis.require_labels import require_labels
from hbcoop_dist.analysis.style import GREY, PANEL_WIDTH, RC, model_style

_PARTS = ("cooperative_energy_electronic", "cooperative_energy_geometric")
_ROW = 0.24


def parts(
    ds: xr.Dataset,
    *,
    length: int = 4,
    pattern: str = "arc",
    capping: str = "none",
    position: str = "middle",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Electronic part (full colour) and geometric part (pale) of one bond of every model, at its own minimum.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    length, pattern, capping, position
        Which bond of which chain; of the first rotamer.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such chain.
    """
    place = {"length": length, "pattern": pattern, "capping": capping, "geometry": "own"}
    require_labels(ds, place)
    found = done(ds[[*_PARTS, "status"]], statuses).sel(place).isel(rotamer=0).sel(position=position).compute()
    known = np.isfinite(found[_PARTS[0]].values)
    models = [str(name) for name, there in zip(found["model"].values, known, strict=True) if there]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(2.4 * PANEL_WIDTH, 0.9 + _ROW * max(len(models), 2)), layout="constrained")
        panel = figure.subplots()
        panel.grid(axis="x")
        panel.grid(visible=False, axis="y")
        panel.axvline(0.0, color=GREY, linewidth=0.8)
        for row, model in enumerate(models):
            electronic, geometric = (float(found[name].sel(model=model)) for name in _PARTS)
            colour = model_style(model).colour
            panel.barh(row, electronic, height=0.62, color=colour)
            # one bar goes on where the other ends; of different signs both start at zero
            start = electronic if electronic * geometric > 0 else 0.0
            panel.barh(row, geometric, left=start, height=0.62, color=colour, alpha=0.35)
        panel.set_yticks(range(len(models)), models)
        panel.set_ylim(len(models) - 0.4, -0.6)
        panel.set_xlabel("cooperative energy (kcal/mol): electronic, and geometric (pale)")
        panel.set_title(f"{position} H-bond, {pattern}, n = {length}" + (", capped" if capping == "water" else ""))
        if not models:
            panel.text(0.5, 0.5, "no results", transform=panel.transAxes, ha="center", va="center", color=GREY)
    return figure
