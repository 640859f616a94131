"""Terminal table of the errors of trained networks."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from rich.text import Text

from hbcoop_dist.analysis.claim_tests import errors_table
from hbcoop_dist.analysis.tables.columns import Columns, Row, Section, fixed_point

_COLUMNS = {
    "seeds": ("seeds", 0),
    "energy_rmse": ("E", 1),
    "forces_rmse": ("F", 1),
    "interaction_near_rmse": ("near", 2),
    "interaction_beyond_rmse": ("beyond", 2),
    "charges_mae": ("q", 3),
    "charges_correlation": ("r(q)", 2),
    "dipole_rmse": ("dipole", 2),
}
"""Heading and number of decimals of each column."""
_LEGEND = (
    "E: energy per atom, meV; F: force components, meV/A; near, beyond: interaction",
    "energies of molecules within the cutoff and beyond it, kcal/mol; q: charges,",
    "mean absolute error, e; r(q): their correlation; dipole: of the charges, e A",
)


def errors_in_terminal(ds: xr.Dataset) -> Columns:
    """Errors of the done networks: a section per set, split and architecture, a row per scheme.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.
    """
    frame = errors_table(ds)
    seeds = frame["seeds"].unique().tolist()
    # the number of seeds is a column only where it differs between rows
    columns = [name for name in _COLUMNS if name in frame and (name != "seeds" or len(seeds) > 1)]
    over = f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''}" if len(seeds) == 1 else "seeds"
    sections: dict[tuple[Hashable, ...], list[Row]] = {}
    for row in frame.to_dict("records"):
        cells = tuple(Text(_cell(row[name], _COLUMNS[name][1])) for name in columns)
        network = tuple(str(row[dim]) for dim in ("dataset", "split", "architecture"))
        sections.setdefault(network, []).append(Row((str(row["scheme"]),), cells))
    done, requested = int((ds["status"] == "done").sum()), int((ds["status"] != "skipped").sum())
    unfinished = (f"{done} of {requested} networks are done",) if done < requested else ()
    return Columns(
        f"Errors on the test set (RMSE, mean over {over})",
        ("scheme",),
        tuple(_COLUMNS[name][0] for name in columns),
        tuple(Section(", ".join(map(str, network)), tuple(rows)) for network, rows in sections.items()),
        (*(_LEGEND if sections else ()), *unfinished),
    )


def _cell(value: float, digits: int) -> str:
    return fixed_point(value, digits) if np.isfinite(value) else ""
