"""Checkpoints beside the checkout count for every test here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "weights"


@pytest.fixture(autouse=True)
def shared_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for checkpoints in HBCOOP_CHECKPOINTS and in ../shared/weights of the checkout."""
    folders = [os.environ.get("HBCOOP_CHECKPOINTS", ""), str(WEIGHTS) if WEIGHTS.is_dir() else ""]
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", os.pathsep.join(folder for folder in folders if folder))
