"""What a report is made of, as data: the same for every format it is written in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure


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
    """

    anchor: str
    title: str
    words: str
    frame: pd.DataFrame
    digits: int = 2


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure and the words under it; drawn when it is written."""

    anchor: str
    title: str
    words: str
    draw: Callable[[], Figure]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report says of one store.

    Attributes
    ----------
    title, subtitle : str
    summary : tuple of str
        Sentences with their numbers.
    leaderboard : Table
        One row per model.
    tables, charts : tuple
        In the order in which they stand.
    campaigns : tuple of str
        The campaigns that made the store, as YAML.
    citations : tuple of str
        What to cite, and for what.
    cells : xarray.Dataset
        The store, for whatever is interactive.
    reference : str
        The level of theory that models are compared with.
    references : xarray.Dataset
        Energies of all levels of theory.
    """

    title: str
    subtitle: str
    summary: tuple[str, ...]
    leaderboard: Table
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    campaigns: tuple[str, ...]
    citations: tuple[str, ...]
    cells: xr.Dataset = field(repr=False)
    reference: str
    references: xr.Dataset = field(repr=False)
