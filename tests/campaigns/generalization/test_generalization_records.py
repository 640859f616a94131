"""Rows of networks, splits and sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_networks import count_results, needs_packages, plan_campaign, run_here

from hbcoop_dist.campaigns.generalization.kind import KIND
from hbcoop_dist.campaigns.generalization.plan import make_plan
from hbcoop_dist.campaigns.generalization.records import TEST, TRAINING, VALIDATION, cell_records
from hbcoop_dist.campaigns.generalization.tasks import EvaluationResult, SplitResult, TrainingResult
from hbcoop_dist.campaigns.kind import load_from_history, specs_in_history
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.store import Journal, history_of, journal_path, open_store

pytestmark = needs_packages


def test_rows_agree_with_each_other(networks: Path) -> None:
    ds = open_store(networks).load()
    assert np.isfinite(ds["energy_rmse"].values).all()
    assert np.isfinite(ds["forces_rmse"].values).all()
    assert (ds["energy_mae"] <= ds["energy_rmse"]).all()
    assert ds["step"].values.tolist() == [2, 4]
    assert set(ds["part"].values.ravel().tolist()) == {TRAINING, VALIDATION, TEST}
    tested = ds["part"] == TEST
    assert (ds["similarity"].notnull() == tested).all()
    assert (ds["n_test"] == tested.sum("structure")).all()
    assert (ds["n_training"] == (ds["part"] == TRAINING).sum("structure")).all()
    assert (ds["domain_count"].where(ds["domain_count"] > 0).sum("domain") == ds["n_test"]).all()
    assert (ds["atoms_count"].where(ds["atoms_count"] > 0).sum("atoms") == ds["n_test"]).all()
    # networks without a scheme have no charges to compare
    assert ds["charges_mae"].sel(scheme="none").isnull().all()
    assert ds["charges_mae"].sel(scheme="les").notnull().all()


def test_errors_by_group_make_up_the_whole_error(networks: Path) -> None:
    ds = open_store(networks).load()
    for axis in ("domain", "atoms"):
        count = ds[f"{axis}_count"].where(ds[f"{axis}_count"] > 0)
        squared = (count * ds[f"{axis}_energy_rmse"] ** 2).sum(axis) / count.sum(axis)
        np.testing.assert_allclose(np.sqrt(squared), ds["energy_rmse"], rtol=1e-9)


def test_records_are_a_function_of_the_results(networks: Path) -> None:
    (spec,) = specs_in_history(history_of(networks))
    plan = make_plan(load_from_history(spec))  # type: ignore[arg-type]
    with Journal(journal_path(networks), KIND.payloads) as journal:
        results: dict[str, TaskResult] = {key: result for key in plan.tasks if (result := journal.get(key))}
    cell = plan.cells[-1]
    tasks = plan.cell_tasks[cell]
    network, dataset, split = cell_records(plan, cell, results.__getitem__, ())
    assert [record.table for record in (network, dataset, split)] == ["cell", "dataset", "split"]
    assert network.labels == cell.labels
    errors = results[tasks.evaluated].payload_as(EvaluationResult)
    training = results[tasks.trained].payload_as(TrainingResult)
    assert network.values["energy_rmse"] == errors.energy_rmse
    assert network.values["parameter_hash"] == training.network.parameter_hash
    assert network.values["seconds"] == results[tasks.trained].seconds + results[tasks.evaluated].seconds
    assert network.values["task_key"] == tasks.evaluated
    # losses are stored in eV and reported in meV
    np.testing.assert_allclose(
        network.values["validation_energy_mae"], 1000.0 * training.network.curve.energy_mae, rtol=1e-12
    )
    sides = results[tasks.divided].payload_as(SplitResult)
    assert np.flatnonzero(np.asarray(split.values["part"]) == TEST).tolist() == sorted(sides.test.tolist())
    assert len(dataset.along["structure"]) == 16
    # rows that are written already are not made again
    written = {("dataset", ("ionic",)), ("split", ("ionic", "cluster", 0))}
    assert [record.table for record in cell_records(plan, cell, results.__getitem__, written)] == ["cell"]
    # of several failures the first is the cause
    for key in (tasks.trained, tasks.evaluated):
        results[key] = TaskResult(key, "failed", f"reason of {results[key].key == tasks.trained}")
    (failed,) = cell_records(plan, cell, results.__getitem__, ())
    assert (failed.status, failed.reason) == ("failed", "reason of True")
    assert failed.values == {"task_key": tasks.evaluated}


def test_a_wider_campaign_computes_only_the_rest(tmp_path: Path) -> None:
    store = tmp_path / "grown.zarr"
    run_here(plan_campaign(tmp_path, splits=["random", "size"]), store)
    before, results = open_store(store).load(), count_results(store)
    wider = plan_campaign(tmp_path, splits="random", schemes=["none", "charge-embedding"])
    assert run_here(wider, store).computed == 1
    assert count_results(store) == results + 2
    after = open_store(store).load()
    same = after["energy_rmse"].sel({dim: before[dim] for dim in before["energy_rmse"].dims})
    np.testing.assert_array_equal(same.values, before["energy_rmse"].values)
    excluded = after.sel(scheme="charge-embedding", split="size")
    assert excluded["status"].values.ravel().tolist() == ["skipped"]
    assert excluded["reason"].item().startswith("not asked for by campaign")
