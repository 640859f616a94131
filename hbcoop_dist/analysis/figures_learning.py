"""Learning curves: validation errors against training steps, one line per scheme."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from hbcoop_dist.analysis.generalization import axis_label, one_network
from hbcoop_dist.analysis.style import PANEL_HEIGHT, PANEL_WIDTH, scheme_colour


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
