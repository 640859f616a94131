"""A campaign whose processes are killed at random gives the store of an undisturbed run, value for value."""

from __future__ import annotations

from pathlib import Path

import pytest
from disturb import KILLS, disturb, spec_file, undisturbed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_kills_change_no_value(tmp_path: Path) -> None:
    spec = spec_file(tmp_path)
    calm = undisturbed(tmp_path, spec)
    found = disturb(spec, tmp_path / "disturbed.zarr", calm, seed=1)
    assert len(found.killed) == KILLS, "the campaign ended before it was disturbed enough"
    assert found.differences == []
