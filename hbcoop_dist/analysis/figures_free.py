"""Draw what became of free dimers: a bar per model and start, a stretch of it per outcome."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hbcoop_dist.analysis.free_dimers import OUTCOMES, free_dimers
from hbcoop_dist.analysis.style import GREY, PANEL_WIDTH, RC

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
        Marked systems, as of `hbcoop_dist.analysis.free_dimers`.

    Raises
    ------
    ValueError
        As of `hbcoop_dist.analysis.free_dimers`.
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
