"""Content of a report as plain data, independent of the output format and of the kind of campaign.

Figures are drawn by callables when a report is written, so that this module needs neither matplotlib nor Bokeh.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.models import cards

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure


SOFTWARE_CITATION = "the software: hbcoop_dist, in the version given with the provenance"
_COOPERATIVITY_CITATION = (
    "cooperative energy: Feng, Xu and Huang, Benchmarking Universal Machine Learning Force Fields with "
    "Hydrogen-Bonding Cooperativity (2025)"
)


class ReportError(ValueError):
    """A report that cannot be made with the given options; the message starts with the option at fault."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Options of a report, as the command line passes them to a kind of campaign.

    Attributes
    ----------
    title : str
        Title of the report; empty for the names of the store's campaigns.
    reference : str, optional
        Reference level that models are compared with; None for the default of the kind.
    references : xarray.Dataset, optional
        Reference energies, as returned by `hbcoop_dist.references.read_references`; None for the bundled ones.
    """

    title: str = ""
    reference: str | None = None
    references: xr.Dataset | None = None

    def refuse_references(self, kind: str) -> None:
        """Raise an error when a kind of campaign that has no reference energies is given some.

        Parameters
        ----------
        kind : str
            Name of the kind, for the message.

        Raises
        ------
        ReportError
            When `reference` or `references` is set.
        """
        for name in ("reference", "references"):
            if getattr(self, name) is not None:
                raise ReportError(f"{name}: expected none for a store of kind {kind}, which has no reference energies")


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its heading and caption.

    Attributes
    ----------
    anchor : str
        Identifier of the section, for links.
    title : str
        Heading.
    caption : str
        What the rows and columns are; text between backticks is set as code.
    frame : pandas.DataFrame
        Numbers stay numbers; missing ones are NaN.
    digits : int
        Digits after the decimal point.
    column_digits : mapping of str to int
        Digits of the columns that differ from `digits`.
    in_navigation : bool
        Whether the page's navigation bar links to the table.
    """

    anchor: str
    title: str
    caption: str
    frame: pd.DataFrame
    digits: int = 2
    column_digits: Mapping[str, int] = field(default_factory=dict)
    in_navigation: bool = True

    def digits_of(self, column: str) -> int:
        """Digits after the decimal point of a column.

        Parameters
        ----------
        column : str
            Name of the column.

        Returns
        -------
        int
        """
        return self.column_digits.get(column, self.digits)

    def format(self, column: str, value: object) -> str:
        """Text of one value.

        Parameters
        ----------
        column : str
            Column of the value, which sets the number of digits.
        value : object
            A number or text.

        Returns
        -------
        str
            Empty for a missing value; a number that rounds to zero has no sign.
        """
        if not isinstance(value, float | np.floating):
            return "" if value is None else str(value)
        digits = self.digits_of(column)
        # adding zero turns -0.0 into 0.0
        return f"{round(float(value), digits) + 0.0:.{digits}f}" if np.isfinite(value) else ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A static figure with its caption, drawn when a report is written.

    Attributes
    ----------
    anchor : str
        Identifier of the figure, for links and file names.
    title : str
        Heading.
    caption : str
        Text below the figure; text between backticks is set as code.
    draw : callable
        Returns the matplotlib figure.
    """

    anchor: str
    title: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True, slots=True)
class Interactive:
    """An interactive figure with its caption, drawn when a page is written.

    Attributes
    ----------
    caption : str
        Text above the figure; text between backticks is set as code.
    draw : callable
        Returns the Bokeh layout.
    """

    caption: str
    draw: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class StructureViewer:
    """A 3-D viewer of structures, one at a time, chosen by the labels of each.

    Attributes
    ----------
    caption : str
        Text above the viewer; text between backticks is set as code.
    script : str
        JavaScript of the viewer (chemiscope).
    licence : str
        Name, version and licence of the viewer.
    structures : str
        The structures as JSON in the format of chemiscope.
    dims : tuple of str
        Names of the labels, one menu each.
    labels : tuple of tuple of str
        Labels of each structure, in the order of `dims`.
    values_title : str
        What the values of a structure are.
    values : tuple of str
        Values of each structure, as text.
    first : int
        Index of the structure that is shown first.
    """

    caption: str
    script: str
    licence: str
    structures: str
    dims: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    values_title: str
    values: tuple[str, ...]
    first: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report contains, for all output formats.

    Attributes
    ----------
    title, subtitle : str
        Headings of the page.
    topic : str
        What all reports of this kind are about, in a few words.
    about : str
        The same in a few sentences.
    figures_caption : str
        Text above the figures.
    summary : tuple of str
        Sentences with the main numbers.
    leaderboard : Table
        The main table, sortable in HTML; one row per model or per network.
    tables : tuple of Table
        Further tables, in order.
    charts : tuple of Chart
        Static figures, in order.
    campaigns : tuple of str
        Specs of the campaigns that made the store, as YAML.
    citations : tuple of str
        Works to cite.
    explorer : Interactive, optional
        Interactive figures.
    draw_viewer : callable, optional
        Returns the viewer of structures, or None when the store has none.
    warnings : tuple of str
        Remarks for the person who makes the report; they are not part of the document.
    """

    title: str
    subtitle: str
    topic: str
    about: str
    figures_caption: str
    summary: tuple[str, ...]
    leaderboard: Table
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    campaigns: tuple[str, ...]
    citations: tuple[str, ...]
    explorer: Interactive | None = None
    draw_viewer: Callable[[], StructureViewer | None] | None = None
    warnings: tuple[str, ...] = ()


def campaign_texts(ds: xr.Dataset) -> tuple[str, ...]:
    """Specs of the campaigns in a store's history as YAML, without repetitions.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store, with the attribute ``history``.

    Returns
    -------
    tuple of str
    """
    return tuple(dict.fromkeys(dump_yaml(spec) for spec in _specs(ds)))


def campaign_names(ds: xr.Dataset) -> str:
    """Names of the campaigns in a store's history.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.

    Returns
    -------
    str
        Names separated by commas; ``store`` when the history has none.
    """
    names = dict.fromkeys(str(spec.get("campaign", "")) for spec in _specs(ds))
    return ", ".join(filter(None, names)) or "store"


def cooperativity_citations(models: Iterable[str]) -> tuple[str, ...]:
    """Works to cite for cooperative energies: Eq. 1, the software and the registered models.

    Parameters
    ----------
    models : iterable of str
        Names of models; checkpoints that are not registered have no citation.

    Returns
    -------
    tuple of str
    """
    registered = cards()
    model_citations = (f"`{name}`: {registered[name].about.citation}" for name in models if name in registered)
    return (_COOPERATIVITY_CITATION, SOFTWARE_CITATION, *model_citations)


def _specs(ds: xr.Dataset) -> list[dict[str, Any]]:
    events = json.loads(ds.attrs.get("history", "[]"))
    return [json.loads(str(event["spec"])) for event in events if event.get("spec")]
