"""Restart files: read back exactly, written at intervals, and never an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hbcoop_dist.execution.restart_files import RestartFolder
from hbcoop_dist.optimize.quasi_newton import State

STATE = State(np.arange(3.0), np.eye(2), -1.5, np.ones((4, 3)), 0.05, 0.15, 3, 7)


def test_files_are_read_back_exactly(tmp_path: Path) -> None:
    folder = RestartFolder(tmp_path / "x")
    folder.save("key", STATE)
    state = folder.load("key", 3, 2)
    assert state is not None
    for name in ("q", "curvature", "forces"):
        np.testing.assert_array_equal(getattr(state, name), getattr(STATE, name))
    for name in ("energy", "cap", "max_component", "steps", "force_calls"):
        assert getattr(state, name) == getattr(STATE, name)
    assert type(state.steps) is int
    folder.remove("key")
    assert folder.load("key", 3, 2) is None
    folder.close()
    assert not (tmp_path / "x").exists()


def test_a_file_that_is_damaged_or_of_another_structure_is_ignored(tmp_path: Path) -> None:
    folder = RestartFolder(tmp_path)
    folder.save("key", STATE)
    assert folder.load("key", 4, 2) is None
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], content[:-30] + b"x" * 30, b"not a zip file"):
        path.write_bytes(damaged)
        assert folder.load("key", 3, 2) is None


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = RestartFolder(tmp_path / "file" / "x", seconds=0.0)
    folder.save_if_due("key", STATE)
    assert folder.load("key", 3, 2) is None
    folder.remove("key")
    folder.close()


def test_files_are_written_now_and_then_only(tmp_path: Path) -> None:
    folder = RestartFolder(tmp_path, seconds=3600.0)
    folder.save_if_due("key", STATE)
    folder.save_if_due("key", STATE)
    assert list(tmp_path.iterdir()) == []
