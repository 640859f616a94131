"""The report as one HTML file that needs nothing else: scripts, numbers, figures and geometries are all inside."""

from __future__ import annotations

import base64
import io
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
from hbcoop_dist.report.content import Chart, Report, Table
from hbcoop_dist.report.structure_viewer import LABELS

_PARTS: list[Any] = ["bokeh", "bokeh-widgets", "bokeh-tables"]
_ROW, _HEADER = 26, 32
_DPI = 160


def to_html(report: Report) -> str:
    """The whole page.

    Parameters
    ----------
    report : Report
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["words"] = _words
    template = files("hbcoop_dist.report").joinpath("template.html").read_text(encoding="utf-8")
    page = environment.from_string(template)
    figures: dict[str, Any] = {"board": _board(report.leaderboard)}
    if report.explore is not None:
        figures["explorer"] = report.explore.draw()
    script, divs = components(figures)
    molecules = report.molecules() if report.molecules is not None else None
    # MathJax alone would be larger than all the rest, and there are no formulas
    resources = Resources(mode="inline", components=_PARTS, minified=True)
    return page.render(
        report=report,
        bokeh=[Markup(_closed(text)) for text in resources.js_raw],
        script=Markup(script),
        divs={name: Markup(div) for name, div in divs.items()},
        charts=[(chart, _image(chart)) for chart in report.charts],
        viewer=molecules,
        viewer_script=Markup(_closed(molecules.script)) if molecules else "",
        viewer_data=Markup(_closed(molecules.data)) if molecules else "",
        viewer_labels=Markup(_closed(molecules.labels)) if molecules else "",
        dims=LABELS,
    )


def _board(table: Table) -> DataTable:
    """The leaderboard, sorted by a click on a heading."""
    columns = []
    for name in table.frame.columns:
        values = table.frame[name]
        formatter: Any = StringFormatter(nan_format="")
        if pd.api.types.is_numeric_dtype(values):
            digits = 0 if pd.api.types.is_integer_dtype(values) else table.places.get(str(name), table.digits)
            formatter = NumberFormatter(
                format=f"0.{'0' * digits}" if digits else "0", nan_format="", text_align="right"
            )
        words = [] if pd.api.types.is_numeric_dtype(values) else map(str, values)
        width = 130 if name == "model" else max(60, 7 * max(len(str(name)), *map(len, words), 0) + 16)
        columns.append(TableColumn(field=str(name), title=str(name), formatter=formatter, width=width))
    height = _HEADER + _ROW * len(table.frame) + 18
    return DataTable(
        source=ColumnDataSource({str(name): _unsigned(table, str(name)) for name in table.frame}),
        columns=columns,
        sortable=True,
        reorderable=False,
        index_position=None,
        autosize_mode="none",
        height=height,
        sizing_mode="stretch_width",
        row_height=_ROW,
        name="leaderboard",
    )


def _unsigned(table: Table, name: str) -> Any:
    """Numbers of a column; what would be shown as -0.00 is zero."""
    values = table.frame[name].to_numpy()
    if values.dtype.kind != "f":
        return values
    return np.where(np.abs(values) < 0.5 * 10.0 ** -table.places.get(name, table.digits), 0.0, values)


def _image(chart: Chart) -> str:
    """A figure in the address of an image; as SVG, twenty panels would be three times as large."""
    with mpl.rc_context(RC):
        figure, target = chart.draw(), io.BytesIO()
        figure.savefig(target, format="png", dpi=_DPI)
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


def _closed(text: str) -> str:
    """Script text that cannot end the element it stands in."""
    return re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE)


def _words(text: str) -> Markup:
    """Text with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))
