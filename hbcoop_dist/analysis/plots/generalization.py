"""Errors of trained networks by split, one bar per scheme; a tick for every seed.

Learning curves: validation errors against training steps, one line per scheme.

Maps of chemical space, one panel per split: where a network learns, and where it is tested.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from hbcoop_dist.analysis.generalization_errors import TITLES, axis_label, errors, one_network
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, scheme_colour

_PANELS = ("energy_rmse", "forces_rmse", "interaction_near_rmse", "interaction_beyond_rmse")


def errors_by_split(ds: xr.Dataset, dataset: str | None = None, architecture: str | None = None) -> Figure:
    """One panel per error that the store has.

    Parameters
    ----------
    ds : xarray.Dataset
        Of a generalization store.
    dataset, architecture : str, optional
        The first of the store when not given.
    """
    here = one_network(errors(ds), dataset, architecture)
    names = [name for name in _PANELS if bool(here[name].notnull().any())] or list(_PANELS[:1])
    figure = Figure(figsize=(1.35 * PANEL_WIDTH * len(names), 1.25 * PANEL_HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for one, name in zip(axes, names, strict=True):
        draw_errors(here[name], one)
        one.set_title(TITLES[name])
        one.set_ylabel(axis_label(ds, name))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
    figure.suptitle(f"{here['dataset'].item()}, {here['architecture'].item()}")
    return figure


def draw_errors(values: xr.DataArray, axes: Axes) -> None:
    """Bars of the mean over seeds and a tick for every seed; dims (split, scheme, seed)."""
    splits, schemes = values["split"].values.tolist(), values["scheme"].values.tolist()
    width = 0.8 / len(schemes)
    for number, scheme in enumerate(schemes):
        own = values.sel(scheme=scheme).transpose("split", "seed").values.astype(float)
        known = np.isfinite(own)
        mean = np.where(
            known.any(axis=1), np.where(known, own, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1), np.nan
        )
        places = np.arange(len(splits)) + (number - (len(schemes) - 1) / 2) * width
        axes.bar(places, mean, 0.9 * width, color=scheme_colour(str(scheme)), label=str(scheme))
        if own.shape[1] > 1:
            axes.plot(np.repeat(places, own.shape[1]), own.ravel(), "_", color=GREY)
    axes.set_xticks(range(len(splits)), [str(split) for split in splits], rotation=20)
    axes.set_ylim(bottom=0)


def learning_curves(ds: xr.Dataset, dataset: str | None = None, architecture: str | None = None) -> Figure:
    """Force errors on the validation set, mean over seeds; one panel per split.

    Parameters
    ----------
    ds : xarray.Dataset
        Of a generalization store.
    dataset, architecture : str, optional
        The first of the store when not given.
    """
    here = one_network(ds, dataset, architecture)
    curves = here["validation_forces_rmse"]
    splits = [str(split) for split in ds["split"].values]
    figure = Figure(figsize=(1.2 * PANEL_WIDTH * len(splits), 1.25 * PANEL_HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for one, split in zip(axes, splits, strict=True):
        for scheme in map(str, ds["scheme"].values):
            mean = curves.sel(split=split, scheme=scheme).mean("seed")
            one.plot(mean["step"].values, mean.values, color=scheme_colour(scheme), label=scheme)
        one.set_yscale("log")
        one.set_title(split)
        one.set_xlabel("step")
    axes[0].set_ylabel(axis_label(ds, "validation_forces_rmse"))
    for formatter in (axes[0].yaxis.set_major_formatter, axes[0].yaxis.set_minor_formatter):
        formatter(LogFormatter(minor_thresholds=(1.0, 0.5)))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
    figure.suptitle(f"{here['dataset'].item()}, {here['architecture'].item()}: forces, validation set")
    return figure


PARTS = {0: ("training", "#0072B2"), 1: ("validation", "#56B4E9"), 2: ("test", "#D55E00")}
"""Name and colour of every part of a set."""


def chemical_space(ds: xr.Dataset, dataset: str | None = None) -> Figure:
    """One map per split of a set, at the store's first seed.

    Parameters
    ----------
    ds : xarray.Dataset
        Of a generalization store.
    dataset : str, optional
        The first of the store when not given.
    """
    chosen = ds.sel(dataset=ds["dataset"].values[0] if dataset is None else dataset).isel(seed=0)
    splits = [str(split) for split in ds["split"].values if bool((chosen["part"].sel(split=split) >= 0).any())]
    figure = Figure(figsize=(1.25 * PANEL_WIDTH * max(len(splits), 1), 1.25 * PANEL_HEIGHT), layout="constrained")
    axes = figure.subplots(1, max(len(splits), 1), squeeze=False)[0]
    for one, split in zip(axes, splits, strict=False):
        draw_map(chosen.sel(split=split), one)
        one.set_title(split)
    if splits:
        handles = [
            Line2D([], [], color=colour, marker="o", linestyle="none", label=name) for name, colour in PARTS.values()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.suptitle(f"{chosen['dataset'].item()}: UMAP of SOAP")
    return figure


def draw_map(one: xr.Dataset, axes: Axes) -> None:
    """Structures of one set and split; dims (structure,)."""
    mine = one.isel(structure=np.flatnonzero(one["part"].values >= 0))
    # in the order of the set: part after part, the last would hide the others
    colours = [PARTS[int(number)][1] for number in mine["part"].values]
    axes.scatter(mine["umap_1"].values, mine["umap_2"].values, s=5, color=colours, alpha=0.8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
