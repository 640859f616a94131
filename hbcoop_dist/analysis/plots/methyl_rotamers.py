"""Draw one bond of every model in each methyl rotamer, which the paper does not state and which moves some answers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hbcoop_dist.analysis.plots.style import GREY, PANEL_WIDTH, RC, model_style
from hbcoop_dist.analysis.selection import DONE, done, require_labels

_MARKERS = ("o", "s", "^", "v", "D", "P")
_ROW = 0.24


def rotamers(
    ds: xr.Dataset,
    *,
    length: int = 4,
    pattern: str = "arc",
    capping: str = "none",
    position: str = "middle",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Cooperative energy of one bond, a row for every model, a marker for every rotamer, at own minima.

    Saddles are hollow. A line joins the lowest and the highest.

    Parameters
    ----------
    ds : xarray.Dataset
        A dataset of a store with two rotamers or more.
    length, pattern, capping, position
        Which bond of which chain.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has only one rotamer, or no such chain.
    """
    labels = [str(label) for label in ds["rotamer"].values]
    if len(labels) < 2:
        raise ValueError(f"rotamer: expected two or more to compare, found {', '.join(labels)}")
    place = {"length": length, "pattern": pattern, "capping": capping, "geometry": "own"}
    require_labels(ds, place)
    names = [name for name in ("cooperative_energy", "saddle", "status") if name in ds]
    found = done(ds[names], statuses).sel(place).sel(position=position).compute()
    energy = found["cooperative_energy"].transpose("model", "rotamer").values
    saddle = (found["saddle"] == 1).transpose("model", "rotamer").values if "saddle" in found else energy < -np.inf
    rows = [row for row in range(len(energy)) if np.isfinite(energy[row]).any()]
    models = [str(found["model"].values[row]) for row in rows]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(2.4 * PANEL_WIDTH + 1.4, 0.9 + _ROW * max(len(models), 5)), layout="constrained")
        panel = figure.subplots()
        panel.grid(axis="x")
        panel.grid(visible=False, axis="y")
        panel.axvline(0.0, color=GREY, linewidth=0.8)
        for at, (row, model) in enumerate(zip(rows, models, strict=True)):
            colour = model_style(model).colour
            ends = [np.nanmin(energy[row]), np.nanmax(energy[row])]
            panel.plot(ends, [at, at], color=colour, linewidth=1.0, alpha=0.5, zorder=1, label=f"_range {model}")
            for number, label in enumerate(labels):
                fill = "white" if saddle[row, number] else colour
                look: dict[str, Any] = {"color": colour, "markerfacecolor": fill, "linestyle": "none", "zorder": 2}
                panel.plot([energy[row, number]], [at], _MARKERS[number % 6], label=f"{model} {label}", **look)
        panel.set_yticks(range(len(models)), models)
        panel.set_ylim(max(len(models), 1) - 0.4, -0.6)
        panel.set_xlabel("cooperative energy (kcal/mol)")
        panel.set_title(f"{position} H-bond, {pattern}, n = {length}" + (", capped" if capping == "water" else ""))
        if not models:
            panel.text(0.5, 0.5, "no results", transform=panel.transAxes, ha="center", va="center", color=GREY)
        grey: dict[str, Any] = {"color": GREY, "linestyle": "none"}
        handles = [Line2D([], [], marker=_MARKERS[k % 6], label=label, **grey) for k, label in enumerate(labels)]
        if saddle[rows].any():
            handles.append(Line2D([], [], marker="o", markerfacecolor="white", label="hollow: saddle", **grey))
        figure.legend(handles=handles, loc="outside right upper")
    return figure
