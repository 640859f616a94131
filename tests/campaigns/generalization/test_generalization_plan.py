"""Plans of generalization campaigns: shared tasks once, keys by content, reasons for what is skipped."""

import sys
from dataclasses import replace

import pytest
from hbcoop_dist.campaigns.generalization.planner import SOAP, plan

from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec

BASE = {
    "campaign": "test",
    "kind": "generalization",
    "datasets": {"name": "ionic", "generate": "ionic", "size": 230},
    "splits": ["random", "size"],
    "schemes": ["none", "les"],
    "seeds": [0, 1],
}


def spec(**changes: object) -> GeneralizationSpec:
    return GeneralizationSpec.model_validate(BASE | changes)


def test_what_cells_share_is_planned_once() -> None:
    drawn = plan(spec())
    kinds = [task.kind for task in drawn.tasks.values()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "label": 3, "map": 1, "split": 4, "train": 8, "evaluate": 8
    }  # fmt: skip
    batched = [task.key for batch in drawn.batches for task in batch.tasks]
    assert sorted(batched) == sorted(drawn.tasks)


def test_inputs_are_part_of_the_plan_and_come_first() -> None:
    drawn = plan(spec())
    seen: set[str] = set()
    for batch in drawn.batches:
        for task in batch.tasks:
            assert set(task.inputs) <= seen
            seen.add(task.key)


def test_a_name_decides_no_key() -> None:
    renamed = plan(spec(datasets={"name": "other", "generate": "ionic", "size": 230}))
    assert set(renamed.tasks) == set(plan(spec()).tasks)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [2]},
        {"schemes": [{"name": "les", "options": {"self_energy": True}}]},
        {"training": {"steps": 7}},
        {"architectures": {"name": "mace", "cutoff": 5.0}},
        {"datasets": {"name": "ionic", "generate": "ionic", "size": 230, "seed": 1}},
    ],
)
def test_what_decides_a_network_is_in_its_key(changes: dict[str, object]) -> None:
    before = {task.key for task in plan(spec()).tasks.values() if task.kind == "train"}
    after = [task for task in plan(spec(**changes)).tasks.values() if task.kind == "train"]
    changed = [task.key for task in after if task.scheme is not None and task.scheme.name == "les"]
    assert changed
    assert not before & set(changed)


def test_what_is_not_installed_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    # the package's own name `plan` is the function
    module = sys.modules["hbcoop_dist.campaigns.generalization.planner"]
    monkeypatch.setattr(module, "SOAP", replace(SOAP, modules=("no_such_package",)))
    drawn = plan(spec())
    assert set(drawn.skipped) == set(drawn.cells)
    assert not drawn.tasks
    assert "needs no_such_package, not installed here" in str(drawn)
