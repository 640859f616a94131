"""Terminal tables of stores of chains and of complexes: cooperative energies, isolated dimers, unfinished cells.

A cell that is not done shows its status as a word, never a number that could be taken for a result.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from hbcoop_dist.analysis.selection import DONE, NotDone, done, needed_dimers, not_done, readable
from hbcoop_dist.analysis.tables.columns import Columns, Row, Section, fixed_point, separated
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.results import NOT_REQUESTED, STATUSES

SHORT = {
    "pending": "pend",
    "done": "done",
    "unconverged": "unconv",
    "broken-geometry": "broken",
    "skipped": "skip",
    "quarantined": "quar",
    "failed": "fail",
    "stale": "stale",
}
_NO_VALUE = "n/a"
_NOT_DONE = "?"
_FLAGS = {"saddle": "*", "dimer_saddle": "*", "near_ring": "o"}
_LEGEND = {
    "*": "* saddle",
    "o": "o near-ring",
    _NOT_DONE: "? not done, shown on request",
    _NO_VALUE: "n/a = no value",
    **{short: f"{short} = {status}" for status, short in SHORT.items() if short != status},
    "stale": "stale = another checkpoint or package than now",
}
_COLUMNS = {
    "cooperative_energy": "dV",
    "cooperative_energy_electronic": "electronic",
    "interaction_energy": "V in complex",
    "interaction_energy_dimer": "V alone",
}


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    marks: tuple[str, ...] = ()
    is_word: bool = True

    def aligned(self, width: int) -> Text:
        """Text whose marks fill a field of `width`, so that decimal points line up."""
        return Text(self.text, style="yellow") if self.is_word else Text(self.text + "".join(self.marks).ljust(width))


def result_tables(ds: xr.Dataset, statuses: Collection[str] = DONE) -> list[RenderableType]:
    """Cooperative energies, isolated dimers and, if there are any, unfinished cells.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    statuses : collection of str
        Statuses whose values count as results.
    """
    unfinished = [not_done_table(ds)] if not_done(ds) else []
    return separated([cooperative_energy_table(ds, statuses), dimer_table(ds, statuses), *unfinished])


def status_tables(ds: xr.Dataset) -> list[RenderableType]:
    """Number of cells of each model by status and, if there are any, unfinished cells.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    """
    statuses = readable(ds)["status"].transpose("model", ...).values
    present = [status for status in STATUSES if (statuses == status).any()]
    table = _plain_table("model", *(Text(name) for name in present), "cells")
    for model, cells in zip(ds["model"].values, statuses, strict=True):
        counts = [int((cells == status).sum()) for status in present]
        table.add_row(Text(str(model)), *(str(count or "") for count in counts), str(cells.size))
    for column in table.columns[1:]:
        column.justify = "right"
    unfinished = [not_done_table(ds)] if not_done(ds) else []
    return separated([table, *unfinished])


def render(ds: xr.Dataset, width: int = 100, statuses: Collection[str] = DONE) -> str:
    """Render `result_tables` as plain text.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    width : int
        Columns of text.
    statuses : collection of str
        Statuses whose values count as results.
    """
    # highlight and markup off: brackets in the name of a model are no markup
    console = Console(
        file=io.StringIO(), width=width, color_system=None, force_terminal=False, highlight=False, markup=False
    )
    with console.capture() as capture:
        for renderable in result_tables(ds, statuses):
            console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def cooperative_energy_table(ds: xr.Dataset, statuses: Collection[str] = DONE) -> RenderableType:
    """Cooperative energies (kcal/mol): sections head, middle and tail, one row per model and chain, columns by length.

    Rows whose cells are all unrequested, or absent from a set of geometries, are left out and counted.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    statuses : collection of str
        Statuses whose values count as results.
    """
    names = ["cooperative_energy", "status", "reason", "saddle", "near_ring"]
    masked = done(ds[[name for name in names if name in ds]], statuses)
    outer = ("pattern", "capping", "geometry", "rotamer", "constraint", "model")
    varying, fixed = _split_dims(masked, outer[:-1])
    cells = _Cells(masked, "status", (*outer, "length"), statuses)
    rows = list(_combinations(masked, outer))
    # of a store of absent cells alone the models are still listed
    shown = [(index, labels) for index, labels in rows if not cells.absent(index)] or rows
    dropped = len(rows) - len(shown)
    sections = []
    for position in masked["position"].values:
        values = masked["cooperative_energy"].sel(position=position).transpose(*outer, "length").values
        section = [
            (_row_labels(labels, varying), [cells(values, (*index, i)) for i in range(masked.sizes["length"])])
            for index, labels in shown
        ]
        sections.append((f"{position} H-bond", section))
    note = f"{dropped} row{'' if dropped == 1 else 's'} left out, of cells that no campaign requests or that a set of "
    note += "geometries does not have"
    return _columns(
        "Cooperative energy, kcal/mol",
        "; ".join(filter(None, (fixed, note if dropped else ""))),
        ("model", *varying),
        tuple(f"n={length}" for length in masked["length"].values),
        sections,
    )


def dimer_table(ds: xr.Dataset, statuses: Collection[str] = DONE) -> RenderableType:
    """Isolated dimers: interaction energy V_AB (kcal/mol) and O..N distance (A) by conformer, one row per model.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    statuses : collection of str
        Statuses whose values count as results.
    """
    names = ["dimer_interaction_energy", "dimer_distance_on", "dimer_status", "dimer_reason", "dimer_saddle"]
    masked = done(ds[[name for name in names if name in ds]], statuses)
    shown = (needed_dimers(ds) | (masked["dimer_status"].compute() != "pending")).any(
        ("model", "geometry", "rotamer", "constraint")
    )
    masked = masked.isel(conformer=np.flatnonzero(shown.values))
    outer = ("geometry", "rotamer", "constraint", "model")
    varying, fixed = _split_dims(masked, outer[:-1])
    cells = _Cells(masked, "dimer_status", (*outer, "conformer"), statuses)
    energy, distance = (masked[name].transpose(*outer, "conformer").values for name in names[:2])
    rows = []
    for index, labels in _combinations(masked, outer):
        row = [
            cell
            for i in range(masked.sizes["conformer"])
            for cell in (cells(energy, (*index, i)), cells(distance, (*index, i), digits=3))
        ]
        rows.append((_row_labels(labels, varying), row))
    columns = tuple(f"{conformer} {name}" for conformer, name in product(masked["conformer"].values, ("V_AB", "O..N")))
    title = "Isolated dimer, V_AB in kcal/mol and O..N in angstrom"
    return _columns(title, fixed, ("model", *varying), columns, [("", rows)])


def not_done_table(ds: xr.Dataset) -> RenderableType:
    """Unfinished cells and dimers: number, status, models, lengths and reason.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of chains.
    """
    statuses = readable(ds)["status"].values
    heading = "Skipped" if set(np.unique(statuses)) <= {"done", "skipped"} else "Not done"
    title = f"{heading} ({int((statuses == 'done').sum())} of {statuses.size} cells are done)"
    table = _plain_table("what", "status", "models", "where", "why", title=title)
    table.columns[4].ratio = 1
    for group in not_done(ds):
        count = f"{group.count} {group.kind}{'s' if group.count > 1 else ''}"
        reason = group.reason or ("not computed yet" if group.status == "pending" else "no reason given")
        models = _abbreviated(group.values("model"), ds["model"].values)
        reason = reason if group.alike else f"e.g. {reason}"
        table.add_row(count, group.status, Text(models), Text(_where(group, ds)), Text(reason))
    return table


def _where(group: NotDone, ds: xr.Dataset) -> str:
    if group.kind == "dimer":
        return ", ".join(map(str, group.values("conformer")))
    parts = [
        ", ".join(map(str, group.values(dim)))
        for dim in ("pattern", "capping", "geometry", "rotamer", "constraint")
        if ds.sizes[dim] > 1 and len(group.values(dim)) < ds.sizes[dim]
    ]
    return "; ".join([*parts, f"n={_ranges(sorted(group.values('length')))}"])


def _abbreviated(labels: list[Any], axis: Collection[Any]) -> str:
    return f"all {len(axis)}" if len(labels) == len(axis) > 3 else ", ".join(map(str, labels))


def _ranges(numbers: list[int]) -> str:
    """Consecutive numbers as ranges: 2-4,7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _is_absent(reason: object) -> bool:
    """Whether no campaign requests a cell, or its set of geometries does not have it."""
    return str(reason).startswith(NOT_REQUESTED) or str(reason).endswith("has no such chain")


