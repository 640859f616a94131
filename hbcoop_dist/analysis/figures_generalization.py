"""Errors of trained networks by split, one bar per scheme; a tick for every seed."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hbcoop_dist.analysis.generalization import TITLES, axis_label, errors, one_network
from hbcoop_dist.analysis.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, scheme_colour

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
