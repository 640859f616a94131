"""Scripts in `analysis/`: each runs on a published store, describes itself, and is short enough to learn from."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.name for path in (ROOT / "analysis").glob("*.py"))
READERS = {
    "cooperative_energy.py": "nma.zarr.zip",
    "growth.py": "nma.zarr.zip",
    "claims.py": "generalization-claims.zarr.zip",
}
"""Scripts that print what a store holds; the others run models or write files, and have tests elsewhere."""


@pytest.mark.parametrize("name", READERS)
def test_a_script_prints_numbers_of_a_published_store(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "analysis" / name))["main"](str(ROOT / "store" / READERS[name]))
    printed = capsys.readouterr().out
    assert any(model in printed for model in ("so3lr", "maxsep"))
    assert sum(character.isdigit() for character in printed) > 100


def test_the_tour_runs_in_the_root_of_the_repository() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "analysis" / "tour.py")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "so3lr" in ended.stdout


def test_the_page_of_reference_levels_is_written_where_asked(tmp_path: Path) -> None:
    main = runpy.run_path(str(ROOT / "analysis" / "reference_tables.py"))["main"]
    main(str(ROOT / "store" / "nma.zarr.zip"), tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text(encoding="utf-8").startswith("# Reference levels\n")


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "tour.py"])
def test_a_script_describes_itself_and_does_nothing_else(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "analysis" / name), "--help"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert name in ended.stdout
    assert not list(tmp_path.iterdir())
