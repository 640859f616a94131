"""Draw how a bond's cooperative energy grows with the chain, model by model: fit, end, and how far the model sees."""

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

from hbcoop_dist.analysis.growth_fits import CLOSE, curve, growth
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style
from hbcoop_dist.analysis.receptive_field import units_seen
from hbcoop_dist.analysis.selection import DONE, done, readable, require_labels
from hbcoop_dist.models import cards

_ROW = 4
_BEYOND = 3.0
"""Units beyond the longest chain up to which curves are drawn."""
_PINNED = 0.5
"""kcal/mol; an end known worse than that is not drawn."""
_SIGHT: dict[str, Any] = {"color": GREY, "alpha": 0.18, "linewidth": 0.0}


def growth_curves(
    ds: xr.Dataset, *, pattern: str = "arc", capping: str = "none", statuses: Collection[str] = DONE
) -> Figure:
    """Cooperative energy of the middle H-bond against length, a panel for every model, each on a scale of its own.

    An exponential is drawn through the lengths it was fitted to, dashed beyond them; its end stands at the right with
    its standard error. A triangle says from which length on every value lies within `CLOSE` of the longest chain's.
    Lengths are shaded at which the bond has more units on one side than any atom of the model sees together with both
    partners. Chains whose ends meet are left out.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    pattern, capping : str
        Of which chains; at the model's own minima, in the first rotamer.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such chains.
    """
    place = {"pattern": pattern, "capping": capping, "geometry": "own"}
    require_labels(ds, place)
    part = readable(ds).sel({dim: [label] for dim, label in place.items()}).isel(rotamer=[0])
    if "near_ring" in part:
        part = part.assign(cooperative_energy=part["cooperative_energy"].where(part["near_ring"] != 1))
    energies = done(part[["cooperative_energy", "status"]], statuses)["cooperative_energy"].sel(position="middle")
    fits = growth(part, statuses).sel(position="middle", shape="exponential")
    known = energies.notnull().any([dim for dim in energies.dims if dim != "model"]).values
    models = [str(name) for name, there in zip(part["model"].values, known, strict=True) if there]
    one = {**dict.fromkeys(place, 0), "rotamer": 0}
    with mpl.rc_context(RC):
        rows = max(-(-len(models) // _ROW), 1)
        figure = Figure(figsize=(_ROW * PANEL_WIDTH + 1.7, rows * PANEL_HEIGHT + 0.35), layout="constrained")
        panels = figure.subplots(rows, _ROW, sharex=True, squeeze=False).ravel()
        for panel, model in zip(panels, models, strict=False):
            at = {"model": model}
            energy = energies.sel(at).isel(one)
            _draw(panel, model, energy, fits.sel(at).isel(one), _sees(part, model, place, energy.dropna("length")))
        for panel in panels[max(len(models) - _ROW, 0) : len(models)]:
            # those above an empty panel have no other that shows the lengths
            panel.tick_params(labelbottom=True)
        for panel in panels[len(models) :]:
            panel.set_axis_off()
        if not models:
            figure.text(0.4, 0.5, "no results", ha="center", va="center", color=GREY)
        figure.supxlabel("length (NMA units)", fontsize=RC["axes.labelsize"])
        figure.supylabel("cooperative energy of the middle H-bond (kcal/mol)", fontsize=RC["axes.labelsize"])
        figure.legend(handles=_handles(), loc="outside right upper")
    return figure


def _draw(panel: Axes, model: str, energy: xr.DataArray, fit: xr.Dataset, sees: int | None) -> None:
    style, lengths, values = model_style(model), energy["length"].values.astype(float), energy.values
    there = np.flatnonzero(np.isfinite(values))
    first, last, end = lengths[there[0]], lengths[there[-1]], lengths[-1] + _BEYOND
    panel.set_title(model)
    panel.plot(lengths, values, color=style.colour, marker=style.marker, linestyle="none", label=model, zorder=3)
    shape = [float(fit[name]) for name in ("asymptote", "gap", "scale")]
    error = float(fit["asymptote_error"])
    if np.isfinite(shape).all() and error < _PINNED:
        for start, stop, line in ((first, last, "-"), (last, end, "--")):
            x = np.linspace(start, stop, 60)
            panel.plot(x, curve("exponential", x, *shape), color=style.colour, linestyle=line, linewidth=1.0, zorder=2)
        bar: dict[str, Any] = {"fmt": "_", "color": style.colour, "capsize": 2.5, "markersize": 7.0}
        panel.errorbar([end], [shape[0]], [error], label=f"_end {model}", **bar)
    if np.isfinite(flat := float(fit["saturation_length"])):
        panel.plot([flat], [0.04], "^", color=GREY, transform=panel.get_xaxis_transform(), label="_flat", zorder=1)
    if sees is not None:
        # the middle bond of such a chain has as many units on either side, or one more on one of them
        panel.axvspan(2 * sees + 2.5, end + 0.6, label="_out of sight", zorder=0, **_SIGHT)
    panel.set_xlim(lengths[0] - 0.6, end + 0.6)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _sees(ds: xr.Dataset, model: str, place: Mapping[str, str], energy: xr.DataArray) -> int | None:
    """Units beyond its neighbour that a model of short range sees in its bare arcs; None where nothing bounds it."""
    card = cards().get(model)
    if card is None or card.receptive_field is None or (place["pattern"], place["capping"]) != ("arc", "none"):
        return None
    seen = units_seen(ds, model, card.receptive_field)
    # one that sees all of its longest chain may see farther still
    return None if seen < 0 or seen >= int(energy["length"][-1]) - 2 else seen


def _handles() -> list[Any]:
    grey: dict[str, Any] = {"color": GREY, "linestyle": "none"}
    return [
        Line2D([], [], color=GREY, linewidth=1.0, label="exponential,\nwhere it was fitted"),
        Line2D([], [], color=GREY, linewidth=1.0, linestyle="--", label="and beyond"),
        Line2D([], [], marker="_", markersize=9.0, label="its end, with\nstandard error", **grey),
        Line2D([], [], marker="^", label=f"from there within\n{CLOSE:g} of the longest", **grey),
        Patch(label="units out of\nthe model's sight", **_SIGHT),
    ]
