"""What the driver remembers of its workers: runtimes, prefetch depths, failing nodes, walltimes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fake_cluster import FakeCluster
from fake_tasks import FakeSource

from hbcoop_dist.clusters import JobState
from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.execution.scheduler import WorkerSlot
from hbcoop_dist.execution.worker_table import MAX_NODE_FAILURES, RuntimeEstimate, WorkerTable


def table_of(cluster: FakeCluster, *sources: FakeSource) -> WorkerTable:
    """A table of all workers of a cluster."""
    table = WorkerTable(cluster, {source.name: source for source in sources or (FakeSource("a"), FakeSource("b"))})
    for address, info in cluster.scheduler_info["workers"].items():
        table.join(address, info["name"], info["host"])
    return table


def free(table: WorkerTable, **ready: int) -> list[WorkerSlot]:
    return list(table.free_slots(ready))


@pytest.mark.parametrize("count", [1, 2, 14, 200])
def test_the_estimate_is_the_95th_percentile_of_a_models_runtimes(count: int) -> None:
    seconds = np.random.default_rng(count).lognormal(size=count)
    estimate = RuntimeEstimate()
    for value in seconds:
        estimate.add("a", value)
    assert estimate.upper("b") is None
    assert estimate.upper("a") == pytest.approx(np.quantile(seconds, 0.95), rel=1e-12)


def test_the_estimate_follows_the_latest_200_batches() -> None:
    estimate = RuntimeEstimate()
    for value in (100.0, *[1.0] * 200):
        estimate.add("a", value)
    assert estimate.upper("a") == 1.0


@pytest.mark.parametrize(("seconds", "depth"), [(1.0, 3), (1.1, 2), (10.0, 2), (10.1, 1), (None, 1)])
def test_a_worker_holds_as_many_batches_as_their_runtime_allows(seconds: float | None, depth: int) -> None:
    table = table_of(FakeCluster("cpu-1"))
    if seconds is not None:
        table.record_success(table["cpu-1"], "a", seconds)
    submitted = 0
    while slots := free(table, a=9):
        assert slots[0].only_loaded == bool(submitted)
        table.assign(table["cpu-1"], submitted, "a")
        submitted += 1
    assert submitted == depth


def test_prefetching_stops_with_the_ready_batches_of_the_loaded_model() -> None:
    table = table_of(FakeCluster("cpu-1"))
    table.record_success(table["cpu-1"], "a", 0.1)
    table.assign(table["cpu-1"], 0, "a")
    assert [slot.only_loaded for slot in free(table, a=1)] == [True]
    assert free(table, b=5) == []
    table.finish(table["cpu-1"], 0)
    assert [slot.only_loaded for slot in free(table, b=5)] == [False]


def test_slots_count_the_workers_that_have_a_model_loaded() -> None:
    table = table_of(FakeCluster("cpu-1", "cpu-2", "cpu-3"))
    table.assign(table["cpu-1"], 0, "a")
    table.assign(table["cpu-2"], 1, "b")
    (slot,) = free(table, a=1)
    assert (slot.worker, slot.loaded) == ("cpu-3", None)
    assert [slot.loaded_workers(model) for model in ("a", "b", "c")] == [1, 1, 0]
    table.finish(table["cpu-1"], 0)
    table.assign(table["cpu-1"], 2, "b")
    assert [slot.loaded_workers(model) for model in ("a", "b")] == [0, 2]
    table.remove("cpu-2")
    assert slot.loaded_workers("b") == 1


def test_a_worker_runs_the_sources_of_its_pool_only() -> None:
    needs = Requirements((), (), environment="other")
    cluster = FakeCluster("cpu-1", "other-1", pools={"cpu": {}, "other": {"environments": ["other"], "python": "x"}})
    table = table_of(cluster, FakeSource("a"), FakeSource("b", needs, here=False))
    slots = {slot.worker: slot for slot in free(table, a=1, b=1)}
    assert {name: [slot.accepts("a"), slot.accepts("b")] for name, slot in slots.items()} == {
        "cpu-1": [True, False],
        "other-1": [False, True],
    }


def test_a_batch_that_does_not_fit_into_the_walltime_is_refused_and_its_worker_given_up() -> None:
    cluster = FakeCluster("cpu-1")
    cluster.pools["cpu"].jobs["cpu-1"].state = JobState("RUNNING", ends=time.time() + 60)
    table = table_of(cluster)
    table.record_success(table["cpu-1"], "a", 100.0)
    (slot,) = free(table, a=1)
    assert slot.accepts("a"), "a fresh worker may always try"
    table.assign(table["cpu-1"], 0, "a")
    table.finish(table["cpu-1"], 0)
    (slot,) = free(table, a=1)
    assert (slot.accepts("a"), slot.accepts("b")) == (False, True)
    table.report_demand({"a": 1})
    assert cluster.demand == ({"cpu": 1}, set(), {"cpu-1"})


def test_demand_counts_ready_and_running_batches_of_every_pool() -> None:
    cluster = FakeCluster("cpu-1", "gpu-1", pools={"cpu": {}, "gpu": {"device": "cuda"}})
    table = table_of(cluster, FakeSource("a"), FakeSource("b", Requirements((), (), gpu=True)))
    table.assign(table["gpu-1"], 0, "b")
    table.assign(table["gpu-1"], 1, "b")
    table.report_demand({"a": 5, "b": 2})
    assert cluster.demand == ({"cpu": 5, "gpu": 4}, {"gpu-1"}, set())


def test_a_node_that_fails_five_batches_is_excluded_if_others_run_the_model() -> None:
    assert MAX_NODE_FAILURES == 5
    cluster = FakeCluster("cpu-1", "cpu-2")
    table = table_of(cluster)
    sick, well = table["cpu-1"], table["cpu-2"]
    for number in range(9):
        table.record_failure(sick, "a", f"batch {number}")
    assert not cluster.excluded, "no other node has shown that the model runs"
    table.record_success(sick, "a", 1.0)
    table.record_success(well, "a", 1.0)
    for number in (0, 1, 2, 3, 3):
        table.record_failure(sick, "a", f"batch {number}")
    assert not cluster.excluded, "four different batches"
    table.record_failure(sick, "a", "batch 4")
    assert cluster.excluded == {sick.host}
    assert [slot.worker for slot in free(table, a=1)] == ["cpu-2"]


def test_elsewhere_means_another_host_of_an_able_pool_that_is_not_excluded() -> None:
    cluster = FakeCluster("cpu-1", "cpu-2", "gpu-1", pools={"cpu": {}, "gpu": {"device": "cuda"}})
    table = table_of(cluster)
    slot = free(table, a=1)[0]
    hosts = {name: table[name].host for name in ("cpu-1", "cpu-2", "gpu-1")}
    assert slot.elsewhere("a", frozenset({hosts["cpu-1"]}))
    assert not slot.elsewhere("a", frozenset({hosts["cpu-1"], hosts["cpu-2"]}))
    cluster.excluded = frozenset({hosts["cpu-2"]})
    assert not slot.elsewhere("a", frozenset({hosts["cpu-1"]}))


def test_hosts_are_named_by_their_nodes_as_soon_as_these_are_known() -> None:
    cluster = FakeCluster("cpu-1")
    table = table_of(cluster)
    assert table["cpu-1"].host == "host-cpu-1"
    cluster.pools["cpu"].jobs["cpu-1"].state = JobState("RUNNING", node="n7")
    table.report_demand({})
    assert table["cpu-1"].host == "n7"
