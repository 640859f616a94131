"""Store of a small generalization campaign, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import plan_campaign, run_here


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished store of two splits and two schemes. Tests must not change it."""
    folder = tmp_path_factory.mktemp("networks")
    plan = plan_campaign(folder, splits=["random", "cluster"], schemes=["none", "les"])
    summary = run_here(plan, folder / "networks.zarr")
    assert summary.statuses == {"done": 4}, summary
    return folder / "networks.zarr"
