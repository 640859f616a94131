"""Figures of models that differ in their long-range scheme: does a bond respond to units beyond its next neighbour?"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style, scheme_colour
from hbcoop_dist.analysis.quantities import middle_bond
from hbcoop_dist.analysis.selection import DONE
from hbcoop_dist.core.arrays import ObjectArray

BOTH_NEIGHBOURS = 4
"""Units of the shortest chain whose middle bond has a neighbour on either side."""
_LABELS = ("cooperative energy (kcal/mol)", f"gain over length {BOTH_NEIGHBOURS} (kcal/mol)")


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
