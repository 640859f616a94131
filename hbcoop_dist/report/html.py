"""Write a report as one self-contained HTML file, with all scripts, numbers, figures and structures inside."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
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
from hbcoop_dist.analysis.report_content import Chart, Report, ReportError, StructureViewer, Table

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


def write_report(report: Report, path: str | Path, format: str | None = None) -> Path:
    """Write a report into a file.

    Parameters
    ----------
    report : Report
        Content of the report.
    path : str or Path
        The file. The figures of Markdown are written into a folder of the same name with ``_files`` beside it.
    format : {"html", "md", "pdf-figures"}, optional
        Format of the file; given by its suffix when omitted.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ReportError
        When the format is unknown, or omitted and not given by the suffix.
    """
    target = Path(path)
    name = format or _FORMAT_OF_SUFFIX.get(target.suffix.lower())
    if name is None or name not in FORMATS:
        raise ReportError(
            f"output: expected a format ({', '.join(FORMATS)}) or a file ending in {', '.join(_FORMAT_OF_SUFFIX)}, "
            f"found {name or target}"
        )
    FORMATS[name](report, target)
    return target


def markdown_table(table: Table) -> str:
    """Rows of a table as Markdown, without its heading.

    Parameters
    ----------
    table : Table
        Missing numbers become empty cells.

    Returns
    -------
    str
    """
    columns = list(map(str, table.frame.columns))
    rows = [columns, ["---"] * len(columns)]
    for values in table.frame.itertuples(index=False):
        texts = (table.format(name, value) for name, value in zip(columns, values, strict=True))
        rows.append([text.replace("|", "\\|").replace("\n", " ") for text in texts])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _write_html(report: Report, path: Path) -> None:
    from hbcoop_dist.report.html import render_page

    path.write_text(render_page(report), encoding="utf-8")


def _write_markdown(report: Report, path: Path) -> None:
    from hbcoop_dist.analysis.plots.chains import save_figure

    folder = path.with_name(path.stem + "_files")
    sections = [f"# {report.title}", report.subtitle, "\n".join(f"- {sentence}" for sentence in report.summary)]
    for table in (report.leaderboard, *report.tables):
        sections.append(f"## {table.title}\n\n{table.caption}\n\n{markdown_table(table)}")
    for chart in report.charts:
        image = save_figure(chart.draw(), folder / f"{chart.anchor}.png")
        sections.append(f"## {chart.title}\n\n![{chart.title}]({folder.name}/{image.name})\n\n{chart.caption}")
    sections.append("## Campaign\n\n" + "\n\n".join(f"```yaml\n{text}```" for text in report.campaigns))
    sections.append("## How to cite\n\n" + "\n".join(f"- {citation}" for citation in report.citations))
    path.write_text("\n\n".join(filter(None, sections)) + "\n", encoding="utf-8")


def _write_figures(report: Report, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import PdfPages

    from hbcoop_dist.analysis.plots.style import RC

    with mpl.rc_context(RC), PdfPages(path) as pages:
        for chart in report.charts:
            pages.savefig(chart.draw())


FORMATS: Mapping[str, Callable[[Report, Path], None]] = MappingProxyType(
    {"html": _write_html, "md": _write_markdown, "pdf-figures": _write_figures}
)
"""Function that writes each format."""
_FORMAT_OF_SUFFIX = {".html": "html", ".md": "md", ".pdf": "pdf-figures"}
