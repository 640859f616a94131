"""Bokeh widgets and layouts that the interactive figures of reports share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.layouts import row
from bokeh.models import InlineStyleSheet, LayoutDOM
from bokeh.models.widgets import CheckboxGroup, Select

MIN_WIDTH = 300
"""Pixels; the least width of a figure, which a telephone held upright has."""


def legend_checkboxes(colours: Mapping[str, str], name: str, width: int | None = None) -> CheckboxGroup:
    """Checkboxes that are also the legend: one per label, all ticked, each with a dot of its colour.

    Parameters
    ----------
    colours : mapping of str to str
        CSS colour of each label.
    name : str
        Name of the widget.
    width : int, optional
        Pixels.

    Returns
    -------
    CheckboxGroup
    """
    dots = "".join(
        f'label:nth-of-type({place}) span::before {{ content: "\\25CF\\00A0"; color: {colour}; }}\n'
        for place, colour in enumerate(colours.values(), start=1)
    )
    active = list(range(len(colours)))
    return CheckboxGroup(
        labels=list(colours), active=active, stylesheets=[InlineStyleSheet(css=dots)], name=name, width=width
    )


def menu(title: str, options: Sequence[str | tuple[str, str]], value: str, name: str, width: int = 300) -> Select:
    """Drop-down menu.

    Parameters
    ----------
    title : str
        Text above the menu.
    options : sequence of str or tuple of str
        Values, or values with the text shown for each.
    value : str
        The value chosen first.
    name : str
        Name of the widget.
    width : int
        Pixels.

    Returns
    -------
    Select
    """
    choices: list[Any] = list(options)
    return Select(title=title, options=choices, value=value, name=name, width=width)


def wrapping_row(*children: Any, name: str | None = None) -> LayoutDOM:
    """Row whose children wrap onto the next line where the page is too narrow for them.

    Parameters
    ----------
    *children : LayoutDOM
        Children that stretch need a ``min_width``.
    name : str, optional
        Name of the layout.

    Returns
    -------
    LayoutDOM
    """
    return row(*children, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}, name=name)
