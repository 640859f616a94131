"""Draw which molecules a cooperative energy comes from, as the paper's sixth figure does: unit against length."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hbcoop_dist.analysis.decomposition import by_molecule
from hbcoop_dist.analysis.style import GREY, PANEL_HEIGHT, PANEL_WIDTH, RC

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
