"""Write a report into a file; the suffix, or the format asked for, says as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages

from hbcoop_dist.analysis.plots import save_figure
from hbcoop_dist.analysis.plots.style import RC
from hbcoop_dist.report.content import Report, ReportError, Table


def write_report(report: Report, path: str | Path, format: str | None = None) -> Path:
    """Write a report.

    Parameters
    ----------
    report : Report
    path : str or Path
        The file; Markdown puts its figures into a folder of the same name beside it.
    format : {"html", "md", "pdf-figures"}, optional
        By the file's suffix when not given.

    Raises
    ------
    ReportError
        When the format is unknown, or not given and not to be told from the suffix.
    """
    target = Path(path)
    chosen = format or _SUFFIXES.get(target.suffix.lower())
    if chosen is None or chosen not in FORMATS:
        raise ReportError(
            f"expected a format ({', '.join(FORMATS)}) or a file ending in {', '.join(_SUFFIXES)}, "
            f"found {chosen or target}"
        )
    FORMATS[chosen](report, target)
    return target


def markdown_table(table: Table) -> str:
    """A table as Markdown; missing numbers are empty."""
    columns = list(map(str, table.frame.columns))
    lines = [columns, ["---"] * len(columns)]
    for row in table.frame.itertuples(index=False):
        texts = (table.number(name, value) for name, value in zip(columns, row, strict=True))
        lines.append([text.replace("|", "\\|").replace("\n", " ") for text in texts])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _html(report: Report, path: Path) -> None:
    from hbcoop_dist.report.html import to_html

    path.write_text(to_html(report), encoding="utf-8")


def _markdown(report: Report, path: Path) -> None:
    folder = path.with_name(path.stem + "_files")
    pieces = [f"# {report.title}", report.subtitle, *(f"- {sentence}" for sentence in report.summary)]
    for table in (report.leaderboard, *report.tables):
        pieces.append(_section(table))
    for chart in report.charts:
        image = save_figure(chart.draw(), folder / f"{chart.anchor}.png")
        pieces.append(f"## {chart.title}\n\n![{chart.title}]({folder.name}/{image.name})\n\n{chart.words}")
    pieces.append("## Campaign\n\n" + "\n\n".join(f"```yaml\n{text}```" for text in report.campaigns))
    pieces.append("## How to cite\n\n" + "\n".join(f"- {line}" for line in report.citations))
    path.write_text("\n\n".join(filter(None, pieces)) + "\n", encoding="utf-8")


def _section(table: Table) -> str:
    return f"## {table.title}\n\n{table.words}\n\n{markdown_table(table)}"


def _figures(report: Report, path: Path) -> None:
    with mpl.rc_context(RC), PdfPages(path) as pages:
        for chart in report.charts:
            pages.savefig(chart.draw())


FORMATS: Mapping[str, Callable[[Report, Path], None]] = {"html": _html, "md": _markdown, "pdf-figures": _figures}
"""What a report can be written as."""
_SUFFIXES = {".html": "html", ".md": "md", ".pdf": "pdf-figures"}
