"""Draw the isolated dimers, as the paper's second figure does: interaction energy and O..N distance, syn and anti."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hbcoop_dist.analysis.mask import DONE, done
from hbcoop_dist.analysis.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style

_PANELS = {
    "dimer_interaction_energy": "interaction energy (kcal/mol)",
    "dimer_distance_on": "O..N distance (A)",
}
_FILLED: dict[str, Literal["full", "none"]] = {"syn": "full", "anti": "none"}


def dimers(ds: xr.Dataset, *, geometry: str = "own", statuses: Collection[str] = DONE) -> Figure:
    """Interaction energy and O..N distance of the isolated dimer, one column of points per model.

    Syn dimers are filled, anti ones open; what is not done is not drawn. One rotamer is drawn, the first of the store.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    geometry : str
        Which geometry's dimers.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such geometry.
    """
    if geometry not in ds["geometry"].values:
        raise ValueError(f"geometry: expected one of {', '.join(map(str, ds['geometry'].values))}, found {geometry}")
    found = done(ds[[*_PANELS, "dimer_status"]], statuses).sel(geometry=geometry).isel(rotamer=0).compute()
    known = found["dimer_interaction_energy"].notnull().any("conformer")
    models = [str(model) for model, there in zip(found["model"].values, known.values, strict=True) if there]
    with mpl.rc_context(RC):
        width = max(PANEL_WIDTH * 1.4, 0.32 * len(models) + 0.9)
        figure = Figure(figsize=(2 * width, PANEL_HEIGHT + 0.7), layout="constrained")
        for panel, (name, words) in zip(figure.subplots(1, 2), _PANELS.items(), strict=True):
            for place, model in enumerate(models):
                style = model_style(model)
                for conformer in found["conformer"].values:
                    value = float(found[name].sel(model=model, conformer=conformer))
                    look: dict[str, Any] = {
                        "color": style.colour,
                        "marker": style.marker,
                        "fillstyle": _FILLED[str(conformer)],
                    }
                    panel.plot([place], [value], linestyle="none", label=f"{model} {conformer}", **look)
            panel.set_xticks(range(len(models)), models, rotation=60, ha="right", rotation_mode="anchor")
            panel.set_xlim(-0.6, max(len(models), 1) - 0.4)
            panel.set_ylabel(words)
            if not models:
                panel.text(0.5, 0.5, "no results", transform=panel.transAxes, ha="center", va="center", color=GREY)
        handles = [
            Line2D([], [], color=GREY, marker="o", linestyle="none", fillstyle=fill, label=conformer)
            for conformer, fill in _FILLED.items()
        ]
        figure.legend(handles=handles, loc="outside right upper")
    return figure


def syn_anti_difference(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.DataArray:
    """Interaction energy of the anti dimer less that of the syn one, kcal/mol, by model, geometry and rotamer."""
    energy = done(ds[["dimer_interaction_energy", "dimer_status"]], statuses)["dimer_interaction_energy"]
    found = energy.sel(conformer="anti", drop=True) - energy.sel(conformer="syn", drop=True)
    found.attrs = {"units": "kcal/mol", "long_name": "interaction energy, anti less syn"}
    return found.where(np.isfinite(found))
