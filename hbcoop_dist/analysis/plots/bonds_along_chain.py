"""Draw every H-bond of a chain, from its head to its tail: the paper shows three of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hbcoop_dist.analysis.plots.chains import bars_aside, draw_bars, draw_legend
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style
from hbcoop_dist.analysis.selection import DONE, done, require_labels

_NAME = "hbond_cooperative_energy"
_FLAGS = {"saddle": "saddle", "near_ring": "near-ring"}


def every_hbond(
    ds: xr.Dataset,
    *,
    lengths: Collection[int] | None = None,
    pattern: str = "arc",
    capping: str = "none",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Cooperative energy along the chain, at the models' own minima, a panel for every length.

    Bars are the standard deviation over the networks of an ensemble, as in `cooperative_energy_against_length`. A chain
    that is a saddle or a near-ring has hollow points.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    lengths : collection of int, optional
        Of which chains; three when not given: the shortest with a middle, one between, and the longest.
    pattern, capping : str
        Of the first rotamer.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such chains.
    """
    there = [int(length) for length in ds["length"].values]
    longer = [length for length in there if length > 3] or there
    wanted = list(dict.fromkeys(longer[at] for at in (0, len(longer) // 2, -1))) if lengths is None else list(lengths)
    place = {"pattern": pattern, "capping": capping, "geometry": "own"}
    for length in wanted:
        require_labels(ds, {**place, "length": length})
    names = [name for name in (_NAME, f"{_NAME}_spread", "status", *_FLAGS) if name in ds]
    found = done(ds[names], statuses).sel(place).isel(rotamer=0).sel(length=wanted).compute()
    aside = bars_aside(found, _NAME)
    models = [str(name) for name in found["model"].values if bool(found[_NAME].sel(model=name).notnull().any())]
    with mpl.rc_context(RC):
        height = max(PANEL_HEIGHT * 1.3, 0.17 * (len(models) + 5))
        figure = Figure(figsize=(PANEL_WIDTH * len(wanted) + 1.9, height), layout="constrained")
        panels = figure.subplots(1, len(wanted), sharey=True, squeeze=False).ravel()
        for panel, length in zip(panels, wanted, strict=True):
            _draw(panel, found.sel(length=length, model=models), aside)
        if not models:
            panels[0].text(0.5, 0.5, "no results", transform=panels[0].transAxes, ha="center", va="center", color=GREY)
        panels[0].set_ylabel("cooperative energy (kcal/mol)")
        drawn = found[_NAME].notnull().any("hbond")
        hollow = [words for name, words in _FLAGS.items() if name in found and bool(((found[name] == 1) & drawn).any())]
        draw_legend(figure, models, hollow=", ".join(hollow), spread=bool(aside))
    return figure


def _draw(panel: Axes, chain: xr.Dataset, aside: Mapping[str, float]) -> None:
    length = int(chain["length"])
    bonds = np.arange(1.0, length)
    panel.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    for model in map(str, chain["model"].values):
        one, style = chain.sel(model=model), model_style(model)
        energy = one[_NAME].values[: length - 1]
        if not np.isfinite(energy).any():
            continue
        hollow = any(name in one and int(one[name]) == 1 for name in _FLAGS)
        fill = "white" if hollow else style.colour
        panel.plot(bonds, energy, color=style.colour, marker=style.marker, markerfacecolor=fill, label=model)
        if model in aside:
            draw_bars(panel, bonds + aside[model], energy, one[f"{_NAME}_spread"].values[: length - 1], model)
    panel.set_title(f"{length} units")
    panel.set_xlabel("H-bond, from the head")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))
