"""Draw which molecules a cooperative energy comes from, as the paper's sixth figure does: unit against length.

Draw the two parts of a cooperative energy side by side: electronic, and geometric.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hbcoop_dist.analysis.decomposition import by_molecule
from hbcoop_dist.analysis.plots.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC, model_style
from hbcoop_dist.analysis.selection import DONE, done, require_labels

_WATER = "water"


def molecule_map(
    ds: xr.Dataset, model: str, *, pattern: str = "arc", capping: str = "none", position: str = "middle"
) -> Figure:
    """Cooperative energy of one bond by molecule (rows) and length (columns), in blue where it weakens the bond.

    Molecules A and B of the bond are marked; geometry and rotamer are the first of the store.

    Raises
    ------
    ValueError
        When the model has no energies of atoms, or nothing is done.
    """
    cell = {"model": model, "pattern": pattern, "capping": capping}
    found = by_molecule(ds)
    energy = found["molecular_cooperative_energy"].sel(cell).isel(geometry=0, rotamer=0)
    bond = ds["position_hbond"].sel(position=position)
    here = energy.sel(hbond=bond).compute()
    if not bool(here.notnull().any()):
        raise ValueError(
            f"model {model}: expected done cells with energies of atoms ({pattern}, {capping}), found none"
        )
    roles = found["role"].sel(capping=capping).sel(hbond=bond).transpose("molecule", "length").values
    there = int(np.flatnonzero((roles != "").any(axis=1)).max()) + 1
    values, roles = here.transpose("molecule", "length").values[:there], roles[:there]
    limit = float(np.nanmax(np.abs(values))) or 1.0
    lengths = here["length"].values
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
        panel.set_title(f"{model}, {pattern}, {position} H-bond" + (", capped" if capping == _WATER else ""))
        figure.colorbar(mesh, ax=panel, label="kcal/mol")
    return figure


_PARTS = ("cooperative_energy_electronic", "cooperative_energy_geometric")
_ROW = 0.24


def parts(
    ds: xr.Dataset,
    *,
    length: int = 4,
    pattern: str = "arc",
    capping: str = "none",
    position: str = "middle",
    statuses: Collection[str] = DONE,
) -> Figure:
    """Electronic part (full colour) and geometric part (pale) of one bond of every model, at its own minimum.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    length, pattern, capping, position
        Which bond of which chain; of the first rotamer.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When the store has no such chain.
    """
    place = {"length": length, "pattern": pattern, "capping": capping, "geometry": "own"}
    require_labels(ds, place)
    found = done(ds[[*_PARTS, "status"]], statuses).sel(place).isel(rotamer=0).sel(position=position).compute()
    known = np.isfinite(found[_PARTS[0]].values)
    models = [str(name) for name, there in zip(found["model"].values, known, strict=True) if there]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(2.4 * PANEL_WIDTH, 0.9 + _ROW * max(len(models), 2)), layout="constrained")
        panel = figure.subplots()
        panel.grid(axis="x")
        panel.grid(visible=False, axis="y")
        panel.axvline(0.0, color=GREY, linewidth=0.8)
        for row, model in enumerate(models):
            electronic, geometric = (float(found[name].sel(model=model)) for name in _PARTS)
            colour = model_style(model).colour
            panel.barh(row, electronic, height=0.62, color=colour)
            # one bar goes on where the other ends; of different signs both start at zero
            start = electronic if electronic * geometric > 0 else 0.0
            panel.barh(row, geometric, left=start, height=0.62, color=colour, alpha=0.35)
        panel.set_yticks(range(len(models)), models)
        panel.set_ylim(len(models) - 0.4, -0.6)
        panel.set_xlabel("cooperative energy (kcal/mol): electronic, and geometric (pale)")
        panel.set_title(f"{position} H-bond, {pattern}, n = {length}" + (", capped" if capping == "water" else ""))
        if not models:
            panel.text(0.5, 0.5, "no results", transform=panel.transAxes, ha="center", va="center", color=GREY)
    return figure
