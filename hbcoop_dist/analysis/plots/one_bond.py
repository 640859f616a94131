"""Figures of one H-bond: energy parts and methyl rotamers of every model, and contributions of molecules."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hbcoop_dist.analysis.plots.style import (
    GREY,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    RC,
    bond_title,
    model_style,
    no_results,
)
from hbcoop_dist.analysis.quantities import by_molecule
from hbcoop_dist.analysis.selection import DONE, done, require_labels

_PARTS = ("cooperative_energy_electronic", "cooperative_energy_geometric")
_MARKERS = ("o", "s", "^", "v", "D", "P")
_ROW = 0.24
"""Inches of height per model."""


def parts(
    ds: xr.Dataset,
    *,
    length: int = 4,
    pattern: str = "arc",
    capping: str = "none",
    position: str = "middle",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Draw the electronic (full colour) and geometric part (pale) of one bond of every model at own minima.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    length, pattern, capping, position
        Bond and chain to draw, in the first rotamer.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such chain.
    """
    chain = {"length": length, "pattern": pattern, "capping": capping, "geometry": "own"}
    require_labels(ds, chain)
    masked = (
        done(ds[[*_PARTS, "status"]], statuses)
        .sel(chain)
        .isel(rotamer=0, constraint=0)
        .sel(position=position)
        .compute()
    )
    finite = np.isfinite(masked[_PARTS[0]].values)
    models = [str(name) for name, flag in zip(masked["model"].values, finite, strict=True) if flag]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(2.4 * PANEL_WIDTH, 0.9 + _ROW * max(len(models), 2)), layout="constrained")
        panel = figure.subplots()
        for row, model in enumerate(models):
            electronic, geometric = (float(masked[name].sel(model=model)) for name in _PARTS)
            colour = model_style(model).colour
            panel.barh(row, electronic, height=0.62, color=colour)
            # parts of one sign are stacked; those of different signs both start at zero
            start = electronic if electronic * geometric > 0 else 0.0
            panel.barh(row, geometric, left=start, height=0.62, color=colour, alpha=0.35)
        _rows_of_models(panel, models)
        panel.set_xlabel("cooperative energy (kcal/mol): electronic, and geometric (pale)")
        panel.set_title(bond_title(position, pattern, length, capping))
    return figure


