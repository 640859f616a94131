"""Print a table that may be wider than the terminal: the columns that do not fit go on below, row labels repeated.

rich would squeeze the numbers instead, and a wrapped number is unreadable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


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
