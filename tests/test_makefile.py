"""The Makefile's short targets run the commands that the README names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("target", "commands"),
    [
        (
            "quickstart",
            ["hbcoop run quickstart quickstart.zarr", "hbcoop analyse quickstart.zarr --figure quickstart.png"],
        ),
        (
            "reference-tables",
            ["python analysis/reference_tables.py store/nma.zarr.zip"],
        ),
        (
            "store",
            [
                "hbcoop run store/nma.yaml published.zarr --cluster store/pools.yaml || [ $? -eq 1 ]",
                "hbcoop run store/slow.yaml published.zarr --cluster store/pools.yaml || [ $? -eq 1 ]",
                "hbcoop export published.zarr -o store/nma.zarr.zip",
                "hbcoop run twins twins.zarr || [ $? -eq 1 ]",
                "hbcoop export twins.zarr -o store/twins.zarr.zip",
                "hbcoop run store/rotamers.yaml rotamers.zarr || [ $? -eq 1 ]",
                "hbcoop export rotamers.zarr -o store/rotamers.zarr.zip",
            ],
        ),
        ("report", ['hbcoop report store/nma.zarr.zip -o report.html --title "Published store"']),
        ("test-gpu", ["python -m pytest -m gpu tests/gpu"]),
    ],
)
def test_target_runs_what_it_says(target: str, commands: list[str]) -> None:
    printed = subprocess.run(
        ["make", "--dry-run", "--assume-old=install", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    lines = [line.split("  #")[0].removeprefix(".venv/bin/") for line in printed.splitlines()]
    assert [line for line in lines if line.startswith(("hbcoop", "python analysis", "python -m pytest"))] == commands
