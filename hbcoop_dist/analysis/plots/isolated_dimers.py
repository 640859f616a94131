"""Draw the isolated dimers, as the paper's second figure does: interaction energy and O..N distance, syn and anti.

Draw what became of free dimers: a bar per model and start, a stretch of it per outcome.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hbcoop_dist.analysis.free_dimer_outcomes import OUTCOMES, free_dimers
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style
from hbcoop_dist.analysis.selection import DONE, done

_PANELS = {
    "dimer_interaction_energy": "interaction energy (kcal/mol)",
    "dimer_distance_on": "O..N distance (A)",
}
_FILLED: dict[str, Literal["full", "none"]] = {"syn": "full", "anti": "none"}


def dimers(ds: xr.Dataset, *, geometry: str = "own", statuses: Collection[str] = DONE) -> Figure:
    """Interaction energy and O..N distance of the isolated dimer, one column of points per model.

    Syn dimers are filled, anti ones open; what is not done is not drawn. One rotamer is drawn, the first of the store.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    geometry : str
        Which geometry's dimers.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such geometry.
    """
    if geometry not in ds["geometry"].values:
        raise ValueError(f"geometry: expected one of {', '.join(map(str, ds['geometry'].values))}, found {geometry}")
    found = done(ds[[*_PANELS, "dimer_status"]], statuses).sel(geometry=geometry).isel(rotamer=0).compute()
    known = found["dimer_interaction_energy"].notnull().any("conformer")
    models = [str(model) for model, there in zip(found["model"].values, known.values, strict=True) if there]
    with mpl.rc_context(RC):
        width = max(PANEL_WIDTH * 1.4, 0.32 * len(models) + 0.9)
        figure = Figure(figsize=(2 * width, PANEL_HEIGHT + 0.7), layout="constrained")
        for panel, (name, words) in zip(figure.subplots(1, 2), _PANELS.items(), strict=True):
            for place, model in enumerate(models):
                style = model_style(model)
                for conformer in found["conformer"].values:
                    value = float(found[name].sel(model=model, conformer=conformer))
                    look: dict[str, Any] = {
                        "color": style.colour,
                        "marker": style.marker,
                        "fillstyle": _FILLED[str(conformer)],
                    }
                    panel.plot([place], [value], linestyle="none", label=f"{model} {conformer}", **look)
            panel.set_xticks(range(len(models)), models, rotation=60, ha="right", rotation_mode="anchor")
            panel.set_xlim(-0.6, max(len(models), 1) - 0.4)
            panel.set_ylabel(words)
            if not models:
                panel.text(0.5, 0.5, "no results", transform=panel.transAxes, ha="center", va="center", color=GREY)
        handles = [
            Line2D([], [], color=GREY, marker="o", linestyle="none", fillstyle=fill, label=conformer)
            for conformer, fill in _FILLED.items()
        ]
        figure.legend(handles=handles, loc="outside right upper")
    return figure


def syn_anti_difference(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.DataArray:
    """Interaction energy of the anti dimer less that of the syn one, kcal/mol, by model, geometry and rotamer."""
    energy = done(ds[["dimer_interaction_energy", "dimer_status"]], statuses)["dimer_interaction_energy"]
    found = energy.sel(conformer="anti", drop=True) - energy.sel(conformer="syn", drop=True)
    found.attrs = {"units": "kcal/mol", "long_name": "interaction energy, anti less syn"}
    return found.where(np.isfinite(found))


# Okabe and Ito's palette; what is no geometry at all is hatched, so that it is no colour either.
_LOOKS: dict[str, dict[str, Any]] = {
    "kept": {"facecolor": "#0072B2"},
    "turned": {"facecolor": "#56B4E9"},
    "stacked": {"facecolor": "#E69F00"},
    "collapsed": {"facecolor": "#CC79A7"},
    "other": {"facecolor": "#BBBBBB"},
    "reacted": {"facecolor": "#D55E00"},
    "unconverged": {"facecolor": "white", "edgecolor": GREY, "hatch": "////", "linewidth": 0.5},
    "failed": {"facecolor": "white", "edgecolor": GREY, "hatch": "xxxx", "linewidth": 0.5},
}
_WORDS = {
    "kept": "H-bond kept",
    "turned": "H-bond, other conformer",
    "collapsed": "on one another, not parallel",
    "other": "further apart",
}


def free_dimer_outcomes(ds: xr.Dataset) -> Figure:
    """How many starts of each conformer kept the H-bond, turned over, stacked, or went elsewhere.

    Parameters
    ----------
    ds : xarray.Dataset
        Marked systems, as of `hbcoop_dist.analysis.free_dimer_outcomes`.

    Raises
    ------
    ValueError
        As of `hbcoop_dist.analysis.free_dimer_outcomes`.
    """
    table = free_dimers(ds)
    starts = list(table.index.unique("start"))
    models = list(table.index.unique("model"))
    drawn = [outcome for outcome in OUTCOMES if table[outcome].any()]
    with mpl.rc_context(RC):
        size = (1.1 * PANEL_WIDTH * len(starts) + 2.4, 0.22 * len(models) + 0.8)
        figure = Figure(figsize=(size[0], max(size[1], 1.4)), layout="constrained")
        panels = figure.subplots(1, len(starts), sharex=True, sharey=True, squeeze=False)[0]
        for panel, start in zip(panels, starts, strict=True):
            _draw(panel, table[table.index.get_level_values("start") == start], drawn)
            panel.set_title(f"started {start}")
        panels[0].set_yticks(range(len(models)), models)
        # the first model of the store on top
        panels[0].invert_yaxis()
        figure.supxlabel("starts", fontsize=RC["axes.labelsize"])
        handles = [Patch(label=_WORDS.get(outcome, outcome), **_LOOKS[outcome]) for outcome in drawn]
        figure.legend(handles=handles, loc="outside right upper")
    return figure


def _draw(panel: Axes, table: pd.DataFrame, outcomes: list[str]) -> None:
    panel.grid(visible=True, axis="x")
    panel.grid(visible=False, axis="y")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlim(0, max(int(table["tried"].max()), 1))
    left = pd.Series(0, index=table.index)
    for outcome in outcomes:
        panel.barh(range(len(table)), table[outcome], left=left, height=0.7, label=outcome, **_LOOKS[outcome])
        left += table[outcome]
    for place, tried in enumerate(table["tried"]):
        if not tried:
            panel.text(0.0, place, " not run", va="center", color=GREY)
