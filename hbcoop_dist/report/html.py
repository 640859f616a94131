"""Render a report as one self-contained HTML file, with all scripts, numbers, figures and structures inside."""

from __future__ import annotations

import base64
import io
import json
import re
from importlib.resources import files
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
from bokeh.embed import components
from bokeh.models import ColumnDataSource
from bokeh.models.widgets import DataTable, NumberFormatter, StringFormatter, TableColumn
from bokeh.resources import Resources
from markupsafe import Markup, escape

from hbcoop_dist.analysis.plots.style import RC
from hbcoop_dist.analysis.report_content import Chart, Report, StructureViewer, Table

_BOKEH_COMPONENTS: list[Any] = ["bokeh", "bokeh-widgets", "bokeh-tables"]
"""All but MathJax, which alone would be larger than the rest of the page."""
_ROW_HEIGHT, _HEADER_HEIGHT = 26, 32
_DPI = 160


def render_page(report: Report) -> str:
    """Render a report as HTML.

    Parameters
    ----------
    report : Report
        Content of the report; all its text is escaped.

    Returns
    -------
    str
        The page, which needs no other file and no network.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["code"] = _with_code
    template = environment.from_string(files("hbcoop_dist.report").joinpath("template.html").read_text("utf-8"))
    figures: dict[str, Any] = {"leaderboard": _sortable_table(report.leaderboard)}
    if report.explorer is not None:
        figures["explorer"] = report.explorer.draw()
    script, divs = components(figures)
    viewer = None if report.draw_viewer is None else report.draw_viewer()
    resources = Resources(mode="inline", components=_BOKEH_COMPONENTS, minified=True)
    return template.render(
        report=report,
        bokeh=[_script(text) for text in resources.js_raw],
        script=Markup(script),
        divs={name: Markup(div) for name, div in divs.items()},
        charts=[(chart, _image_url(chart)) for chart in report.charts],
        viewer=viewer,
        viewer_script="" if viewer is None else _script(viewer.script),
        viewer_data="" if viewer is None else _viewer_data(viewer),
    )


def _viewer_data(viewer: StructureViewer) -> Markup:
    data = {
        "structures": json.loads(viewer.structures),
        "dims": viewer.dims,
        "labels": viewer.labels,
        "values": viewer.values,
        "first": viewer.first,
    }
    # "<" never starts a tag or a comment inside the script element
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))


def _script(text: str) -> Markup:
    """JavaScript of a library without the text that would end the script element around it."""
    return Markup(re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE))


def _sortable_table(table: Table) -> DataTable:
    """Bokeh table that a click on a heading sorts."""
    columns = []
    for name, values in table.frame.items():
        is_number = pd.api.types.is_numeric_dtype(values)
        formatter: Any = StringFormatter(nan_format="")
        if is_number:
            digits = 0 if pd.api.types.is_integer_dtype(values) else table.digits_of(str(name))
            pattern = f"0.{'0' * digits}" if digits else "0"
            formatter = NumberFormatter(format=pattern, nan_format="", text_align="right")
        longest_text = 0 if is_number else max((len(str(value)) for value in values), default=0)
        width = 130 if name == "model" else max(60, 7 * max(len(str(name)), longest_text) + 16)
        columns.append(TableColumn(field=str(name), title=str(name), formatter=formatter, width=width))
    return DataTable(
        source=ColumnDataSource({str(name): _without_negative_zeros(table, str(name)) for name in table.frame}),
        columns=columns,
        sortable=True,
        reorderable=False,
        index_position=None,
        autosize_mode="none",
        height=_HEADER_HEIGHT + _ROW_HEIGHT * len(table.frame) + 18,
        sizing_mode="stretch_width",
        row_height=_ROW_HEIGHT,
        name="leaderboard",
    )


def _without_negative_zeros(table: Table, name: str) -> Any:
    """Values of a column; those that would be shown as -0.00 are zero."""
    values = table.frame[name].to_numpy()
    if values.dtype.kind != "f":
        return values
    return np.where(np.abs(values) < 0.5 * 10.0 ** -table.digits_of(name), 0.0, values)


def _image_url(chart: Chart) -> str:
    """A figure as data URL of a PNG, which is a third of the size of SVG for twenty panels."""
    with mpl.rc_context(RC):
        figure, target = chart.draw(), io.BytesIO()
        figure.savefig(target, format="png", dpi=_DPI)
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


def _with_code(text: str) -> Markup:
    """Escaped text with the parts between backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))
