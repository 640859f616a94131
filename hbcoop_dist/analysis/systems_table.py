"""Marked systems in a terminal: cooperative energy of the pair in every one, model by model."""

from __future__ import annotations

import numpy as np
import xarray as xr
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

_COLUMNS = {
    "cooperative_energy": "dV",
    "cooperative_energy_electronic": "electronic",
    "interaction_energy": "V in complex",
    "interaction_energy_dimer": "V alone",
}


def systems_tables(ds: xr.Dataset) -> list[RenderableType]:
    """A line per system and model, kcal/mol and A; below it why what is not done is not.

    Parameters
    ----------
    ds : Dataset
        Of `hbcoop_dist.store.open_systems`.
    """
    table = Table(box=box.SIMPLE_HEAD, title="Marked systems, kcal/mol and angstrom", title_justify="left")
    for heading in ("system", "model"):
        table.add_column(heading, overflow="fold")
    for heading in (*_COLUMNS.values(), "A..B"):
        table.add_column(heading, justify="right")
    reasons: dict[str, list[str]] = {}
    for system in ds.system.values:
        for model in ds.model.values:
            one = ds.sel(system=system, model=model)
            if (status := str(one.status.values)) == "done":
                numbers = [f"{_number(one, name):.2f}" for name in _COLUMNS]
                table.add_row(str(system), str(model), *numbers, f"{_number(one, 'distance'):.3f}")
            else:
                table.add_row(str(system), str(model), status)
                if reason := str(one.reason.values):
                    reasons.setdefault(f"{model}: {reason}", []).append(str(system))
    return [table, *(Text(f"{', '.join(systems)}, {reason}") for reason, systems in reasons.items())]


def _number(one: xr.Dataset, name: str) -> float:
    # a zero of round-off has no sign
    return float(np.round(one[name].values, 6)) + 0.0
