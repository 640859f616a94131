"""Commands import what they need, and no more: help is immediate, and reading a store needs no plotting or Dask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hbcoop_dist as hb

STORE = Path(__file__).resolve().parents[2] / "store" / "nma.zarr.zip"
HEAVY = ("bokeh", "dask", "distributed", "matplotlib", "pandas", "scipy", "sparse", "torch", "xarray", "zarr")
_SCRIPT = f"""
import json, sys
from hbcoop_dist.cli.command_line import main
try:
    main()
except SystemExit as ended:
    code = ended.code
print(json.dumps([code, [name for name in {HEAVY} if sys.modules.get(name)]]))
"""


def loaded_by(*arguments: object) -> tuple[int, set[str]]:
    """Run a command in a process of its own; return its exit code and the heavy packages that it has imported."""
    command = [sys.executable, "-c", _SCRIPT, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    code, names = json.loads(ended.stdout.splitlines()[-1])
    return code, set(names)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("models", "--help"), ("datasets", "check", "--help"), ("walk",)]
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code, names = loaded_by(*arguments)
    assert code == (2 if arguments == ("walk",) else 0)
    assert names == set()


def test_a_plan_is_made_without_reading_a_store() -> None:
    code, names = loaded_by("plan", "quickstart")
    assert code == 0
    assert names & {"bokeh", "distributed", "matplotlib", "torch"} == set()


def test_status_of_a_store_needs_no_plots_no_dask_and_no_torch() -> None:
    code, names = loaded_by("status", STORE)
    assert code in (0, 1)
    assert "xarray" in names
    assert names & {"bokeh", "dask", "distributed", "matplotlib", "scipy", "sparse", "torch"} == set()


def test_public_names_are_imported_at_their_first_use() -> None:
    code = (
        "import sys, hbcoop_dist as hb; assert 'zarr' not in sys.modules; hb.open_store; assert 'zarr' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    for name in hb.__all__:
        assert getattr(hb, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hb.nothing  # type: ignore[attr-defined]  # noqa: B018
