"""Figure of the growth of a cooperative energy with chain length: fit, asymptote and receptive field, by model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hbcoop_dist.analysis.growth_fits import CLOSE, curve, growth, units_seen
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style
from hbcoop_dist.analysis.selection import DONE, done, readable, require_labels
from hbcoop_dist.models import cards

_COLUMNS = 4
_BEYOND = 3.0
"""Units beyond the longest chain up to which curves are drawn."""
_LARGEST_ERROR = 0.5
"""kcal/mol; fits whose asymptote has a larger standard error are not drawn."""
_SHADE: dict[str, Any] = {"color": GREY, "alpha": 0.18, "linewidth": 0.0}


def growth_curves(
    ds: xr.Dataset, *, pattern: str = "arc", capping: str = "none", statuses: Collection[str] = DONE
) -> Figure:
    """Draw the cooperative energy of the middle H-bond against length, one panel per model with its own scale.

    An exponential is drawn through the lengths of the fit and dashed beyond them; its asymptote and standard error
    stand at the right. A triangle marks the length from which on all values lie within `CLOSE` of the longest chain's.
    Lengths are shaded at which the bond has more units on one side than the receptive field of the model covers.
    Near-rings are left out.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    pattern, capping : str
        Chains to draw, at own minima, in the first rotamer.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such chains.
    """
    chain = {"pattern": pattern, "capping": capping, "geometry": "own"}
    require_labels(ds, chain)
    part = readable(ds).sel({dim: [label] for dim, label in chain.items()}).isel(rotamer=[0])
    if "near_ring" in part:
        part = part.assign(cooperative_energy=part["cooperative_energy"].where(part["near_ring"] != 1))
    energies = done(part[["cooperative_energy", "status"]], statuses)["cooperative_energy"].sel(position="middle")
    fits = growth(part, statuses).sel(position="middle", shape="exponential")
    finite = energies.notnull().any([dim for dim in energies.dims if dim != "model"]).values
    models = [str(name) for name, flag in zip(part["model"].values, finite, strict=True) if flag]
    first = {**dict.fromkeys(chain, 0), "rotamer": 0}
    with mpl.rc_context(RC):
        rows = max(-(-len(models) // _COLUMNS), 1)
        figure = Figure(figsize=(_COLUMNS * PANEL_WIDTH + 1.7, rows * PANEL_HEIGHT + 0.35), layout="constrained")
        panels = figure.subplots(rows, _COLUMNS, sharex=True, squeeze=False).ravel()
        for panel, model in zip(panels, models, strict=False):
            energy, fit = energies.sel(model=model).isel(first), fits.sel(model=model).isel(first)
            _draw(panel, model, energy, fit, _units_in_field(part, model, chain, energy.dropna("length")))
        for panel in panels[max(len(models) - _COLUMNS, 0) : len(models)]:
            # panels above an empty one need tick labels of their own
            panel.tick_params(labelbottom=True)
        for panel in panels[len(models) :]:
            panel.set_axis_off()
        if not models:
            figure.text(0.4, 0.5, "no results", ha="center", va="center", color=GREY)
        figure.supxlabel("length (NMA units)", fontsize=RC["axes.labelsize"])
        figure.supylabel("cooperative energy of the middle H-bond (kcal/mol)", fontsize=RC["axes.labelsize"])
        figure.legend(handles=_handles(), loc="outside right upper")
    return figure


def _draw(panel: Axes, model: str, energy: xr.DataArray, fit: xr.Dataset, in_field: int | None) -> None:
    style, lengths, values = model_style(model), energy["length"].values.astype(float), energy.values
    finite = np.flatnonzero(np.isfinite(values))
    first, last, end = lengths[finite[0]], lengths[finite[-1]], lengths[-1] + _BEYOND
    panel.set_title(model)
    panel.plot(lengths, values, color=style.colour, marker=style.marker, linestyle="none", label=model, zorder=3)
    asymptote, gap, scale, error = (float(fit[name]) for name in ("asymptote", "gap", "scale", "asymptote_error"))
    if np.isfinite([asymptote, gap, scale]).all() and error < _LARGEST_ERROR:
        for start, stop, line in ((first, last, "-"), (last, end, "--")):
            x = np.linspace(start, stop, 60)
            y = curve("exponential", x, asymptote, gap, scale)
            panel.plot(x, y, color=style.colour, linestyle=line, linewidth=1.0, zorder=2)
        look: dict[str, Any] = {"fmt": "_", "color": style.colour, "capsize": 2.5, "markersize": 7.0}
        panel.errorbar([end], [asymptote], [error], label=f"_end {model}", **look)
    if np.isfinite(saturation := float(fit["saturation_length"])):
        transform = panel.get_xaxis_transform()
        panel.plot([saturation], [0.04], "^", color=GREY, transform=transform, label="_saturation", zorder=1)
    if in_field is not None:
        # a middle bond has as many units on either side, or one more on one of them
        panel.axvspan(2 * in_field + 2.5, end + 0.6, label="_beyond receptive field", zorder=0, **_SHADE)
    panel.set_xlim(lengths[0] - 0.6, end + 0.6)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _units_in_field(ds: xr.Dataset, model: str, chain: Mapping[str, str], energy: xr.DataArray) -> int | None:
    """Units beyond B within the receptive field of a model in its bare arcs; None where nothing bounds them."""
    card = cards().get(model)
    if card is None or card.receptive_field is None or (chain["pattern"], chain["capping"]) != ("arc", "none"):
        return None
    units = units_seen(ds, model, card.receptive_field)
    # a receptive field that covers the whole longest chain may be larger still
    return None if units < 0 or units >= int(energy["length"][-1]) - 2 else units


def _handles() -> list[Any]:
    grey: dict[str, Any] = {"color": GREY, "linestyle": "none"}
    return [
        Line2D([], [], color=GREY, linewidth=1.0, label="exponential,\nfitted lengths"),
        Line2D([], [], color=GREY, linewidth=1.0, linestyle="--", label="extrapolation"),
        Line2D([], [], marker="_", markersize=9.0, label="asymptote with\nstandard error", **grey),
        Line2D([], [], marker="^", label=f"from here within\n{CLOSE:g} of the longest", **grey),
        Patch(label="units beyond the\nreceptive field", **_SHADE),
    ]