class _Cells:
    """Formats the values of one table of the store with their status and flags."""

    def __init__(self, masked: xr.Dataset, status: str, dims: tuple[str, ...], accepted: Collection[str]) -> None:
        self.accepted = accepted
        # plain arrays: thousands of label look-ups would take seconds
        self.statuses = masked[status].transpose(*dims).values
        reasons = masked["reason"].transpose(*dims).values if status == "status" and "reason" in masked else None
        self._absent = None if reasons is None else np.vectorize(_is_absent, otypes=[bool])(reasons)
        self.flags = {
            mark: masked[name].transpose(*dims).values == 1 for name, mark in _FLAGS.items() if name in masked
        }

    def absent(self, index: tuple[int, ...]) -> bool:
        """Whether all cells at a partial index are absent."""
        return self._absent is not None and bool(self._absent[index].all())

    def __call__(self, values: FloatArray, index: tuple[int, ...], digits: int = 2) -> _Cell:
        status = str(self.statuses[index])
        if status not in self.accepted:
            return _Cell(SHORT[status])
        if not np.isfinite(values[index]):
            return _Cell(_NO_VALUE)
        marks = [mark for mark, flag in self.flags.items() if flag[index]] + ([_NOT_DONE] if status != "done" else [])
        return _Cell(fixed_point(float(values[index]), digits), tuple(marks), is_word=False)


