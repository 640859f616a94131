"""Reports in each of their formats."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbcoop_dist.analysis.report_content import Report, ReportError, Table
from hbcoop_dist.report import FORMATS, markdown_table, write_report


def test_markdown_has_the_summary_the_tables_and_the_figures(chain_report: Report, tmp_path: Path) -> None:
    path = write_report(chain_report, tmp_path / "report.md")
    text = path.read_text(encoding="utf-8")
    assert all(f"- {sentence}\n" in text for sentence in chain_report.summary)
    assert all(f"## {table.title}" in text for table in chain_report.tables)
    images = re.findall(r"\]\((report_files/[^)]*)\)", text)
    assert images == [f"report_files/{chart.anchor}.png" for chart in chain_report.charts]
    assert all((tmp_path / image).read_bytes().startswith(b"\x89PNG") for image in images)


def test_numbers_in_markdown_have_the_digits_of_their_column() -> None:
    frame = pd.DataFrame({"model": ["a|b"], "change": [-0.001], "units": [11.0], "count": [3], "none": [np.nan]})
    text = markdown_table(Table("x", "X", "", frame, column_digits={"units": 0}))
    assert text.splitlines()[-1] == "| a\\|b | 0.00 | 11 | 3 |  |"


def test_a_pdf_has_one_page_per_figure(chain_report: Report, tmp_path: Path) -> None:
    data = write_report(chain_report, tmp_path / "figures.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", data)) == len(chain_report.charts)


@pytest.mark.parametrize(
    ("name", "format", "start"),
    [("x.HTML", None, b"<!DOCTYPE html>"), ("x.txt", "md", b"# text"), ("x.md", "pdf-figures", b"%PDF")],
)
def test_the_format_is_given_or_that_of_the_suffix(
    report_of: Callable[[str], Report], tmp_path: Path, name: str, format: str | None, start: bytes
) -> None:
    assert write_report(report_of("text"), tmp_path / name, format).read_bytes().startswith(start)


@pytest.mark.parametrize(("name", "format"), [("x.txt", None), ("x.html", "tex")])
def test_an_unknown_format_is_refused(
    report_of: Callable[[str], Report], tmp_path: Path, name: str, format: str | None
) -> None:
    with pytest.raises(ReportError, match=f"output: expected a format .{', '.join(FORMATS)}. or a file ending in"):
        write_report(report_of("text"), tmp_path / name, format)
    assert not (tmp_path / name).exists()


def test_pages_of_every_kind_are_built_without_bokeh() -> None:
    """Interactive figures are drawn when a page is written, not when its content is gathered."""
    code = (
        "import importlib, sys\n"
        "for kind in ('hbond', 'complexes', 'generalization'):\n"
        "    importlib.import_module(f'hbcoop_dist.campaigns.{kind}.report_pages')\n"
        "import hbcoop_dist.report, hbcoop_dist.cli.store_commands\n"
        "print(sorted({'bokeh', 'chemiscope', 'torch'} & set(sys.modules)))"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"
