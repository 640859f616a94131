"""Plans of generalization campaigns: shared tasks once, keys by content, reasons for networks that are skipped."""

from __future__ import annotations

import importlib.metadata
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from set_files import omol_row, write_database
from small_networks import count_kinds

from hbcoop_dist.campaigns.generalization import plan as plan_module
from hbcoop_dist.campaigns.generalization import tasks as tasks_module
from hbcoop_dist.campaigns.generalization.plan import GeneralizationPlan, make_plan
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.campaigns.generalization.tasks import TrainingTask
from hbcoop_dist.campaigns.kind import load_campaign
from hbcoop_dist.campaigns.spec_fields import CampaignError
from hbcoop_dist.models import registry

BASE: dict[str, Any] = {
    "campaign": "test",
    "kind": "generalization",
    "datasets": {"name": "ionic", "generate": "ionic", "size": 230},
    "splits": ["random", "size"],
    "schemes": ["none", "les"],
    "seeds": [0, 1],
}


def spec(**changes: Any) -> GeneralizationSpec:
    return GeneralizationSpec.model_validate(BASE | changes)


def keys(plan: GeneralizationPlan, kind: str, split: str = "") -> set[str]:
    return {task.key for task in plan.tasks.values() if task.kind == kind and (not split or task.split == split)}


def test_shared_tasks_are_planned_once() -> None:
    assert count_kinds(make_plan(spec())) == {"label": 3, "split": 4, "map": 1, "train": 8, "evaluate": 8}


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["mace", "mace-again"]},
        {"schemes": ["les", {"name": "again", "scheme": "les"}]},
        {"datasets": [{"name": name, "generate": "ionic", "size": 230} for name in ("ionic", "again")]},
    ],
)
def test_entries_that_differ_in_name_only_share_their_tasks(changes: dict[str, Any]) -> None:
    base = make_plan(spec(schemes=["none", "les"] if "schemes" not in changes else ["les"]))
    plan = make_plan(spec(**changes))
    assert len(plan.cells) == 2 * len(base.cells)
    assert set(plan.tasks) == set(base.tasks)
    batched = [task.key for batch in plan.batches for task in batch.tasks]
    assert sorted(batched) == sorted(plan.tasks)
    assert all(batch.tasks for batch in plan.batches)


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
def test_keys_of_trainings_depend_on_their_settings(changes: dict[str, Any]) -> None:
    before = keys(make_plan(spec()), "train")
    plan = make_plan(spec(**changes))
    changed = {key for key in keys(plan, "train") if (scheme := plan.tasks[key].scheme) and scheme.name == "les"}
    assert changed
    assert not before & changed


def test_another_version_of_the_descriptors_changes_all_keys_but_those_of_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = make_plan(spec())
    real = importlib.metadata.version
    monkeypatch.setattr(registry, "version", lambda name: "99.0" if name == "dscribe" else real(name), raising=False)
    after = make_plan(spec())
    assert keys(after, "label") == keys(before, "label")
    for kind in ("split", "map", "train", "evaluate"):
        assert len(keys(after, kind)) == len(keys(before, kind))
        assert not keys(after, kind) & keys(before, kind)


def test_another_version_of_the_descriptors_keeps_the_keys_of_parts_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (plan_module, tasks_module):
        monkeypatch.setattr(module, "LARGE", 4)
        monkeypatch.setattr(module, "PART", 3)
    path = write_database(tmp_path / "a.db", [omol_row(n) for n in range(6)])
    datasets = {"name": "a", "files": str(path)}
    before = make_plan(spec(datasets=datasets))
    real = plan_module.find_packages
    monkeypatch.setattr(plan_module, "find_packages", lambda *given: replace(real(*given), identity="other"))
    after = make_plan(spec(datasets=datasets))
    assert keys(after, "read") == keys(before, "read")
    for kind in ("describe", "split", "map", "train", "evaluate"):
        assert keys(before, kind)
        assert not keys(after, kind) & keys(before, kind)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"energy": "e"}},
        {"labels": {"energy": ["e", "energy"]}},
        {"skip_incomplete": True},
        {"require": ["forces"]},
        {"neutral_molecules": True},
        {"energy_unit": "Hartree"},
        {"size": 4},
    ],
)
def test_keys_depend_on_how_files_are_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write_database(tmp_path / "a.db", [omol_row(n) for n in range(6)])
    plain = {"name": "a", "files": str(path)}
    before, after = (make_plan(spec(datasets=datasets)) for datasets in (plain, plain | changes))
    for kind in ("split", "map", "train"):
        assert not keys(before, kind) & keys(after, kind)


def test_only_the_split_by_size_depends_on_its_limit(tmp_path: Path) -> None:
    path = write_database(tmp_path / "a.db", [omol_row(n) for n in range(4)])
    plain = {"name": "a", "files": str(path)}
    before, after = (make_plan(spec(datasets=datasets)) for datasets in (plain, plain | {"largest_train": 10}))
    assert keys(before, "split", "random") == keys(after, "split", "random")
    assert keys(before, "map") == keys(after, "map")
    assert not keys(before, "split", "size") & keys(after, "split", "size")


def test_files_that_hold_no_set_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    (tmp_path / "empty").mkdir()
    for name in ("notes.txt", "empty"):
        with pytest.raises(CampaignError, match=r"set a: .*expected"):
            make_plan(spec(datasets={"name": "a", "files": str(tmp_path / name)}))


def test_networks_whose_packages_are_absent_are_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = replace(plan_module.SOAP_NEEDS, modules=("no_such_package",))
    monkeypatch.setattr(plan_module, "SOAP_NEEDS", needs)
    plan = make_plan(spec())
    assert set(plan.skipped) == set(plan.cells)
    assert not plan.tasks
    assert "needs no_such_package, not installed here" in str(plan)


def test_tasks_survive_pickling(tmp_path: Path) -> None:
    path = write_database(tmp_path / "a.db", [omol_row(n) for n in range(4)])
    datasets = {"name": "a", "files": str(path), "labels": {"energy": "energy"}}
    for task in make_plan(spec(datasets=datasets)).tasks.values():
        copy: TrainingTask = pickle.loads(pickle.dumps(task))
        assert copy == task
        assert copy.data.identity == task.data.identity


def test_the_large_campaign_is_planned_from_files_in_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HBCOOP_DATA", str(tmp_path))
    for folder in ("qmof_database", "odac25", "omol25"):
        (tmp_path / folder).mkdir()
        write_database(tmp_path / folder / "small.db", [omol_row(n) for n in range(4)])
    plan = make_plan(load_campaign("generalization"), elsewhere=["allegro"])
    # networks on each of the three sets, splits, seeds
    assert len(plan.cells) == (2 * 16 + 19) * 5 * 3
    assert not plan.skipped