def _columns(
    title: str,
    fixed: str,
    names: tuple[str, ...],
    columns: tuple[str, ...],
    sections: list[tuple[str, list[tuple[tuple[str, ...], list[_Cell]]]]],
) -> Columns:
    every = [cell for _, rows in sections for _, cells in rows for cell in cells]
    used = {mark for cell in every for mark in (cell.marks or (cell.text,))}
    legend = "   ".join(text for mark, text in _LEGEND.items() if mark in used)
    width = max((len(cell.marks) for cell in every), default=0)
    return Columns(
        title,
        names,
        columns,
        tuple(
            Section(heading, tuple(Row(labels, tuple(cell.aligned(width) for cell in cells)) for labels, cells in rows))
            for heading, rows in sections
        ),
        tuple(line for line in (legend, fixed) if line),
    )


def _split_dims(ds: xr.Dataset, dims: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Dims with more than one label, which get a column, and the labels of the others as text."""
    varying = tuple(dim for dim in dims if ds.sizes[dim] > 1)
    return varying, "; ".join(f"{dim} {ds[dim].values[0]}" for dim in dims if ds.sizes[dim] == 1)


def _combinations(ds: xr.Dataset, dims: tuple[str, ...]) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    """Index and labels of every combination; the last dim varies fastest."""
    for index in np.ndindex(*(ds.sizes[dim] for dim in dims)):
        yield index, {dim: ds[dim].values[i] for dim, i in zip(dims, index, strict=True)}


def _row_labels(labels: Mapping[str, Any], varying: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(labels[dim]) for dim in ("model", *varying))


def _plain_table(*columns: str | Text, title: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    if title:
        table.title, table.title_justify, table.title_style = Text(title, style="bold"), "left", ""
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


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
