"""Write reports into files, in the format given by the suffix or by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from hbcoop_dist.analysis.report_content import Report, ReportError, Table


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
