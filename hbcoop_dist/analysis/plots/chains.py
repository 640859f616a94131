"""Figures of H-bonds in chains: a quantity against chain length, and energies along a chain.

Figures are made without pyplot, so that a report or a worker can draw any number of them and leaves no global state.
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

from hbcoop_dist.analysis.model_scores import REFERENCE
from hbcoop_dist.analysis.plots.style import (
    GREY,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    RC,
    REFERENCE_LOOK,
    model_style,
    no_results,
)
from hbcoop_dist.analysis.quantities import with_spread
from hbcoop_dist.analysis.selection import DONE, done, readable, require_labels
from hbcoop_dist.core.arrays import FloatArray, ObjectArray
from hbcoop_dist.references import reference_energies

_CHAIN_DIMS = ("pattern", "capping", "geometry", "rotamer", "constraint")
_LABELS = {"cooperative_energy": "cooperative energy (kcal/mol)", "distance_on": "O..N distance (A)"}
_FLAGS = {"saddle": "saddle", "near_ring": "near-ring"}
"""Flags of a cell and their names in legends."""
_OFFSET = 0.16
"""Units between the error bars of two ensembles, which would hide one another."""


def cooperative_energy_against_length(
    ds: xr.Dataset,
    axes: Sequence[Axes] | ObjectArray | None = None,
    *,
    pattern: str | Collection[str] | None = None,
    capping: str | Collection[str] | None = None,
    reference: str | None = None,
    references: xr.Dataset | None = None,
    statuses: Collection[str] = DONE,
) -> Figure:
    """Draw cooperative energies against length: columns head, middle and tail, one row per kind of chain.

    Cells that are not done are gaps. Saddles, near-rings, and cells of other accepted statuses have hollow markers.
    Error bars are the ensemble spread, one standard deviation over networks at the minimum of their mean; those of
    several ensembles are drawn side by side. All panels share their axes.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    axes : array of Axes, optional
        Panels to draw into, rows of three; a new figure with a legend by default. `draw_legend` adds a legend to the
        figure of given axes.
    pattern, capping : str or collection of str, optional
        Chains to draw; all by default.
    reference : str, optional
        Level of theory in `references`, drawn as black points at every geometry for which it has values.
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) by default.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    Figure
        The new figure, or that of `axes`.

    Raises
    ------
    ValueError
        When the number of axes differs from the number of panels.
    """
    energies = None if reference is None else (reference_energies() if references is None else references)
    return _against_length(ds, "cooperative_energy", axes, pattern, capping, reference, energies, statuses)


def distance_against_length(
    ds: xr.Dataset,
    axes: Sequence[Axes] | ObjectArray | None = None,
    *,
    pattern: str | Collection[str] | None = None,
    capping: str | Collection[str] | None = None,
    statuses: Collection[str] = DONE,
) -> Figure:
    """Draw O..N distances (A) against length.

    Parameters
    ----------
    ds, axes, pattern, capping, statuses
        As for `cooperative_energy_against_length`.
    """
    return _against_length(ds, "distance_on", axes, pattern, capping, None, None, statuses)


def bare_arcs(ds: xr.Dataset, *, reference: str = REFERENCE) -> Figure:
    """Draw cooperative energies of bare arcs at own minima, without near-rings, and a reference in black.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    reference : str
        Level of theory of the bundled references.
    """
    own = ds.sel(geometry=["own"])
    # the bonds of a ring have more neighbours than those of an open chain
    own = own.assign(status=own["status"].where(own["near_ring"] != 1, "unconverged"))
    return cooperative_energy_against_length(own, pattern="arc", capping="none", reference=reference)


def _against_length(
    ds: xr.Dataset,
    name: str,
    axes: Sequence[Axes] | ObjectArray | None,
    pattern: str | Collection[str] | None,
    capping: str | Collection[str] | None,
    reference: str | None,
    references: xr.Dataset | None,
    statuses: Collection[str],
) -> Figure:
    store = readable(ds)
    for dim, labels in (("pattern", pattern), ("capping", capping)):
        if labels is not None:
            store = store.sel({dim: [labels] if isinstance(labels, str) else list(labels)})
    names = [key for key in (name, "status", *_FLAGS, f"{name}_spread") if key in store]
    masked = done(store[names], statuses).compute()
    chains = [
        dict(zip(_CHAIN_DIMS, labels, strict=True)) for labels in product(*(masked[d].values for d in _CHAIN_DIMS))
    ]
    models, offsets = [str(model) for model in masked["model"].values], spread_offsets(masked, name)
    shape = (len(chains), masked.sizes["position"])
    with mpl.rc_context(RC):
        panels = _new_panels(shape, models) if axes is None else np.asarray(axes, dtype=object)
        if panels.size != shape[0] * shape[1]:
            raise ValueError(f"axes: expected {shape[0] * shape[1]} (rows of {shape[1]}), found {panels.size}")
        panels = panels.reshape(shape)
        for (row, chain), (column, position) in product(enumerate(chains), enumerate(masked["position"].values)):
            panel = panels[row, column]
            _draw_lines(panel, masked.sel({**chain, "position": position}), name, offsets)
            if reference is not None and references is not None:
                _draw_reference(panel, reference, references, {**chain, "position": str(position)})
            if row == 0:
                panel.set_title(f"{position} H-bond")
            if row == shape[0] - 1:
                panel.set_xlabel("length (NMA units)")
            if column == 0:
                label = _chain_name(chain, masked)
                if axes is None:
                    panel.set_ylabel(label, fontweight="bold")
                else:
                    panel.set_ylabel(f"{label}\n{_LABELS[name]}")
        figure: Figure = panels[0, 0].get_figure(root=True)
        if axes is None:
            figure.supylabel(_LABELS[name], fontsize=RC["axes.labelsize"])
            drawn = [model for model in models if bool(masked[name].sel(model=model).notnull().any())]
            hollow = _hollow_label(masked, name)
            draw_legend(figure, drawn or models, hollow=hollow, reference=reference, spread=bool(offsets))
    return figure


def draw_legend(
    figure: Figure, models: Iterable[str], *, hollow: str = "", reference: str | None = None, spread: bool = False
) -> Legend:
    """Add a legend of models on the right, outside the panels.

    Parameters
    ----------
    figure : Figure
    models : iterable of str
        Names of models.
    hollow : str
        Meaning of hollow markers; no entry when empty.
    reference : str, optional
        Name of the reference drawn in black.
    spread : bool
        Whether to add an entry for error bars.
    """
    look: dict[str, Any]
    handles = [] if reference is None else [Line2D([], [], label=reference, **REFERENCE_LOOK)]
    for name in models:
        style = model_style(name)
        handles.append(Line2D([], [], color=style.colour, marker=style.marker, label=name))
    if hollow:
        look = {"color": GREY, "marker": "o", "markerfacecolor": "white", "linestyle": "none"}
        handles.append(Line2D([], [], label=f"hollow:\n{hollow}", **look))
    if spread:
        look = {"color": GREY, "marker": "|", "markersize": 11.0, "linestyle": "none"}
        handles.append(Line2D([], [], label="error bars:\nensemble spread", **look))
    return figure.legend(handles=handles, loc="outside right upper")


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure at print resolution.

    Parameters
    ----------
    figure : Figure
    path : str or Path
        File to write; its suffix sets the format (png, pdf, svg). Missing folders are created.

    Returns
    -------
    Path
        The file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(RC):
        figure.savefig(target)
    return target


def _new_panels(shape: tuple[int, int], models: Sequence[str]) -> ObjectArray:
    rows, columns = shape
    # the legend's width is added, so that panels have one size whatever the names of the models
    legend = 0.5 + 0.065 * max([*map(len, models), 12])
    size = (PANEL_WIDTH * columns + legend, max(PANEL_HEIGHT * rows + 0.35, 0.17 * (len(models) + 5)))
    figure = Figure(figsize=size, layout="constrained")
    panels: ObjectArray = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    return panels


def _draw_reference(panel: Axes, reference: str, references: xr.Dataset, bond: Mapping[str, str]) -> None:
    """Reference values of the same chains, at each geometry that has some."""
    energies = references["cooperative_energy"]
    labels = {dim: bond[dim] for dim in ("pattern", "capping", "rotamer", "position")}
    if reference not in energies["model"].values or any(labels[dim] not in energies[dim].values for dim in labels):
        return
    values = energies.sel({"model": reference, **labels})
    for geometry in values["geometry"].values:
        points = values.sel(geometry=geometry).dropna("length")
        # a bare dimer has no environment
        points = points.sel(length=points["length"] > (2 if labels["capping"] == "none" else 1))
        panel.plot(points["length"], points, label=f"_reference {geometry}", zorder=4, **REFERENCE_LOOK)


def _draw_lines(panel: Axes, values: xr.Dataset, name: str, offsets: Mapping[str, float]) -> None:
    if name == "cooperative_energy":
        panel.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    lengths, hollow = values["length"].values, functools.reduce(operator.or_, _hollow_flags(values).values())
    drawn = False
    for model in map(str, values["model"].values):
        y = values[name].sel(model=model).values
        if not np.isfinite(y).any():
            continue
        drawn, style = True, model_style(model)
        panel.plot(lengths, y, color=style.colour, marker=style.marker, label=model, zorder=2)
        if model in offsets:
            spread = values[f"{name}_spread"].sel(model=model).values
            draw_ensemble_spread(panel, lengths + offsets[model], y, spread, model)
        flagged = np.where(hollow.sel(model=model).values, y, np.nan)
        if np.isfinite(flagged).any():
            # covers the filled marker of the line; the leading underscore keeps it out of legends
            look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markerfacecolor": "white"}
            panel.plot(lengths, flagged, linestyle="none", label=f"_hollow {model}", zorder=3, **look)
    if not drawn:
        no_results(panel)
    # half a unit of margin: a single length would have an axis of no width
    panel.set_xlim(lengths.min() - 0.5, lengths.max() + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))


def spread_offsets(ds: xr.Dataset, name: str) -> dict[str, float]:
    """Offset along the x axis at which the error bars of each ensemble are drawn, so that they do not overlap.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    name : str
        Energy whose spread is drawn.

    Returns
    -------
    dict of str to float
        Name of each ensemble -> offset in units of length.
    """
    ensembles = with_spread(ds, name)
    return {model: _OFFSET * (rank - (len(ensembles) - 1) / 2) for rank, model in enumerate(ensembles)}


def draw_ensemble_spread(panel: Axes, x: FloatArray, energy: FloatArray, spread: FloatArray, model: str) -> None:
    """Draw the error bars of one ensemble behind its markers.

    Parameters
    ----------
    panel : Axes
    x, energy, spread : (N,) array
        Places along the x axis, energies and their standard deviations, kcal/mol.
    model : str
        Name of the ensemble.
    """
    look: dict[str, Any] = {"elinewidth": 0.9, "capsize": 1.8, "capthick": 0.9, "zorder": 1.5}
    panel.errorbar(x, energy, spread, fmt="none", ecolor=model_style(model).colour, label=f"_spread {model}", **look)


def _hollow_flags(values: xr.Dataset) -> dict[str, xr.DataArray]:
    """Conditions of a hollow marker, by their names in the legend."""
    flags = {label: values[name] == 1 for name, label in _FLAGS.items() if name in values}
    return {**flags, "not done": values["status"] != "done"}


def _hollow_label(masked: xr.Dataset, name: str) -> str:
    drawn = masked[name].notnull()
    return ", ".join(label for label, flag in _hollow_flags(masked).items() if bool((flag & drawn).any()))


def _chain_name(chain: Mapping[str, str], ds: xr.Dataset) -> str:
    """Name of a kind of chain; geometry, rotamer and constraint only where the figure has several."""
    capping = {"none": "bare", "water": "water-capped"}.get(chain["capping"], chain["capping"])
    others = [chain[dim] for dim in ("geometry", "rotamer", "constraint") if ds.sizes[dim] > 1]
    return ", ".join([chain["pattern"], capping, *others])


_HBOND_ENERGY = "hbond_cooperative_energy"


def every_hbond(
    ds: xr.Dataset,
    *,
    lengths: Collection[int] | None = None,
    pattern: str = "arc",
    capping: str = "none",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Draw the cooperative energy of every H-bond along a chain at own minima, one panel per length.

    Error bars are the ensemble spread, as in `cooperative_energy_against_length`. Chains that are saddles or near-rings
    have hollow markers.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    lengths : collection of int, optional
        Lengths to draw; by default the shortest with a middle bond, an intermediate one and the longest.
    pattern, capping : str
        Chains to draw, in the first rotamer.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such chains.
    """
    if lengths is None:
        available = [int(length) for length in ds["length"].values]
        with_middle = [length for length in available if length > 3] or available
        lengths = dict.fromkeys(with_middle[index] for index in (0, len(with_middle) // 2, -1))
    lengths = list(lengths)
    chain = {"pattern": pattern, "capping": capping, "geometry": "own"}
    for length in lengths:
        require_labels(ds, {**chain, "length": length})
    names = [name for name in (_HBOND_ENERGY, f"{_HBOND_ENERGY}_spread", "status", *_FLAGS) if name in ds]
    masked = done(ds[names], statuses).sel(chain).isel(rotamer=0, constraint=0).sel(length=lengths).compute()
    offsets = spread_offsets(masked, _HBOND_ENERGY)
    models = [
        str(name) for name in masked["model"].values if bool(masked[_HBOND_ENERGY].sel(model=name).notnull().any())
    ]
    with mpl.rc_context(RC):
        height = max(PANEL_HEIGHT * 1.3, 0.17 * (len(models) + 5))
        figure = Figure(figsize=(PANEL_WIDTH * len(lengths) + 1.9, height), layout="constrained")
        panels = figure.subplots(1, len(lengths), sharey=True, squeeze=False).ravel()
        for panel, length in zip(panels, lengths, strict=True):
            _draw_chain(panel, masked.sel(length=length, model=models), offsets)
        if not models:
            no_results(panels[0])
        panels[0].set_ylabel(_LABELS["cooperative_energy"])
        drawn = masked[_HBOND_ENERGY].notnull().any("hbond")
        flags = {label: masked[name] == 1 for name, label in _FLAGS.items() if name in masked}
        hollow = ", ".join(label for label, flag in flags.items() if bool((flag & drawn).any()))
        draw_legend(figure, models, hollow=hollow, spread=bool(offsets))
    return figure


def _draw_chain(panel: Axes, chain: xr.Dataset, offsets: Mapping[str, float]) -> None:
    length = int(chain["length"])
    bonds = np.arange(1.0, length)
    panel.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    for model in map(str, chain["model"].values):
        values, style = chain.sel(model=model), model_style(model)
        energy = values[_HBOND_ENERGY].values[: length - 1]
        if not np.isfinite(energy).any():
            continue
        hollow = any(name in values and int(values[name]) == 1 for name in _FLAGS)
        fill = "white" if hollow else style.colour
        panel.plot(bonds, energy, color=style.colour, marker=style.marker, markerfacecolor=fill, label=model)
        if model in offsets:
            spread = values[f"{_HBOND_ENERGY}_spread"].values[: length - 1]
            draw_ensemble_spread(panel, bonds + offsets[model], energy, spread, model)
    panel.set_title(f"{length} units")
    panel.set_xlabel("H-bond, from the head")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))
