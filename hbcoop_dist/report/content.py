"""What a report is made of, as data: the same for every format it is written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from hbcoop_dist.report.structure_viewer import Viewer


class ReportError(ValueError):
    """A report that cannot be made as it was asked for; the message names what was expected and found."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the words above it.

    Attributes
    ----------
    anchor : str
        Name of the section, for links.
    title, words : str
        Heading, and what the columns mean; model names and commands between backticks.
    frame : DataFrame
        One column per column; numbers stay numbers, missing ones NaN.
    digits : int
        Digits after the point.
    places : mapping of str to int
        The same, of columns that have others.
    """

    anchor: str
    title: str
    words: str
    frame: pd.DataFrame
    digits: int = 2
    places: Mapping[str, int] = field(default_factory=dict)

    def number(self, column: str, value: object) -> str:
        """A value as it is to be read: missing ones empty, and no zero with a sign."""
        if not isinstance(value, float | np.floating):
            return "" if value is None else str(value)
        digits = self.places.get(column, self.digits)
        # adding zero turns -0.0 into 0.0
        return f"{round(float(value), digits) + 0.0:.{digits}f}" if np.isfinite(value) else ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure and the words under it; drawn when it is written."""

    anchor: str
    title: str
    words: str
    draw: Callable[[], Figure]


@dataclass(frozen=True, slots=True)
class Interactive:
    """A figure that answers to the reader, and the words above it; drawn when a page is written.

    Attributes
    ----------
    words : str
    draw : callable
        Gives Bokeh's layout.
    """

    words: str
    draw: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report says of one store.

    Attributes
    ----------
    title, subtitle : str
    topic, about, figures_words : str
        What all reports of this kind are about, in a few words and in a few sentences, and what the figures are.
    summary : tuple of str
        Sentences with their numbers.
    leaderboard : Table
        One row per model, or per network.
    tables, charts : tuple
        In the order in which they stand.
    campaigns : tuple of str
        The campaigns that made the store, as YAML.
    citations : tuple of str
        What to cite, and for what.
    explore : Interactive or None
    molecules : callable or None
        Gives the viewer of geometries, or None where there are none to see.
    """

    title: str
    subtitle: str
    topic: str
    about: str
    figures_words: str
    summary: tuple[str, ...]
    leaderboard: Table
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    campaigns: tuple[str, ...]
    citations: tuple[str, ...]
    explore: Interactive | None
    molecules: Callable[[], Viewer | None] | None = None
