"""The queue selects batches by the worker's model, the plan's order, and the hosts to avoid."""

from __future__ import annotations

from collections.abc import Callable

from fake_tasks import FakeTask, batch_of, queue_of

from hbcoop_dist.core.tasks import Batch
from hbcoop_dist.execution.scheduler import BatchQueue, WorkerSlot


def popped(queue: BatchQueue, slot: WorkerSlot) -> str | None:
    queued = queue.pop(slot)
    return None if queued is None else queued.batch.tasks[0].key


def on_host(host: str, hosts: set[str]) -> WorkerSlot:
    return WorkerSlot("w", host=host, elsewhere=lambda model, avoided: bool(hosts - avoided))


def test_batches_of_one_model_come_in_the_order_of_the_plan() -> None:
    queue = BatchQueue(())
    for order in ((2,), (0, 1), (1,), (0, 0)):
        queue.add(order, batch_of(FakeTask(str(order))))
    assert [popped(queue, WorkerSlot("w")) for _ in range(5)] == ["(0, 0)", "(0, 1)", "(1,)", "(2,)", None]


def test_a_worker_keeps_its_model_and_a_new_one_takes_a_model_that_no_worker_has() -> None:
    queue = queue_of(batch_of(FakeTask("a1")), batch_of(FakeTask("a2")), batch_of(FakeTask("b1"), model="b"))
    loaded = {"a": 1, "b": 0}
    assert popped(queue, WorkerSlot("new", loaded_workers=loaded.__getitem__)) == "b1"
    assert popped(queue, WorkerSlot("busy", loaded="b", only_loaded=True)) is None
    assert popped(queue, WorkerSlot("busy", loaded="a", only_loaded=True)) == "a1"
    assert popped(queue, WorkerSlot("idle", loaded="b", loaded_workers=loaded.__getitem__)) == "a2"
    assert len(queue) == 0


def test_of_models_that_workers_have_the_one_with_most_batches_per_worker_is_helped() -> None:
    tasks = [batch_of(FakeTask(f"a{n}")) for n in range(3)]
    tasks += [batch_of(FakeTask(f"b{n}"), model="b") for n in range(2)]
    # 3 batches for 3 workers, 2 batches for 1 worker
    assert popped(queue_of(*tasks), WorkerSlot("w", loaded_workers={"a": 3, "b": 1}.__getitem__)) == "b0"
    assert popped(queue_of(*tasks), WorkerSlot("w", loaded_workers={"a": 1, "b": 1}.__getitem__)) == "a0"


def test_a_worker_gets_no_model_that_it_does_not_accept() -> None:
    queue = queue_of(batch_of(FakeTask("a1")), batch_of(FakeTask("b1"), model="b"))
    accepts: Callable[[str], bool] = "b".__eq__
    assert popped(queue, WorkerSlot("w", loaded="a", accepts=accepts)) == "b1"
    assert popped(queue, WorkerSlot("w", loaded="a", accepts=accepts)) is None


def test_ready_counts_and_length_follow_every_change() -> None:
    first, second = FakeTask("first"), FakeTask("second", ("first",))
    queue = queue_of(batch_of(first), batch_of(second), batch_of(FakeTask("b1"), model="b"))
    ready = queue.ready
    assert (dict(ready), len(queue)) == ({"a": 1, "b": 1}, 3)
    assert popped(queue, WorkerSlot("w", loaded="a")) == "first"
    assert (dict(ready), len(queue)) == ({"b": 1}, 2)
    queue.settle(["first"])
    assert (dict(ready), len(queue)) == ({"a": 1, "b": 1}, 2)


def test_a_batch_is_ready_with_its_last_input_only() -> None:
    queue = queue_of(batch_of(FakeTask("x", ("i", "j"))))
    queue.settle(["i"])
    assert not queue.ready
    queue.settle(["j"])
    assert popped(queue, WorkerSlot("w")) == "x"


def test_inputs_that_are_known_or_settled_before_count_as_present() -> None:
    queue = BatchQueue({"known"})
    queue.settle(["settled"])
    assert queue.add((0,), batch_of(FakeTask("x", ("known", "settled")))).missing == 0


def test_blocked_batches_leave_the_queue_once_and_in_order() -> None:
    queue = queue_of(batch_of(FakeTask("x", ("no", "none"))), batch_of(FakeTask("y")), batch_of(FakeTask("z", ("no",))))
    assert [queued.batch.tasks[0].key for queued in queue.pop_blocked()] == ["x", "z"]
    assert (queue.pop_blocked(), len(queue)) == ([], 1)


def test_a_batch_that_failed_on_every_host_is_still_run_somewhere() -> None:
    hosts = {"a", "b", "c"}
    queue = BatchQueue(())
    queue.add((0,), batch_of(FakeTask("x")), avoid=frozenset({"a", "b"}))
    assert popped(queue, on_host("a", hosts)) is None
    hosts.discard("c")
    assert popped(queue, on_host("a", hosts)) == "x"


def test_a_batch_that_avoids_a_host_does_not_hold_up_those_behind_it() -> None:
    queue = BatchQueue(())
    queue.add((0,), batch_of(FakeTask("x")), avoid=frozenset({"a"}))
    queue.add((1,), batch_of(FakeTask("y")))
    assert popped(queue, on_host("a", {"a", "b"})) == "y"
    assert popped(queue, on_host("b", {"a", "b"})) == "x"


def test_inputs_of_a_batch_are_those_from_outside_it_each_once() -> None:
    batch = Batch("b", "a", (FakeTask("x", ("i",)), FakeTask("y", ("x", "i", "j"))))
    assert batch.inputs == ("i", "j")
