"""Errors of trained networks by split and scheme, and how much worse they are where the test set lies elsewhere.

Print the errors of trained networks in a terminal: a section per set, split and network, a row per scheme.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
import xarray as xr
from rich.text import Text

from hbcoop_dist.analysis.tables.terminal import Columns, Row, Section

TITLES = {
    "energy_rmse": "energy",
    "forces_rmse": "forces",
    "interaction_near_rmse": "interaction within the cutoff",
    "interaction_beyond_rmse": "interaction beyond the cutoff",
    "charges_mae": "charges",
    "charges_correlation": "correlation of charges",
    "dipole_rmse": "dipole",
}
"""What errors are called above a figure."""
ERRORS = tuple(TITLES)
"""Errors that tables show, where a store has them."""
RANDOM = "random"


def axis_label(ds: xr.Dataset, error: str) -> str:
    """What is drawn along an axis, with its unit."""
    statistic = error.rpartition("_")[2]
    name = statistic.upper() if statistic in ("rmse", "mae") else statistic
    unit = str(ds[error].attrs["units"]).replace("angstrom", "A")
    per_atom = " per atom" if error.startswith("energy") else ""
    return name if unit == "1" else f"{name}, {unit}{per_atom}"


def one_network(ds: xr.Dataset, dataset: str | None, architecture: str | None) -> xr.Dataset:
    """One set and one architecture; the first of the store where none is named."""
    return ds.sel(
        dataset=ds["dataset"].values[0] if dataset is None else dataset,
        architecture=ds["architecture"].values[0] if architecture is None else architecture,
    )


def errors(ds: xr.Dataset) -> xr.Dataset:
    """Errors of the networks that are done; all others are missing.

    Parameters
    ----------
    ds : xarray.Dataset
        Of a generalization store, dims (dataset, split, architecture, scheme, seed).
    """
    return ds[list(ERRORS)].where(ds["status"] == "done")


def degradation(ds: xr.Dataset) -> xr.Dataset:
    """Errors over those of the random split of the same set, network, scheme and seed: 1 where nothing is lost.

    Raises
    ------
    ValueError
        When the store has no random split.
    """
    if RANDOM not in ds["split"].values:
        raise ValueError(f"degradation: expected a split {RANDOM}, found {', '.join(map(str, ds['split'].values))}")
    found = errors(ds)[[name for name in ERRORS if name.endswith("_rmse")]]
    ratio = found / found.sel(split=RANDOM, drop=True)
    return ratio.sel(split=[name for name in ds["split"].values if name != RANDOM])


def errors_table(ds: xr.Dataset) -> pd.DataFrame:
    """One row per set, split, architecture and scheme: errors, mean over seeds, the number of seeds beside them."""
    found = errors(ds)
    mean = found.mean("seed").assign(seeds=(ds["status"] == "done").sum("seed"))
    frame = mean.to_dataframe().reset_index()
    order = ["dataset", "split", "architecture", "scheme"]
    ranks = {dim: {label: place for place, label in enumerate(ds[dim].values.tolist())} for dim in order}
    frame = frame.sort_values(order, key=lambda column: column.map(ranks[str(column.name)]))
    frame = frame[frame["seeds"] > 0]
    # an error that no network of the store has is no column
    kept = [name for name in ERRORS if bool(frame[name].notna().any())]
    return frame[[*order, "seeds", *kept]].reset_index(drop=True)


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
