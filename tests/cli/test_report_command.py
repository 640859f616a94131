"""`hbcoop report`: formats, options and refusals."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from small_hbond_store import small_hbond_store

from hbcoop_dist.cli.command_line import main

PUBLISHED = Path(__file__).resolve().parents[2] / "store"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_hbond_store(tmp_path_factory.getbasetemp())


def _report(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["hbcoop", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_page_has_the_title_escaped(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "mine.html"
    assert _report(monkeypatch, store, "-o", target, "--title", "Mine & yours") == 0
    assert "<h1>Mine &amp; yours</h1>" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "output", "options", "complaint"),
    [
        ("none.zarr", "x.html", (), "expected a store, found nothing there"),
        ("", "x.docx", (), "--output: expected a format"),
        ("", "no/x.html", (), "expected an existing folder"),
        ("", "x.html", ("--format", "tex"), "--format: expected html, md, pdf-figures, found tex"),
        ("", "x.html", ("--reference", "mp3"), "--reference: expected one of"),
    ],
)
def test_what_cannot_be_written_is_refused(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    output: str,
    options: tuple[str, ...],
    complaint: str,
) -> None:
    path = tmp_path / name if name else store
    assert _report(monkeypatch, path, "-o", tmp_path / output, *options) == 2
    assert complaint in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / output).exists()


def test_references_beside_networks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = PUBLISHED / "generalization-quick.zarr.zip"
    assert _report(monkeypatch, networks, "-o", tmp_path / "x.md", "--reference", "hf:cc-pvdz") == 2
    assert "--reference: expected none for a store of kind generalization" in " ".join(
        capsys.readouterr().err.replace("│", " ").split()
    )
