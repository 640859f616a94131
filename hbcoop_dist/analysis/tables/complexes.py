"""Terminal tables of a store of complexes with a marked pair."""

from __future__ import annotations

import xarray as xr
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hbcoop_dist.analysis.tables.columns import fixed_point

_COLUMNS = {
    "cooperative_energy": "dV",
    "cooperative_energy_electronic": "electronic",
    "interaction_energy": "V in complex",
    "interaction_energy_dimer": "V alone",
}


def complex_tables(ds: xr.Dataset) -> list[RenderableType]:
    """One row per complex and model (kcal/mol and A), followed by the reasons of those that are not done.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of complexes, dims (model, complex, ...).
    """
    table = Table(box=box.SIMPLE_HEAD, title="Complexes, kcal/mol and angstrom", title_justify="left")
    for heading in ("complex", "model"):
        table.add_column(heading, overflow="fold")
    for heading in (*_COLUMNS.values(), "A..B"):
        table.add_column(heading, justify="right")
    reasons: dict[str, list[str]] = {}
    for name in map(str, ds["complex"].values):
        for model in map(str, ds["model"].values):
            cell = ds.sel(complex=name, model=model)
            if (status := str(cell["status"].item())) == "done":
                energies = [fixed_point(float(cell[column])) for column in _COLUMNS]
                table.add_row(name, model, *energies, fixed_point(float(cell["distance"]), 3))
            else:
                table.add_row(name, model, status)
                if reason := str(cell["reason"].item()):
                    reasons.setdefault(f"{model}: {reason}", []).append(name)
    return [table, *(Text(f"{', '.join(names)}, {reason}") for reason, names in reasons.items())]
