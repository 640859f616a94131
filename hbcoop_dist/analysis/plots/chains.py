"""Draw a quantity of H-bonds against length, as the paper does: panels head, middle and tail, one line per model.

Figures are made without pyplot, so that a report or a worker can draw any number of them and leave no global state.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hbcoop_dist.analysis.ensemble_spread import with_spread
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, REFERENCE, model_style
from hbcoop_dist.analysis.selection import DONE, done, readable
from hbcoop_dist.references import reference_energies

_ROW_DIMS = ("pattern", "capping", "geometry", "rotamer")
_LABELS = {"cooperative_energy": "cooperative energy (kcal/mol)", "distance_on": "O..N distance (A)"}
_FLAGS = ("status", "saddle", "near_ring")
_ASIDE = 0.16
"""Units between the bars of two ensembles, which would hide one another."""


def cooperative_energy_against_length(
    ds: xr.Dataset,
    axes: Sequence[Axes] | NDArray[Any] | None = None,
    *,
    pattern: str | Collection[str] | None = None,
    capping: str | Collection[str] | None = None,
    reference: str | None = None,
    references: xr.Dataset | None = None,
    statuses: Collection[str] = DONE,
) -> Figure:
    """Cooperative energy against length; columns head, middle, tail, a row for each pattern, capping, rotamer.

    What is not done is a gap in its line, and a point without neighbours is still a point. Saddles, near-rings, and
    what is not done but was asked for, are hollow. Bars are the standard deviation over the networks of an
    ensemble, all at the geometry of their mean; those of several ensembles stand side by side, and what is no ensemble
    has none. Axes are shared, so that panels compare at a glance.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    axes : array of Axes, optional
        Where to draw, one per panel in rows of three; a new figure with a legend otherwise. Into axes of your own,
        `draw_legend` puts a legend.
    pattern, capping : str or collection of str, optional
        What to draw; all there is when not given.
    reference : str, optional
        A level of theory of `references`, drawn as black points where it has values, at whichever geometry those
        belong to.
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) when not given.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    Figure
        The new figure, or that of `axes`.
    """
    known = None if reference is None else (reference_energies() if references is None else references)
    return _against_length(ds, "cooperative_energy", axes, pattern, capping, reference, known, statuses)


def distance_against_length(
    ds: xr.Dataset,
    axes: Sequence[Axes] | NDArray[Any] | None = None,
    *,
    pattern: str | Collection[str] | None = None,
    capping: str | Collection[str] | None = None,
    statuses: Collection[str] = DONE,
) -> Figure:
    """O..N distance against length, drawn as `cooperative_energy_against_length` draws energies."""
    return _against_length(ds, "distance_on", axes, pattern, capping, None, None, statuses)


def _against_length(
    ds: xr.Dataset,
    name: str,
    axes: Sequence[Axes] | NDArray[Any] | None,
    pattern: str | Collection[str] | None,
    capping: str | Collection[str] | None,
    reference: str | None,
    references: xr.Dataset | None,
    statuses: Collection[str],
) -> Figure:
    found = readable(ds)
    for dim, labels in (("pattern", pattern), ("capping", capping)):
        if labels is not None:
            found = found.sel({dim: [labels] if isinstance(labels, str) else list(labels)})
    found = done(found[[name, *(key for key in (*_FLAGS, f"{name}_spread") if key in found)]], statuses).compute()
    systems = [dict(zip(_ROW_DIMS, labels, strict=True)) for labels in product(*(found[d].values for d in _ROW_DIMS))]
    models, aside = [str(name) for name in found["model"].values], bars_aside(found, name)
    shape = (len(systems), found.sizes["position"])
    with mpl.rc_context(RC):
        panels = _new_panels(shape, models) if axes is None else np.asarray(axes, dtype=object)
        if panels.size != shape[0] * shape[1]:
            raise ValueError(f"axes: expected {shape[0] * shape[1]} (rows of {shape[1]}), found {panels.size}")
        panels = panels.reshape(shape)
        for (row, system), (column, position) in product(enumerate(systems), enumerate(found["position"].values)):
            panel = panels[row, column]
            _draw(panel, found.sel({**system, "position": position}), name, aside)
            if reference is not None and references is not None:
                _draw_reference(panel, reference, references, {**system, "position": str(position)})
            if row == 0:
                panel.set_title(f"{position} H-bond")
            if row == shape[0] - 1:
                panel.set_xlabel("length (NMA units)")
            if column == 0:
                words = _name(system, found)
                if axes is None:
                    panel.set_ylabel(words, fontweight="bold")
                else:
                    panel.set_ylabel(f"{words}\n{_LABELS[name]}")
        figure: Figure = panels[0, 0].get_figure(root=True)
        if axes is None:
            figure.supylabel(_LABELS[name], fontsize=RC["axes.labelsize"])
            drawn = [model for model in models if bool(found[name].sel(model=model).notnull().any())]
            hollow = _hollow_words(found, name)
            draw_legend(figure, drawn or models, hollow=hollow, reference=reference, spread=bool(aside))
    return figure


def draw_legend(
    figure: Figure, models: Iterable[str], *, hollow: str = "", reference: str | None = None, spread: bool = False
) -> Legend:
    """Legend of models on the right, outside the panels.

    `hollow` says what the hollow points are, if any; `spread` is whether to say what bars are.
    """
    look: dict[str, Any]
    handles = [] if reference is None else [Line2D([], [], label=reference, **REFERENCE)]
    for name in models:
        style = model_style(name)
        handles.append(Line2D([], [], color=style.colour, marker=style.marker, label=name))
    if hollow:
        look = {"color": GREY, "marker": "o", "markerfacecolor": "white", "linestyle": "none"}
        handles.append(Line2D([], [], label=f"hollow:\n{hollow}", **look))
    if spread:
        look = {"color": GREY, "marker": "|", "markersize": 11.0, "linestyle": "none"}
        handles.append(Line2D([], [], label="bars: spread\nover the ensemble", **look))
    return figure.legend(handles=handles, loc="outside right upper")


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure at print resolution; the suffix says which format (png, pdf, svg)."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(RC):
        figure.savefig(target)
    return target


def _new_panels(shape: tuple[int, int], models: Sequence[str]) -> NDArray[Any]:
    rows, columns = shape
    # the legend's room comes on top, so that panels are the same size whatever the models are called
    legend = 0.5 + 0.065 * max([*map(len, models), 12])
    size = (PANEL_WIDTH * columns + legend, max(PANEL_HEIGHT * rows + 0.35, 0.17 * (len(models) + 5)))
    figure = Figure(figsize=size, layout="constrained")
    panels: NDArray[Any] = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    return panels


def _draw_reference(panel: Axes, reference: str, references: xr.Dataset, place: Mapping[str, str]) -> None:
    """Values of the same chains, one point per geometry that has one."""
    known = references["cooperative_energy"]
    labels = {dim: place[dim] for dim in ("pattern", "capping", "rotamer", "position")}
    if reference not in known["model"].values or any(labels[dim] not in known[dim].values for dim in labels):
        return
    values = known.sel({"model": reference, **labels})
    for geometry in values["geometry"].values:
        here = values.sel(geometry=geometry).dropna("length")
        # a bare dimer has nothing to cooperate with
        here = here.sel(length=here["length"] > (2 if labels["capping"] == "none" else 1))
        panel.plot(here["length"], here, label=f"_reference {geometry}", zorder=4, **REFERENCE)


def _draw(panel: Axes, values: xr.Dataset, name: str, aside: Mapping[str, float]) -> None:
    if name == "cooperative_energy":
        panel.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    lengths, hollow = values["length"].values, _hollow(values)
    drawn = False
    for model in values["model"].values:
        energy = values[name].sel(model=model).values
        if not np.isfinite(energy).any():
            continue
        drawn, style = True, model_style(str(model))
        panel.plot(lengths, energy, color=style.colour, marker=style.marker, label=str(model), zorder=2)
        if model in aside:
            spread = values[f"{name}_spread"].sel(model=model).values
            draw_bars(panel, lengths + aside[model], energy, spread, str(model))
        flagged = np.where(hollow.sel(model=model).values, energy, np.nan)
        if np.isfinite(flagged).any():
            # drawn over the filled marker of the line; the leading underscore keeps it out of legends
            over: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markerfacecolor": "white"}
            panel.plot(lengths, flagged, linestyle="none", label=f"_hollow {model}", zorder=3, **over)
    if not drawn:
        panel.text(0.5, 0.5, "no results", transform=panel.transAxes, ha="center", va="center", color=GREY)
    # half a unit of room on either side: a single length would have no width at all
    panel.set_xlim(lengths.min() - 0.5, lengths.max() + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))


def bars_aside(ds: xr.Dataset, name: str) -> dict[str, float]:
    """How far from their points, along the axis, bars of the ensembles among the models stand."""
    ensembles = with_spread(ds, name)
    return {model: _ASIDE * (at - (len(ensembles) - 1) / 2) for at, model in enumerate(ensembles)}


def draw_bars(panel: Axes, x: NDArray[Any], energy: NDArray[Any], spread: NDArray[Any], model: str) -> None:
    """Bars of one ensemble, behind its points."""
    look: dict[str, Any] = {"elinewidth": 0.9, "capsize": 1.8, "capthick": 0.9, "zorder": 1.5}
    panel.errorbar(x, energy, spread, fmt="none", ecolor=model_style(model).colour, label=f"_spread {model}", **look)


def _flags(values: xr.Dataset) -> dict[str, xr.DataArray]:
    """What makes a point hollow, by its name in the legend."""
    flags = {
        name: values[key] == 1 for name, key in (("saddle", "saddle"), ("near-ring", "near_ring")) if key in values
    }
    return {**flags, "not done": values["status"] != "done"}


def _hollow(values: xr.Dataset) -> xr.DataArray:
    return functools.reduce(operator.or_, _flags(values).values())


def _hollow_words(found: xr.Dataset, name: str) -> str:
    drawn = found[name].notnull()
    return ", ".join(words for words, flag in _flags(found).items() if bool((flag & drawn).any()))


def _name(system: dict[str, str], found: xr.Dataset) -> str:
    """A system in words; rotamer and geometry only where the figure has more than one."""
    capping = {"none": "bare", "water": "water-capped"}.get(system["capping"], system["capping"])
    rest = [system[dim] for dim in ("geometry", "rotamer") if found.sizes[dim] > 1]
    return ", ".join([system["pattern"], capping, *rest])
