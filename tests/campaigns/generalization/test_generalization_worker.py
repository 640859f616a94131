"""Work of generalization campaigns: failures as results, and schemes of other distributions."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import TRAINING, needs_packages, plan_campaign, run_here

from hbcoop_dist.campaigns.spec_fields import CampaignError
from hbcoop_dist.store import open_store

pytestmark = needs_packages

DECLARATION = """
from hbcoop_dist.learning.networks.registry import ComponentOptions
from hbcoop_dist.learning.networks.registry import SchemeDeclaration

class ShiftOptions(ComponentOptions):
    start: float = 0.0

SHIFT = SchemeDeclaration("other_scheme:Shift", ShiftOptions)
"""

SCHEME = """
import torch
from hbcoop_dist.learning.networks.schemes.base import LongRange, Scheme

class Shift(Scheme):
    name = "shift"

    def __init__(self, shape, options):
        super().__init__(shape, options)
        self.shift = torch.nn.Parameter(torch.full((shape.n_species,), options.start))

    def energy(self, features, batch, memory):
        return LongRange(self.shift[batch.species])
"""


def test_a_scheme_of_another_distribution_is_trained(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_declaration.py").write_text(DECLARATION)
    (tmp_path / "other_scheme.py").write_text(SCHEME)
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hbcoop_dist.schemes]\nshift = other_declaration:SHIFT\n")
    with pytest.raises(CampaignError, match="expected one of none, charge-embedding, les, celli, efa, or"):
        plan_campaign(tmp_path, schemes="shift")
    monkeypatch.syspath_prepend(str(tmp_path))
    store = tmp_path / "shift.zarr"
    assert run_here(plan_campaign(tmp_path, schemes="shift"), store).statuses == {"done": 1}
    parameters = open_store(store)["parameters"].item()
    without = open_store(networks)["parameters"].sel(split="random", scheme="none").item()
    # one parameter for each of H, C, N and O
    assert parameters == without + 4


def test_a_training_that_diverges_gives_a_row_with_the_reason(tmp_path: Path) -> None:
    training = {**TRAINING, "learning_rate": 1e30, "largest_gradient": 1e30}
    store = tmp_path / "diverged.zarr"
    assert run_here(plan_campaign(tmp_path, training=training), store).statuses == {"failed": 1}
    reason = str(open_store(store)["reason"].item())
    assert "expected a finite" in reason
    assert "learning_rate" in reason
