"""The contract suites work in the test suite of another distribution as soon as hbcoop_dist is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIGURATION = "[pytest]\naddopts = --strict-markers -p no:zarr -p no:cacheprovider\nfilterwarnings = error\n"
LIGHT = """
import sys

HEAVY = {name for name in ("numpy", "torch", "xarray", "zarr", "distributed") if name in sys.modules}


def test_the_plug_in_imports_nothing_heavy():
    assert HEAVY == set()
"""
SLOW_MODEL = """
from hbcoop_dist.testing.models import ModelContract


class TestToy(ModelContract):
    family = "toy"
    slow = ("toy-additive",)
"""
WRONG_SYSTEM = """
import pytest
from hbcoop_dist.clusters import ClusterProfile
from hbcoop_dist.clusters.local_jobs import LocalSystem
from hbcoop_dist.testing.clusters import EXAMPLE_POOLS, BatchSystemContract


class Wrong(LocalSystem):
    def preview(self, pool_name):
        return "submit nothing"


class TestWrong(BatchSystemContract):
    @pytest.fixture
    def system(self, tmp_path):
        return Wrong(ClusterProfile(profile="mine", kind="local", pools=EXAMPLE_POOLS), tmp_path, "hbond=1")
"""


def run_pytest(folder: Path, content: str, *options: str) -> tuple[int, str]:
    """Run a test module in a folder of its own; return exit code and output."""
    (folder / "pytest.ini").write_text(CONFIGURATION)
    (folder / "test_mine.py").write_text(content)
    command = [sys.executable, "-m", "pytest", "-q", *options, "test_mine.py"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_it_imports_nothing_heavy(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, LIGHT)
    assert code == 0, output


def test_a_suite_runs_and_its_marker_is_known(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, SLOW_MODEL, "-m", "not slow", "--collect-only")
    assert code == 0, output
    assert "deselected" in output


def test_a_failure_shows_the_compared_values(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, WRONG_SYSTEM)
    assert code == 1, output
    assert "submit nothing" in output
    assert "AssertionError: assert " in output
