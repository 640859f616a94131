"""Figures of a generalization store: errors by split, learning curves, and maps of chemical space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from hbcoop_dist.analysis.claim_tests import TITLES, axis_label, errors, one_network
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, scheme_colour

_PANELS = ("energy_rmse", "forces_rmse", "interaction_near_rmse", "interaction_beyond_rmse")
PARTS = {0: ("training", "#0072B2"), 1: ("validation", "#56B4E9"), 2: ("test", "#D55E00")}
"""Name and colour of each part of a split."""


def errors_by_split(ds: xr.Dataset, dataset: str | None = None, architecture: str | None = None) -> Figure:
    """Draw errors on the test set by split, one panel per error and one bar per scheme.

    Bars are means over seeds; ticks are the seeds.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.
    dataset, architecture : str, optional
        Set and architecture to draw; the first of the store by default.
    """
    network = one_network(errors(ds), dataset, architecture)
    names = [name for name in _PANELS if bool(network[name].notnull().any())] or list(_PANELS[:1])
    figure, panels = _new_panels(len(names), 1.35)
    for panel, name in zip(panels, names, strict=True):
        draw_errors(network[name], panel)
        panel.set_title(TITLES[name])
        panel.set_ylabel(axis_label(ds, name))
    _legend_of(figure, panels[0])
    figure.suptitle(f"{network['dataset'].item()}, {network['architecture'].item()}")
    return figure


def draw_errors(values: xr.DataArray, axes: Axes) -> None:
    """Draw one error into a panel.

    Parameters
    ----------
    values : xarray.DataArray
        Dims (split, scheme, seed).
    axes : Axes
    """
    splits, schemes = values["split"].values.tolist(), values["scheme"].values.tolist()
    width = 0.8 / len(schemes)
    for number, scheme in enumerate(schemes):
        seeds = values.sel(scheme=scheme).transpose("split", "seed").values.astype(float)
        finite = np.isfinite(seeds)
        # nanmean would warn of splits without any network
        total, count = np.where(finite, seeds, 0).sum(axis=1), finite.sum(axis=1)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        x = np.arange(len(splits)) + (number - (len(schemes) - 1) / 2) * width
        axes.bar(x, mean, 0.9 * width, color=scheme_colour(str(scheme)), label=str(scheme))
        if seeds.shape[1] > 1:
            axes.plot(np.repeat(x, seeds.shape[1]), seeds.ravel(), "_", color=GREY)
    axes.set_xticks(range(len(splits)), [str(split) for split in splits], rotation=20)
    axes.set_ylim(bottom=0)


def learning_curves(ds: xr.Dataset, dataset: str | None = None, architecture: str | None = None) -> Figure:
    """Draw force errors on the validation set against training steps, mean over seeds, one panel per split.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.
    dataset, architecture : str, optional
        Set and architecture to draw; the first of the store by default.
    """
    network = one_network(ds, dataset, architecture)
    splits = [str(split) for split in ds["split"].values]
    figure, panels = _new_panels(len(splits), 1.2, sharey=True)
    for panel, split in zip(panels, splits, strict=True):
        for scheme in map(str, ds["scheme"].values):
            mean = network["validation_forces_rmse"].sel(split=split, scheme=scheme).mean("seed")
            panel.plot(mean["step"].values, mean.values, color=scheme_colour(scheme), label=scheme)
        panel.set_yscale("log")
        panel.set_title(split)
        panel.set_xlabel("step")
    panels[0].set_ylabel(axis_label(ds, "validation_forces_rmse"))
    for set_formatter in (panels[0].yaxis.set_major_formatter, panels[0].yaxis.set_minor_formatter):
        set_formatter(LogFormatter(minor_thresholds=(1.0, 0.5)))
    _legend_of(figure, panels[0])
    figure.suptitle(f"{network['dataset'].item()}, {network['architecture'].item()}: forces, validation set")
    return figure


def chemical_space(ds: xr.Dataset, dataset: str | None = None) -> Figure:
    """Draw UMAP maps of SOAP descriptors coloured by part, one panel per split, at the first seed of the store.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.
    dataset : str, optional
        Set to draw; the first of the store by default.
    """
    chosen = ds.sel(dataset=ds["dataset"].values[0] if dataset is None else dataset).isel(seed=0)
    splits = [str(split) for split in ds["split"].values if bool((chosen["part"].sel(split=split) >= 0).any())]
    figure, panels = _new_panels(max(len(splits), 1), 1.25)
    for panel, split in zip(panels, splits, strict=False):
        draw_map(chosen.sel(split=split), panel)
        panel.set_title(split)
    if splits:
        handles = [
            Line2D([], [], color=colour, marker="o", linestyle="none", label=name) for name, colour in PARTS.values()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.suptitle(f"{chosen['dataset'].item()}: UMAP of SOAP")
    return figure


def draw_map(ds: xr.Dataset, axes: Axes) -> None:
    """Draw the map of one set and split into a panel.

    Parameters
    ----------
    ds : xarray.Dataset
        ``part``, ``umap_1`` and ``umap_2`` over the dim structure.
    axes : Axes
    """
    structures = ds.isel(structure=np.flatnonzero(ds["part"].values >= 0))
    # one call in the order of the set: drawn part by part, the last part would hide the others
    colours = [PARTS[int(number)][1] for number in structures["part"].values]
    axes.scatter(structures["umap_1"].values, structures["umap_2"].values, s=5, color=colours, alpha=0.8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)


def _new_panels(columns: int, width: float, **options: Any) -> tuple[Figure, Sequence[Axes]]:
    size = (width * PANEL_WIDTH * columns, 1.25 * PANEL_HEIGHT)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, **options)[0]


def _legend_of(figure: Figure, panel: Axes) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
