"""Figures of growth with chain length: fit and receptive field by model; models with and without long-range scheme."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
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
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style, scheme_colour
from hbcoop_dist.analysis.quantities import middle_bond
from hbcoop_dist.analysis.selection import DONE, done, readable, require_labels
from hbcoop_dist.core.arrays import ObjectArray
from hbcoop_dist.models import cards

_COLUMNS = 4
_BEYOND = 3.0
"""Units beyond the longest chain up to which curves are drawn."""
_LARGEST_ERROR = 0.5
"""kcal/mol; fits whose asymptote has a larger standard error are not drawn."""
_SHADE: dict[str, Any] = {"color": GREY, "alpha": 0.18, "linewidth": 0.0}
BOTH_NEIGHBOURS = 4
"""Units of the shortest chain whose middle bond has a neighbour on either side."""
_LABELS = ("cooperative energy (kcal/mol)", f"gain over length {BOTH_NEIGHBOURS} (kcal/mol)")


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
    part = readable(ds).sel({dim: [label] for dim, label in chain.items()}).isel(rotamer=[0], constraint=[0])
    if "near_ring" in part:
        part = part.assign(cooperative_energy=part["cooperative_energy"].where(part["near_ring"] != 1))
    energies = done(part[["cooperative_energy", "status"]], statuses)["cooperative_energy"].sel(position="middle")
    fits = growth(part, statuses).sel(position="middle", shape="exponential")
    finite = energies.notnull().any([dim for dim in energies.dims if dim != "model"]).values
    models = [str(name) for name, flag in zip(part["model"].values, finite, strict=True) if flag]
    first = {**dict.fromkeys(chain, 0), "rotamer": 0, "constraint": 0}
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


def cooperative_energy_of_twins(
    ds: xr.Dataset,
    pairs: Mapping[str, str] | None = None,
    axes: Sequence[Axes] | ObjectArray | None = None,
    *,
    beside: str = "so3lr",
    pattern: str = "arc",
    capping: str = "none",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Draw the middle bond of pairs of models, with and without charges: its energy, and its gain beyond neighbours.

    A pair has one colour, solid without charges and dashed with them. Cells that are not done are gaps. A line at zero
    in the second panel belongs to a model in which a bond does not respond to units beyond its next neighbour.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    pairs : mapping of str to str, optional
        Model without charges -> the same model with charges; models that the store lacks are left out. Default: every
        model whose name the store also has with ``maceles`` in place of ``mace``.
    axes : two Axes, optional
        Panels to draw into; a new figure with a legend by default.
    beside : str
        Model drawn in black.
    pattern, capping : str
        Chains to draw, at own minima, in the first rotamer.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    Figure
        The new figure, or that of `axes`.

    Raises
    ------
    ValueError
        When there are not two axes, or the store has no such chains.
    """
    if pairs is None:
        models = [str(model) for model in ds["model"].values]
        twins = {model: re.sub(r"^mace-", "maceles-", model) for model in models}
        pairs = {model: twin for model, twin in twins.items() if twin != model and twin in models}
    looks: dict[str, dict[str, Any]] = {}
    for without, with_charges in pairs.items():
        colour = model_style(without).colour
        for model, line in ((without, "-"), (with_charges, "--")):
            looks[model] = {"color": colour, "linestyle": line, "marker": model_style(model).marker}
    looks[beside] = {"color": "black", "linestyle": "-", "marker": model_style(beside).marker}
    return _figure(ds, looks, axes, pattern, capping, statuses)


def cooperative_energy_by_scheme(
    ds: xr.Dataset,
    axes: Sequence[Axes] | ObjectArray | None = None,
    *,
    beside: str = "so3lr",
    pattern: str = "arc",
    capping: str = "none",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Draw the same two panels for networks of a generalization campaign, one colour per long-range scheme.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains whose campaign was written by ``hbcoop bridge``; names of models hold their
        schemes.
    axes, pattern, capping, statuses
        As for `cooperative_energy_of_twins`.
    beside : str
        Model drawn in black, e.g. the one that labelled the training set.

    Raises
    ------
    ValueError
        As for `cooperative_energy_of_twins`.
    """
    looks: dict[str, dict[str, Any]] = {}
    for model in map(str, ds["model"].values):
        if model != beside:
            scheme = scheme_of_model(model)
            looks[model] = {"color": scheme_colour(scheme), "marker": model_style(model).marker, "label": scheme}
    looks[beside] = {"color": "black", "marker": model_style(beside).marker}
    return _figure(ds, looks, axes, pattern, capping, statuses)


def scheme_of_model(model: str) -> str:
    """Extract the long-range scheme from the name of a trained network.

    Parameters
    ----------
    model : str
        Name of a model.

    Returns
    -------
    str
        Label of the scheme; the name itself when it has none.
    """
    match = re.fullmatch(r".*-(none|charge-embedding|les[\w-]*?|celli[\w-]*?|efa[\w-]*?)-\d+", model)
    return match[1] if match else model


def _figure(
    ds: xr.Dataset,
    looks: Mapping[str, dict[str, Any]],
    axes: Sequence[Axes] | ObjectArray | None,
    pattern: str,
    capping: str,
    statuses: Collection[str],
) -> Figure:
    energy = middle_bond(ds, pattern=pattern, capping=capping, statuses=statuses)
    with mpl.rc_context(RC):
        if axes is None:
            figure = Figure(figsize=(2 * 1.45 * PANEL_WIDTH + 1.5, 1.35 * PANEL_HEIGHT), layout="constrained")
            panels = np.asarray(figure.subplots(1, 2), dtype=object)
        else:
            panels = np.asarray(axes, dtype=object).ravel()
        if len(panels) != 2:
            raise ValueError(f"axes: expected 2, found {len(panels)}")
        for model, look in looks.items():
            if model in energy["model"].values:
                for panel, values in zip(panels, _energy_and_gain(energy.sel(model=model)), strict=True):
                    panel.plot(values["length"], values, **{"label": model, "zorder": 2, **look})
        for panel, label in zip(panels, _LABELS, strict=True):
            panel.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
            panel.axvline(BOTH_NEIGHBOURS, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
            panel.set_xlabel("length (NMA units)")
            panel.set_ylabel(label)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        chain = pattern if capping == "none" else f"{pattern}, {capping}-capped"
        panels[0].set_title(f"middle H-bond, {chain}")
        panels[1].set_title("beyond one neighbour on either side")
        drawn: Figure = panels[0].get_figure(root=True)
        if axes is None:
            drawn.legend(handles=panels[0].get_legend_handles_labels()[0], loc="outside right upper")
    return drawn


def _energy_and_gain(energy: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Energy from the trimer on, and its gain over the chain with a neighbour on either side."""
    energy = energy.sel(length=energy["length"] > 2)
    if BOTH_NEIGHBOURS not in energy["length"].values:
        return energy, xr.full_like(energy, np.nan)
    longer = energy.sel(length=energy["length"] >= BOTH_NEIGHBOURS)
    return energy, longer - energy.sel(length=BOTH_NEIGHBOURS)
