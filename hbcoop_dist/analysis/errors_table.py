"""Print the errors of trained networks in a terminal: a section per set, split and network, a row per scheme."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from rich.text import Text

from hbcoop_dist.analysis.columns import Columns, Row, Section
from hbcoop_dist.analysis.generalization import errors_table

_HEADINGS = {
    "seeds": ("seeds", 0),
    "energy_rmse": ("E", 1),
    "forces_rmse": ("F", 1),
    "interaction_near_rmse": ("near", 2),
    "interaction_beyond_rmse": ("beyond", 2),
    "charges_mae": ("q", 3),
    "charges_correlation": ("r(q)", 2),
    "dipole_rmse": ("dipole", 2),
}
_LEGEND = (
    "E: energy per atom, meV; F: force components, meV/A; near, beyond: interaction",
    "energies of molecules within the cutoff and beyond it, kcal/mol; q: charges,",
    "mean absolute error, e; r(q): their correlation; dipole: of the charges, e A",
)


def errors_in_terminal(ds: xr.Dataset) -> Columns:
    """Errors of the networks that are done; an error that a network does not have is empty.

    Parameters
    ----------
    ds : xarray.Dataset
        Of a generalization store.
    """
    frame = errors_table(ds)
    seeds = frame["seeds"].unique().tolist()
    # a column only where it tells rows apart
    shown = [name for name in _HEADINGS if name in frame and (name != "seeds" or len(seeds) > 1)]
    over = f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''}" if len(seeds) == 1 else "seeds"
    sections: dict[tuple[Hashable, ...], list[Row]] = {}
    for row in frame.to_dict("records"):
        cells = tuple(Text(_number(row[name], _HEADINGS[name][1])) for name in shown)
        where = tuple(str(row[dim]) for dim in ("dataset", "split", "architecture"))
        sections.setdefault(where, []).append(Row((str(row["scheme"]),), cells))
    done, asked = int((ds["status"] == "done").sum()), int((ds["status"] != "skipped").sum())
    notes = (*(_LEGEND if sections else ()), *((f"{done} of {asked} networks are done",) if done < asked else ()))
    return Columns(
        f"Errors on the test set (RMSE, mean over {over})",
        ("scheme",),
        tuple(_HEADINGS[name][0] for name in shown),
        tuple(Section(", ".join(map(str, where)), tuple(rows)) for where, rows in sections.items()),
        notes,
    )


def _number(value: float, digits: int) -> str:
    # adding zero turns -0.0 into 0.0
    return f"{round(value, digits) + 0.0:.{digits}f}" if np.isfinite(value) else ""
