"""The report in each of its formats, by the library and by the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbcoop_dist.cli.main import main as cli
from hbcoop_dist.report import Report, Table, write_report
from hbcoop_dist.report.writers import markdown_table


def _hbcoop(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["hbcoop", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_page_asks_nothing_of_the_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//", text)
    assert len(text) < 10e6


def test_markdown_has_the_words_the_tables_and_its_figures(made: Report, tmp_path: Path) -> None:
    path = write_report(made, tmp_path / "report.md")
    text = path.read_text(encoding="utf-8")
    assert all(sentence in text for sentence in made.summary)
    assert all(f"## {table.title}" in text for table in made.tables)
    images = re.findall(r"\]\((report_files/[^)]*)\)", text)
    assert len(images) == len(made.charts)
    assert all((tmp_path / image).stat().st_size > 1000 for image in images)


def test_numbers_read_as_numbers() -> None:
    frame = pd.DataFrame({"model": ["a|b"], "change": [-0.001], "units": [11.0], "count": [3], "none": [np.nan]})
    text = markdown_table(Table("x", "X", "", frame, places={"units": 0}))
    assert text.splitlines()[-1] == "| a\\|b | 0.00 | 11 | 3 |  |"


def test_figures_as_pdf_are_one_page_each(made: Report, tmp_path: Path) -> None:
    path = write_report(made, tmp_path / "figures.pdf")
    data = path.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", data)) == len(made.charts)


def test_the_format_may_be_said(made: Report, tmp_path: Path) -> None:
    assert write_report(made, tmp_path / "report.txt", "md").read_text(encoding="utf-8").startswith("# small")
    with pytest.raises(ValueError, match="expected a format"):
        write_report(made, tmp_path / "report.txt")


def test_the_command_line_writes_a_page_and_refuses_what_it_cannot(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine.html"
    assert _hbcoop("report", str(store), "-o", str(target), "--title", "Mine & yours", monkeypatch=monkeypatch) == 0
    assert "<h1>Mine &amp; yours</h1>" in target.read_text(encoding="utf-8")
    for words, complaint in (
        (["report", str(tmp_path / "none.zarr"), "-o", str(target)], "expected a store, found nothing there"),
        (["report", str(store), "-o", str(tmp_path / "x.docx")], "expected a format"),
        (["report", str(store), "-o", str(tmp_path / "no" / "x.html")], "expected an existing folder"),
        (["report", str(store), "-o", str(target), "--format", "tex"], "expected html, md, pdf-figures, found tex"),
    ):
        capsys.readouterr()
        assert _hbcoop(*words, monkeypatch=monkeypatch) == 2
        assert complaint in " ".join(capsys.readouterr().err.replace("│", " ").split())
