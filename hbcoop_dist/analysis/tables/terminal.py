"""Print a table that may be wider than the terminal: the columns that do not fit go on below, row labels repeated.

rich would squeeze the numbers instead, and a wrapped number is unreadable.

Print what a store says in a terminal: cooperative energies, isolated dimers, and what is not done and why.

A cell that is not done shows its status as a word, never a number that could be taken for a result.

Marked systems in a terminal: cooperative energy of the pair in every one, model by model.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from hbcoop_dist.analysis.selection import DONE, done, readable
from hbcoop_dist.analysis.unfinished_cells import NotDone, needed_dimers, not_done
from hbcoop_dist.campaigns.requested_cells import UNASKED
from hbcoop_dist.core.results import STATUSES


@dataclass(frozen=True, slots=True)
class Row:
    """Labels of one row and its cells, one per column."""

    labels: tuple[str, ...]
    cells: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading; an empty heading is not printed."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """A table of right-aligned cells, in sections, as many columns side by side as the width holds.

    Attributes
    ----------
    title : str
    names : tuple of str
        Names of the row labels.
    columns : tuple of str
        Headings of the cells.
    sections : tuple of Section
    notes : tuple of str
        Lines printed below, e.g. a legend.
    """

    title: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title, style="bold")
        for number, part in enumerate(self._parts(console, options)):
            if number:
                yield Text("")
            yield self._table(part)
        for note in self.notes:
            yield Text(note, style="dim")

    def _parts(self, console: Console, options: ConsoleOptions) -> list[range]:
        """Columns of each part: as few parts as fit, all about equally wide."""
        total = len(self.columns)
        for size in sorted({math.ceil(total / parts) for parts in range(1, total + 1)}, reverse=True):
            found = [range(first, min(first + size, total)) for first in range(0, total, size)]
            if size == 1 or all(self._width(part, console, options) <= options.max_width for part in found):
                return found
        return [range(0)]

    def _width(self, wanted: Sequence[int], console: Console, options: ConsoleOptions) -> int:
        # measured against no width at all: within the terminal's, rich reports what is left after squeezing
        return Measurement.get(console, options.update(width=10_000), self._table(wanted)).maximum

    def _table(self, wanted: Sequence[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")
        for name in self.names:
            table.add_column(name, no_wrap=True)
        for i in wanted:
            table.add_column(self.columns[i], justify="right", no_wrap=True)
        blank = [""] * (len(self.names) - 1 + len(wanted))
        for number, section in enumerate(self.sections):
            if number:
                table.add_row()
            if section.heading:
                table.add_row(Text(section.heading, style="italic"), *blank)
            for row in section.rows:
                table.add_row(*(Text(label) for label in row.labels), *(row.cells[i] for i in wanted))
        return table


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


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    marks: tuple[str, ...] = ()
    is_word: bool = True

    def aligned(self, field: int) -> Text:
        return Text(self.text, style="yellow") if self.is_word else Text(self.text + "".join(self.marks).ljust(field))


def tables(ds: xr.Dataset, statuses: Collection[str] = DONE) -> list[RenderableType]:
    """Cooperative energies, isolated dimers, and what is not done; the last only when there is something."""
    rest = [not_done_table(ds)] if not_done(ds) else []
    return _spaced([cooperative_energy_table(ds, statuses), dimer_table(ds, statuses), *rest])


def status_tables(ds: xr.Dataset) -> list[RenderableType]:
    """How many cells of each model have which status, and what is not done and why."""
    words = readable(ds)["status"].transpose("model", ...).values
    present = [status for status in STATUSES if (words == status).any()]
    table = _plain_table("model", *(Text(name) for name in present), "cells")
    for model, cells in zip(ds["model"].values, words, strict=True):
        counts = [int((cells == status).sum()) for status in present]
        table.add_row(Text(str(model)), *(str(count or "") for count in counts), str(cells.size))
    for column in table.columns[1:]:
        column.justify = "right"
    rest = [not_done_table(ds)] if not_done(ds) else []
    return _spaced([table, *rest])


def render(ds: xr.Dataset, width: int = 100, statuses: Collection[str] = DONE) -> str:
    """All tables as plain text of a given width."""
    # highlight and markup off: a model's name is no markup
    console = Console(
        file=io.StringIO(), width=width, color_system=None, force_terminal=False, highlight=False, markup=False
    )
    with console.capture() as capture:
        for renderable in tables(ds, statuses):
            console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def cooperative_energy_table(ds: xr.Dataset, statuses: Collection[str] = DONE) -> RenderableType:
    """Cooperative energies: sections head, middle and tail, a row per model and system, a column per length."""
    wanted = ["cooperative_energy", "status", "reason", "saddle", "near_ring"]
    found = done(ds[[name for name in wanted if name in ds]], statuses)
    outer = ("pattern", "capping", "geometry", "rotamer", "model")
    varying, fixed = _dims(found, outer[:-1])
    text = _Cells(found, "status", (*outer, "length"), statuses)
    shown = [(index, at) for index, at in _each(found, outer) if not text.unasked(index)]
    # a table of unasked cells alone still says which models there are
    shown = shown or list(_each(found, outer))
    dropped = len(list(_each(found, outer))) - len(shown)
    sections = []
    for position in found["position"].values:
        values = found["cooperative_energy"].sel(position=position).transpose(*outer, "length").values
        rows = [
            (_labels(at, varying), [text(values, (*index, i)) for i in range(found.sizes["length"])])
            for index, at in shown
        ]
        sections.append((f"{position} H-bond", rows))
    columns = tuple(f"n={length}" for length in found["length"].values)
    many = "row" if dropped == 1 else "rows"
    note = f"{dropped} {many} left out, of cells that nobody asked for or that a set of geometries does not have"
    return _columns(
        "Cooperative energy, kcal/mol",
        "; ".join(filter(None, (fixed, note if dropped else ""))),
        ("model", *varying),
        columns,
        sections,
    )


def dimer_table(ds: xr.Dataset, statuses: Collection[str] = DONE) -> RenderableType:
    """Isolated dimers: interaction energy V_AB and O..N distance by conformer, a row per model."""
    wanted = ["dimer_interaction_energy", "dimer_distance_on", "dimer_status", "dimer_reason", "dimer_saddle"]
    found = done(ds[[name for name in wanted if name in ds]], statuses)
    shown = (needed_dimers(ds) | (found["dimer_status"].compute() != "pending")).any(("model", "geometry", "rotamer"))
    found = found.isel(conformer=np.flatnonzero(shown.values))
    outer = ("geometry", "rotamer", "model")
    varying, fixed = _dims(found, outer[:-1])
    text = _Cells(found, "dimer_status", (*outer, "conformer"), statuses)
    energy, distance = (found[name].transpose(*outer, "conformer").values for name in wanted[:2])
    rows = []
    for index, at in _each(found, outer):
        cells = [
            cell
            for i in range(found.sizes["conformer"])
            for cell in (text(energy, (*index, i)), text(distance, (*index, i), digits=3))
        ]
        rows.append((_labels(at, varying), cells))
    columns = tuple(f"{conformer} {what}" for conformer, what in product(found["conformer"].values, ("V_AB", "O..N")))
    title = "Isolated dimer, V_AB in kcal/mol and O..N in angstrom"
    return _columns(title, fixed, ("model", *varying), columns, [("", rows)])


def not_done_table(ds: xr.Dataset) -> RenderableType:
    """What is not done: how many, which status, which models and lengths, and why."""
    groups = not_done(ds)
    words = readable(ds)["status"].values
    heading = "Skipped" if set(np.unique(words)) <= {"done", "skipped"} else "Not done"
    title = f"{heading} ({int((words == 'done').sum())} of {words.size} cells are done)"
    table = _plain_table("what", "status", "models", "where", "why", title=title)
    table.columns[4].ratio = 1
    for group in groups:
        what = f"{group.count} {group.kind}{'s' if group.count > 1 else ''}"
        why = group.reason or ("not computed yet" if group.status == "pending" else "no reason given")
        models = _all_or_some(group.values("model"), ds["model"].values)
        rest = _where(group, ds)
        table.add_row(what, group.status, Text(models), Text(rest), Text(why if group.alike else f"e.g. {why}"))
    return table


def _where(group: NotDone, ds: xr.Dataset) -> str:
    if group.kind == "dimer":
        return ", ".join(map(str, group.values("conformer")))
    parts = [
        ", ".join(map(str, group.values(dim)))
        for dim in ("pattern", "capping", "geometry", "rotamer")
        if ds.sizes[dim] > 1 and len(group.values(dim)) < ds.sizes[dim]
    ]
    return "; ".join([*parts, f"n={_ranges(sorted(group.values('length')))}"])


def _all_or_some(some: list[Any], every: Collection[Any]) -> str:
    return f"all {len(every)}" if len(some) == len(every) > 3 else ", ".join(map(str, some))


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _is_unasked(reason: object) -> bool:
    """Whether a cell could not be there: nobody asked, or the given geometries have none."""
    return str(reason).startswith(UNASKED) or str(reason).endswith("has no such chain")


class _Cells:
    """Texts of the cells of one status variable, each with its marks."""

    def __init__(self, found: xr.Dataset, status: str, dims: tuple[str, ...], statuses: Collection[str]) -> None:
        self.statuses = statuses
        # plain arrays: thousands of label look-ups would take seconds
        self.words = found[status].transpose(*dims).values
        reasons = found["reason"].transpose(*dims).values if status == "status" and "reason" in found else None
        self._unasked = None if reasons is None else np.vectorize(_is_unasked, otypes=[bool])(reasons)
        self.flags = {mark: found[name].transpose(*dims).values == 1 for name, mark in _FLAGS.items() if name in found}

    def unasked(self, at: tuple[int, ...]) -> bool:
        """Whether none of the cells there could be."""
        return self._unasked is not None and bool(self._unasked[at].all())

    def __call__(self, values: NDArray[Any], at: tuple[int, ...], digits: int = 2) -> _Cell:
        word = str(self.words[at])
        if word not in self.statuses:
            return _Cell(SHORT[word])
        if not np.isfinite(values[at]):
            return _Cell(_NO_VALUE)
        marks = [mark for mark, flag in self.flags.items() if flag[at]] + ([_NOT_DONE] if word != "done" else [])
        # adding zero turns -0.0 into 0.0
        return _Cell(f"{round(float(values[at]), digits) + 0.0:.{digits}f}", tuple(marks), is_word=False)


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
    # marks stand behind the number in a field of one width, so that decimal points line up
    field = max((len(cell.marks) for cell in every), default=0)
    return Columns(
        title,
        names,
        columns,
        tuple(
            Section(heading, tuple(Row(labels, tuple(cell.aligned(field) for cell in cells)) for labels, cells in rows))
            for heading, rows in sections
        ),
        tuple(line for line in (legend, fixed) if line),
    )


def _dims(found: xr.Dataset, dims: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Dims that get a column because they have more than one label, and the labels of the others in words."""
    varying = tuple(dim for dim in dims if found.sizes[dim] > 1)
    fixed = [f"{dim} {found[dim].values[0]}" for dim in dims if found.sizes[dim] == 1]
    return varying, "; ".join(fixed)


def _each(found: xr.Dataset, dims: tuple[str, ...]) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    """Index and labels of every combination; the last dim varies fastest, so that models stand together."""
    for index in np.ndindex(*(found.sizes[dim] for dim in dims)):
        yield index, {dim: found[dim].values[i] for dim, i in zip(dims, index, strict=True)}


def _labels(at: Mapping[str, Any], varying: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(at[dim]) for dim in ("model", *varying))


def _plain_table(*columns: str | Text, title: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    if title:
        table.title, table.title_justify, table.title_style = Text(title, style="bold"), "left", ""
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _spaced(parts: list[RenderableType]) -> list[RenderableType]:
    """An empty line between parts."""
    return [piece for part in parts for piece in (part, Text(""))][:-1]


_COLUMNS = {
    "cooperative_energy": "dV",
    "cooperative_energy_electronic": "electronic",
    "interaction_energy": "V in complex",
    "interaction_energy_dimer": "V alone",
}


def complex_tables(ds: xr.Dataset) -> list[RenderableType]:
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
