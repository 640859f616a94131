"""Figures of dimers: the isolated dimers of a store of chains, and the outcomes of free dimers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hbcoop_dist.analysis.free_dimer_outcomes import OUTCOMES, free_dimers
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style, no_results
from hbcoop_dist.analysis.selection import DONE, done, require_labels

_PANELS = {
    "dimer_interaction_energy": "interaction energy (kcal/mol)",
    "dimer_distance_on": "O..N distance (A)",
}
_FILL: dict[str, Literal["full", "none"]] = {"syn": "full", "anti": "none"}


def dimers(ds: xr.Dataset, *, geometry: str = "own", statuses: Collection[str] = DONE) -> Figure:
    """Draw interaction energy and O..N distance of the isolated dimers, one column of markers per model.

    Syn dimers are filled, anti dimers open; dimers that are not done are not drawn. Feng, Xu and Huang
    (2025), figure 2.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains; its first rotamer is drawn.
    geometry : str
        Label of the geometry axis.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such geometry.
    """
    require_labels(ds, {"geometry": geometry})
    masked = (
        done(ds[[*_PANELS, "dimer_status"]], statuses).sel(geometry=geometry).isel(rotamer=0, constraint=0).compute()
    )
    finite = masked["dimer_interaction_energy"].notnull().any("conformer")
    models = [str(model) for model, flag in zip(masked["model"].values, finite.values, strict=True) if flag]
    with mpl.rc_context(RC):
        width = max(PANEL_WIDTH * 1.4, 0.32 * len(models) + 0.9)
        figure = Figure(figsize=(2 * width, PANEL_HEIGHT + 0.7), layout="constrained")
        for panel, (name, label) in zip(figure.subplots(1, 2), _PANELS.items(), strict=True):
            for column, model in enumerate(models):
                style = model_style(model)
                look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "linestyle": "none"}
                for conformer in map(str, masked["conformer"].values):
                    value = float(masked[name].sel(model=model, conformer=conformer))
                    panel.plot([column], [value], fillstyle=_FILL[conformer], label=f"{model} {conformer}", **look)
            panel.set_xticks(range(len(models)), models, rotation=60, ha="right", rotation_mode="anchor")
            panel.set_xlim(-0.6, max(len(models), 1) - 0.4)
            panel.set_ylabel(label)
            if not models:
                no_results(panel)
        handles = [
            Line2D([], [], color=GREY, marker="o", linestyle="none", fillstyle=fill, label=conformer)
            for conformer, fill in _FILL.items()
        ]
        figure.legend(handles=handles, loc="outside right upper")
    return figure


# Okabe and Ito's palette; outcomes without a geometry are hatched.
_LOOKS: dict[str, dict[str, Any]] = {
    "kept": {"facecolor": "#0072B2"},
    "turned": {"facecolor": "#56B4E9"},
    "stacked": {"facecolor": "#E69F00"},
    "tilted": {"facecolor": "#CC79A7"},
    "other": {"facecolor": "#BBBBBB"},
    "reacted": {"facecolor": "#D55E00"},
    "unconverged": {"facecolor": "white", "edgecolor": GREY, "hatch": "////", "linewidth": 0.5},
    "failed": {"facecolor": "white", "edgecolor": GREY, "hatch": "xxxx", "linewidth": 0.5},
}
_LABELS = {
    "kept": "H-bond kept",
    "turned": "H-bond, other conformer",
    "tilted": "in contact, not parallel",
    "other": "further apart",
}


def free_dimer_outcomes(ds: xr.Dataset) -> Figure:
    """Draw how many starts of each conformer had which outcome, one bar per model.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of complexes, as for `hbcoop_dist.analysis.free_dimers`.

    Raises
    ------
    ValueError
        As for `hbcoop_dist.analysis.free_dimers`.
    """
    counts = free_dimers(ds)
    starts, models = list(counts.index.unique("start")), list(counts.index.unique("model"))
    outcomes = [outcome for outcome in OUTCOMES if counts[outcome].any()]
    with mpl.rc_context(RC):
        size = (1.1 * PANEL_WIDTH * len(starts) + 2.4, max(0.22 * len(models) + 0.8, 1.4))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(starts), sharex=True, sharey=True, squeeze=False)[0]
        for panel, start in zip(panels, starts, strict=True):
            _draw_counts(panel, counts[counts.index.get_level_values("start") == start], outcomes)
            panel.set_title(f"started {start}")
        panels[0].set_yticks(range(len(models)), models)
        # the first model of the store on top
        panels[0].invert_yaxis()
        figure.supxlabel("starts", fontsize=RC["axes.labelsize"])
        handles = [Patch(label=_LABELS.get(outcome, outcome), **_LOOKS[outcome]) for outcome in outcomes]
        figure.legend(handles=handles, loc="outside right upper")
    return figure


def _draw_counts(panel: Axes, counts: pd.DataFrame, outcomes: list[str]) -> None:
    panel.grid(visible=True, axis="x")
    panel.grid(visible=False, axis="y")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlim(0, max(int(counts["tried"].max()), 1))
    left = pd.Series(0, index=counts.index)
    for outcome in outcomes:
        panel.barh(range(len(counts)), counts[outcome], left=left, height=0.7, label=outcome, **_LOOKS[outcome])
        left += counts[outcome]
    for row, tried in enumerate(counts["tried"]):
        if not tried:
            panel.text(0.0, row, " not run", va="center", color=GREY)
