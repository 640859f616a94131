"""Tables of the cells of any store, from its schema alone: what kinds of campaigns without tables of their own show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from rich import box
from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from hbcoop_dist.store.schema import Schema

if TYPE_CHECKING:
    from hbcoop_dist.analysis.report_content import Report, ReportOptions

SETTLED = ("done", "skipped")
"""Statuses of cells that need no attention."""


def status_summary(ds: xr.Dataset, schema: Schema, dims: Sequence[str] = ()) -> list[RenderableType]:
    """Count the cells of a store by status, and list the reasons of those that are not done.

    Parameters
    ----------
    ds : xarray.Dataset
    schema : Schema
    dims : sequence of str
        Dims whose labels have a row each; the partition by default.

    Returns
    -------
    list of renderable
    """
    cells = schema.cells
    shown = tuple(dims) or (schema.partition,)
    frame = ds[[cells.status, cells.reason]].to_dataframe().reset_index()
    table = RichTable(box=box.SIMPLE_HEAD)
    for heading in (*shown, "cells"):
        table.add_column(heading)
    for labels, rows in frame.groupby(list(shown), sort=False):
        counts = Counter(rows[cells.status])
        words = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        table.add_row(*map(str, labels if isinstance(labels, tuple) else (labels,)), words)
    unsettled = frame[~frame[cells.status].isin(("done", "pending"))]
    lines: list[RenderableType] = [
        Text(f"  {len(rows)} {status}: {reason}")
        for (status, reason), rows in unsettled.groupby([cells.status, cells.reason], sort=False)
    ]
    return [table, *lines]


def is_settled(ds: xr.Dataset, schema: Schema) -> bool:
    """Return whether every cell of a store is done, or skipped with a reason."""
    return bool(np.isin(ds[schema.cells.status].values.astype(str), SETTLED).all())


def select_labels(ds: xr.Dataset, schema: Schema, where: Mapping[str, Sequence[str]]) -> xr.Dataset:
    """Return the part of a store that has the given labels, with every dim kept.

    Parameters
    ----------
    ds : xarray.Dataset
    schema : Schema
    where : mapping of str to sequence of str
        Labels as text, by label dim of the cells; a label that is named twice is selected once.

    Raises
    ------
    ValueError
        When there is no such dim or label; the message names those that there are.
    """
    dims = schema.cells.dims
    for dim, labels in where.items():
        if dim not in dims:
            raise ValueError(f"expected a dim ({', '.join(dims)}), found {dim}")
        by_text = {str(value): value for value in ds[dim].values}
        if unknown := [label for label in labels if label not in by_text]:
            raise ValueError(f"{dim}: expected labels of the store ({', '.join(by_text)}), found {', '.join(unknown)}")
        ds = ds.sel({dim: [by_text[label] for label in dict.fromkeys(labels)]})
    return ds


def cell_frame(ds: xr.Dataset, schema: Schema) -> pd.DataFrame:
    """Return one row per cell with its labels and every variable that has one value per cell.

    Values of cells that are not done are missing.
    """
    cells = schema.cells
    names = [variable.name for variable in cells.variables if variable.dims == cells.dims]
    frame = ds[names].to_dataframe().reset_index()
    numeric = [variable.name for variable in cells.variables if variable.name in names and variable.dtype != "str"]
    frame[numeric] = frame[numeric].astype(float).where(frame[cells.status] == "done")
    return frame[[*cells.dims, *names]]


def cell_table(ds: xr.Dataset, schema: Schema) -> RichTable:
    """Return the required quantity of every cell, or its status where it is not done."""
    cells = schema.cells
    quantity = cells.required[0]
    table = RichTable(box=box.SIMPLE_HEAD)
    for dim in cells.dims:
        table.add_column(dim)
    table.add_column(quantity, justify="right")
    for row in cell_frame(ds, schema).to_dict("records"):
        value = row.get(quantity, np.nan)
        shown = f"{value:.4g}" if np.isfinite(value) else str(row[cells.status])
        table.add_row(*(str(row[dim]) for dim in cells.dims), shown)
    return table


def export_cells(ds: xr.Dataset, schema: Schema, path: Path) -> str:
    """Write `cell_frame` as CSV; return the number of cells in words."""
    frame = cell_frame(ds, schema)
    frame.to_csv(path, index=False)
    return f"{len(frame)} cells"


def compare_cells(
    first: xr.Dataset, second: xr.Dataset, schema: Schema, pairs: Mapping[str, str]
) -> tuple[tuple[str, ...], float, str]:
    """Compare two stores cell by cell.

    Parameters
    ----------
    first, second : xarray.Dataset
    schema : Schema
    pairs : mapping of str to str
        Labels of the partition axis of the first store, and those of the second that they are compared with.

    Returns
    -------
    lines : tuple of str
        One per label of the partition.
    largest : float
        Largest absolute difference of the required quantity; NaN when no cell is done in both.
    unit : str
    """
    cells = schema.cells
    units = {variable.name: variable.units for variable in cells.variables}
    other = cell_frame(second, schema)
    back = {name: own for own, name in pairs.items()}
    other = other[other[schema.partition].isin(back) | ~other[schema.partition].isin(back.values())]
    other = other.assign(**{schema.partition: other[schema.partition].replace(back)})
    both = cell_frame(first, schema).merge(other, on=list(cells.dims), how="outer", suffixes=("_first", "_second"))
    quantity = cells.required[0]
    difference = (both[f"{quantity}_second"] - both[f"{quantity}_first"]).abs()
    lines = []
    for label, rows in both.groupby(schema.partition, sort=False):
        own = difference.loc[rows.index]
        only = {
            "A": int(((rows[f"{cells.status}_first"] == "done") & rows[f"{cells.status}_second"].isna()).sum()),
            "B": int(((rows[f"{cells.status}_second"] == "done") & rows[f"{cells.status}_first"].isna()).sum()),
        }
        line = f"{label}: {int(own.notna().sum())} cells done in both"
        line += "".join(f", {count} only in {name}" for name, count in only.items() if count)
        if own.notna().any():
            line += f", {quantity.replace('_', ' ')}: largest difference {own.max():.2g} {units[quantity]}"
        lines.append(line)
    return tuple(lines), float(difference.max()), units[quantity]


def cell_report(ds: xr.Dataset, schema: Schema, options: ReportOptions) -> Report:
    """Build a report of one table of cells."""
    from hbcoop_dist.analysis.report_content import Report, Table

    statuses = Counter(map(str, ds[schema.cells.status].values.ravel()))
    words = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return Report(
        title=options.title or schema.title,
        subtitle=schema.title,
        topic=schema.title.lower(),
        about="",
        figures_caption="",
        summary=(f"{ds[schema.cells.status].size} cells: {words}.",),
        leaderboard=Table("cells", "Cells", "One row per cell.", cell_frame(ds, schema)),
        tables=(),
        charts=(),
        campaigns=(),
        citations=(),
    )
