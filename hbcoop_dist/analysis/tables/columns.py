"""A terminal table that continues below when its columns are wider than the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Row:
    """Labels of a row and its cells, one per column."""

    labels: tuple[str, ...]
    cells: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading; an empty heading is not printed."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Sections of right-aligned cells.

    Columns that exceed the width of the terminal are printed in further parts below, each with the row labels; rich
    alone would wrap the numbers.

    Attributes
    ----------
    title : str
    names : tuple of str
        Names of the row labels.
    columns : tuple of str
        Headings of the cells.
    sections : tuple of Section
    notes : tuple of str
        Lines printed below the table, e.g. a legend.
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
        """Columns of each part: as few parts as fit, about equally wide."""
        total = len(self.columns)
        for size in sorted({math.ceil(total / count) for count in range(1, total + 1)}, reverse=True):
            parts = [range(first, min(first + size, total)) for first in range(0, total, size)]
            if size == 1 or all(self._width(part, console, options) <= options.max_width for part in parts):
                return parts
        return [range(0)]

    def _width(self, columns: Sequence[int], console: Console, options: ConsoleOptions) -> int:
        # measured without a limit: within the terminal's width rich reports what is left after squeezing
        return Measurement.get(console, options.update(width=10_000), self._table(columns)).maximum

    def _table(self, columns: Sequence[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")
        for name in self.names:
            table.add_column(name, no_wrap=True)
        for i in columns:
            table.add_column(self.columns[i], justify="right", no_wrap=True)
        blank = [""] * (len(self.names) - 1 + len(columns))
        for number, section in enumerate(self.sections):
            if number:
                table.add_row()
            if section.heading:
                table.add_row(Text(section.heading, style="italic"), *blank)
            for row in section.rows:
                table.add_row(*(Text(label) for label in row.labels), *(row.cells[i] for i in columns))
        return table


def fixed_point(value: float, digits: int = 2) -> str:
    """Format a number with a fixed number of decimals and no negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def separated(parts: Sequence[RenderableType]) -> list[RenderableType]:
    """Insert an empty line between parts."""
    return [line for part in parts for line in (part, Text(""))][:-1]
