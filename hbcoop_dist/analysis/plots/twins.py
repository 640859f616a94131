"""Draw models in pairs, with charges and without: does a hydrogen bond feel more than its next neighbour?"""

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
from numpy.typing import NDArray

from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style, scheme_colour
from hbcoop_dist.analysis.selection import DONE, done, require_labels

NEIGHBOURED = 4
"""Units of the shortest chain whose middle bond has a neighbour on either side."""
_LABELS = ("cooperative energy (kcal/mol)", f"gain over length {NEIGHBOURED} (kcal/mol)")


def cooperative_energy_of_twins(
    ds: xr.Dataset,
    pairs: Mapping[str, str],
    axes: Sequence[Axes] | NDArray[Any] | None = None,
    *,
    beside: str = "so3lr",
    pattern: str = "arc",
    capping: str = "none",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Cooperative energy of the middle bond against length, and what it gains beyond a neighbour on either side.

    A pair has one colour, solid without charges and dashed with them. What is not done is a gap in its line. Lines
    that lie flat on zero in the second panel are models in which a bond feels no more than its next neighbour.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    pairs : mapping of str to str
        Models without charges, each with its twin that has them; those that the store does not have are left out.
    axes : two Axes, optional
        Where to draw; a new figure with a legend otherwise.
    beside : str
        A model drawn in black.
    pattern, capping : str
        Of which chains; at the model's own minima, in the first rotamer.
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
    return _figure(ds, _looks(pairs, beside), axes, pattern, capping, statuses)


def cooperative_energy_by_scheme(
    ds: xr.Dataset,
    axes: Sequence[Axes] | NDArray[Any] | None = None,
    *,
    beside: str = "so3lr",
    pattern: str = "arc",
    capping: str = "none",
    statuses: Collection[str] = DONE,
) -> Figure:
    """The same of networks that a generalization campaign has trained: a colour for every scheme, the teacher in black.

    Parameters
    ----------
    ds : xarray.Dataset
        A store of a campaign that ``hbcoop bridge`` wrote, whose models have names that say their schemes.
    axes, beside, pattern, capping, statuses
        As of `cooperative_energy_of_twins`.

    Raises
    ------
    ValueError
        As of `cooperative_energy_of_twins`.
    """
    looks: dict[str, dict[str, Any]] = {}
    for model in map(str, ds["model"].values):
        if model != beside:
            scheme = scheme_of_model(model)
            looks[model] = {"color": scheme_colour(scheme), "marker": model_style(model).marker, "label": scheme}
    looks[beside] = {"color": "black", "marker": model_style(beside).marker}
    return _figure(ds, looks, axes, pattern, capping, statuses)


def scheme_of_model(model: str) -> str:
    """Scheme in the name of a trained network; the name itself where there is none."""
    found = re.fullmatch(r".*-(none|charge-embedding|les[\w-]*?|celli[\w-]*?|efa[\w-]*?)-\d+", model)
    return found[1] if found else model


def _figure(
    ds: xr.Dataset,
    looks: Mapping[str, dict[str, Any]],
    axes: Sequence[Axes] | NDArray[Any] | None,
    pattern: str,
    capping: str,
    statuses: Collection[str],
) -> Figure:
    place = {"pattern": pattern, "capping": capping, "geometry": "own", "position": "middle"}
    require_labels(ds, place)
    found = done(ds[["cooperative_energy", "status"]], statuses)["cooperative_energy"].sel(place).isel(rotamer=0)
    energy = found.compute()
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
                for panel, values in zip(panels, _drawn(energy.sel(model=model)), strict=True):
                    panel.plot(values["length"], values, **{"label": model, "zorder": 2, **look})
        for panel, words in zip(panels, _LABELS, strict=True):
            panel.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
            panel.axvline(NEIGHBOURED, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
            panel.set_xlabel("length (NMA units)")
            panel.set_ylabel(words)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        shape = pattern if capping == "none" else f"{pattern}, {capping}-capped"
        panels[0].set_title(f"middle H-bond, {shape}")
        panels[1].set_title("beyond one neighbour on either side")
        drawn: Figure = panels[0].get_figure(root=True)
        if axes is None:
            drawn.legend(handles=panels[0].get_legend_handles_labels()[0], loc="outside right upper")
    return drawn


def _looks(pairs: Mapping[str, str], beside: str) -> dict[str, dict[str, Any]]:
    """How every model is drawn, those of a pair alike but for the dashes."""
    looks: dict[str, dict[str, Any]] = {}
    for short, long in pairs.items():
        colour = model_style(short).colour
        for model, line in ((short, "-"), (long, "--")):
            looks[model] = {"color": colour, "linestyle": line, "marker": model_style(model).marker}
    looks[beside] = {"color": "black", "linestyle": "-", "marker": model_style(beside).marker}
    return looks


def _drawn(energy: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Energy, and its gain since there is a neighbour on either side; the dimer has none and is left out."""
    energy = energy.sel(length=energy["length"] > 2)
    if NEIGHBOURED not in energy["length"].values:
        return energy, xr.full_like(energy, np.nan)
    longer = energy.sel(length=energy["length"] >= NEIGHBOURED)
    return energy, longer - energy.sel(length=NEIGHBOURED)
