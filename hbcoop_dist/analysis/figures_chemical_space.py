"""Maps of chemical space, one panel per split: where a network learns, and where it is tested."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hbcoop_dist.analysis.style import PANEL_HEIGHT, PANEL_WIDTH

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
