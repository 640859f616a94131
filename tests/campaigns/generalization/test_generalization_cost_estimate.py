"""Cost of a campaign from the times of a store."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hbcoop_dist.campaigns.generalization.plan import estimate_core_time, make_plan
from hbcoop_dist.campaigns.kind import load_campaign
from hbcoop_dist.store import open_store

STORE = Path(__file__).parents[3] / "store" / "generalization-quick.zarr.zip"


def core_hours(text: str) -> float:
    match = re.search(r"about (\S+) core-hours", text)
    assert match
    return float(match[1])


def test_another_seed_costs_as_much_as_the_measured_one() -> None:
    ds = open_store(STORE, kind="generalization")
    spec = load_campaign("generalization-quick")
    text = estimate_core_time(make_plan(spec.model_copy(update={"seeds": (1,)})), STORE)
    assert core_hours(text) == pytest.approx(float(ds["seconds"].sum()) / 3600, rel=5e-3)
    assert "for 20 networks" in text


def test_cost_is_proportional_to_the_structures_shown() -> None:
    spec = load_campaign("generalization-quick")
    longer = spec.training.model_copy(update={"steps": 3 * spec.training.steps})
    first, second = (
        core_hours(estimate_core_time(make_plan(spec.model_copy(update={"seeds": (1,), **changes})), STORE))
        for changes in ({}, {"training": longer})
    )
    assert second == pytest.approx(3 * first, rel=1e-2)


def test_networks_that_are_done_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(load_campaign("generalization-quick"))
    keys = [tasks.evaluated for tasks in plan.cell_tasks.values()]
    module = "hbcoop_dist.campaigns.generalization.plan"
    monkeypatch.setattr(f"{module}._evaluated_keys", lambda store: set(keys[:-1]))
    assert "for 1 networks" in estimate_core_time(plan, STORE)
    monkeypatch.setattr(f"{module}._evaluated_keys", lambda store: set(keys))
    assert estimate_core_time(plan, STORE) == f"nothing left to do: {STORE} has all 20 networks"


def test_networks_that_were_not_measured_are_named() -> None:
    spec = load_campaign("generalization-quick")
    architectures = tuple(
        entry.model_copy(update={"name": "a", "architecture": "dimenet++"}) for entry in spec.architectures
    )
    plan = make_plan(spec.model_copy(update={"architectures": architectures}))
    assert "dimenet++ with les" in estimate_core_time(plan, STORE)