def rotamers(
    ds: xr.Dataset,
    *,
    length: int = 4,
    pattern: str = "arc",
    capping: str = "none",
    position: str = "middle",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Draw the cooperative energy of one bond in each methyl rotamer, one row per model, at own minima.

    Saddles have hollow markers. A line joins the lowest and the highest value of a model.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains with two rotamers or more.
    length, pattern, capping, position
        Bond and chain to draw.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has only one rotamer, or no such chain.
    """
    labels = [str(label) for label in ds["rotamer"].values]
    if len(labels) < 2:
        raise ValueError(f"rotamer: expected two or more to compare, found {', '.join(labels)}")
    chain = {"length": length, "pattern": pattern, "capping": capping, "geometry": "own"}
    require_labels(ds, chain)
    names = [name for name in ("cooperative_energy", "saddle", "status") if name in ds]
    masked = done(ds[names], statuses).isel(constraint=0).sel(chain).sel(position=position).compute()
    energy = masked["cooperative_energy"].transpose("model", "rotamer").values
    saddle = (
        (masked["saddle"] == 1).transpose("model", "rotamer").values
        if "saddle" in masked
        else np.zeros(energy.shape, dtype=bool)
    )
    drawn = np.isfinite(energy).any(axis=1)
    energy, saddle, models = energy[drawn], saddle[drawn], [str(name) for name in masked["model"].values[drawn]]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(2.4 * PANEL_WIDTH + 1.4, 0.9 + _ROW * max(len(models), 5)), layout="constrained")
        panel = figure.subplots()
        for row, model in enumerate(models):
            colour = model_style(model).colour
            ends = [np.nanmin(energy[row]), np.nanmax(energy[row])]
            panel.plot(ends, [row, row], color=colour, linewidth=1.0, alpha=0.5, zorder=1, label=f"_range {model}")
            for number, label in enumerate(labels):
                fill = "white" if saddle[row, number] else colour
                look: dict[str, Any] = {"color": colour, "markerfacecolor": fill, "linestyle": "none", "zorder": 2}
                panel.plot([energy[row, number]], [row], _MARKERS[number % 6], label=f"{model} {label}", **look)
        _rows_of_models(panel, models)
        panel.set_xlabel("cooperative energy (kcal/mol)")
        panel.set_title(bond_title(position, pattern, length, capping))
        grey: dict[str, Any] = {"color": GREY, "linestyle": "none"}
        handles = [Line2D([], [], marker=_MARKERS[k % 6], label=label, **grey) for k, label in enumerate(labels)]
        if saddle.any():
            handles.append(Line2D([], [], marker="o", markerfacecolor="white", label="hollow: saddle", **grey))
        figure.legend(handles=handles, loc="outside right upper")
    return figure


def _rows_of_models(panel: Axes, models: Sequence[str]) -> None:
    """Label rows with models, the first on top, and mark zero."""
    panel.grid(axis="x")
    panel.grid(visible=False, axis="y")
    panel.axvline(0.0, color=GREY, linewidth=0.8)
    panel.set_yticks(range(len(models)), models)
    panel.set_ylim(max(len(models), 1) - 0.4, -0.6)
    if not models:
        no_results(panel)


def molecule_map(
    ds: xr.Dataset, model: str | None = None, *, pattern: str = "arc", capping: str = "none", position: str = "middle"
) -> Figure:
    """Draw the contributions of molecules (rows) to the cooperative energy of one bond, by chain length (columns).

    Blue contributions weaken the bond, red ones strengthen it; molecules A and B of the bond are marked. Feng, Xu and
    Huang (2025), figure 6 and Eqs. 2 to 5.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains; its first geometry and rotamer are drawn.
    model : str, optional
        Model with per-atom energies; the first of the store by default.
    pattern, capping, position : str
        Bond and chains to draw.

    Raises
    ------
    ValueError
        When the model has no per-atom energies, or no such chain is done.
    """
    contributions = by_molecule(ds)
    energy = contributions["molecular_cooperative_energy"]
    energy = energy.sel(pattern=pattern, capping=capping).isel(geometry=0, rotamer=0, constraint=0)
    bond = ds["position_hbond"].sel(position=position)
    energy = energy.sel(hbond=bond).compute()
    if model is None:
        with_energies = energy.notnull().any([dim for dim in energy.dims if dim != "model"]).values
        model = str(energy["model"].values[int(np.argmax(with_energies))])
    require_labels(ds, {"model": model})
    energy = energy.sel(model=model)
    if not bool(energy.notnull().any()):
        raise ValueError(
            f"model {model}: expected done cells with energies of atoms ({pattern}, {capping}), found none"
        )
    roles = contributions["role"].sel(capping=capping).sel(hbond=bond).transpose("molecule", "length").values
    rows = int(np.flatnonzero((roles != "").any(axis=1)).max()) + 1
    values, roles = energy.transpose("molecule", "length").values[:rows], roles[:rows]
    limit = float(np.nanmax(np.abs(values))) or 1.0
    lengths = energy["length"].values
    with mpl.rc_context(RC):
        size = (max(PANEL_WIDTH, 0.3 * len(lengths) + 1.1), max(PANEL_HEIGHT, 0.2 * len(values) + 0.8))
        figure = Figure(figsize=size, layout="constrained")
        panel = figure.subplots()
        panel.grid(False)
        mesh = panel.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
        for row, column in np.argwhere(np.isin(roles, ("A", "B"))):
            dark = abs(values[row, column]) > 0.5 * limit
            look: dict[str, Any] = {"ha": "center", "va": "center", "color": "white" if dark else GREY, "fontsize": 7}
            panel.text(column, row, str(roles[row, column]), **look)
        panel.set_xticks(range(len(lengths)), [str(length) for length in lengths])
        panel.set_xlabel("length (NMA units)")
        panel.set_ylabel("molecule, units first")
        panel.set_title(f"{model}, {pattern}, {position} H-bond" + (", capped" if capping == "water" else ""))
        figure.colorbar(mesh, ax=panel, label="kcal/mol")
    return figure
