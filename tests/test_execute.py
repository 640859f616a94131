"""The loop that drives a backend: failures are split, retried where that helps, and end as rows."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hbcoop_dist import plan
from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.records import cell_record
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.campaigns.hbond.worker import Work, working
from hbcoop_dist.core.failures import Failure, LostWorkerError
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Batch, Task
from hbcoop_dist.execution.batch_queue import BatchQueue, WorkerSlot
from hbcoop_dist.execution.worker_table import RuntimeEstimate
from hbcoop_dist.execution.scheduler import Outcome, SerialBackend, iter_results, run_batches


def draw(**fields: Any) -> Plan:
    return plan(CampaignSpec.model_validate({"campaign": "test", "models": ["toy"], "lengths": [2, 3, 4], **fields}))


class Failing(SerialBackend):
    """A backend on which some works fail: `spoil` says which, by an exception to give instead of doing them."""

    def __init__(self, spoil: Callable[[Work, int], BaseException | None]) -> None:
        super().__init__()
        self.spoil = spoil
        self.seen: list[list[str]] = []

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        number, work = self._submitted[0]
        self.seen.append([task.key for task in work.batch.tasks])
        if error := self.spoil(work, len(self.seen)):
            self._submitted.popleft()
            return number, error
        return super().wait(seconds)


def done(drawn: Plan, backend: SerialBackend, known: dict[str, TaskResult] | None = None) -> dict[str, TaskResult]:
    found = iter_results(drawn.batches, working(drawn.sources, drawn.spec.minimize), known or {}, backend)
    return {result.key: result for result in found}


def trimer_of(drawn: Plan) -> str:
    return next(t.key for t in drawn.tasks.values() if t.kind == "minimise" and t.system.length == 3)


def test_every_task_has_one_result() -> None:
    drawn = draw()
    results = done(drawn, SerialBackend())
    assert set(results) == set(drawn.tasks)
    assert {result.status for result in results.values()} == {"done"}


def test_what_is_known_is_left_out() -> None:
    drawn = draw()
    first = done(drawn, SerialBackend())
    lost = [key for key in first if key != trimer_of(drawn)]
    again = done(drawn, SerialBackend(), {key: first[key] for key in lost})
    assert set(again) == {trimer_of(drawn)}


def test_one_bad_task_costs_only_itself_and_what_needs_it() -> None:
    drawn = draw()
    trimer = trimer_of(drawn)

    def spoil(work: Work, _: int) -> BaseException | None:
        return ValueError("no such orbital") if trimer in [t.key for t in work.batch.tasks] else None

    results = done(drawn, Failing(spoil))
    failed = {key for key, result in results.items() if result.status == "failed"}
    trimer_energies = {t.key for t in drawn.tasks.values() if t.leader == trimer}
    assert failed == {trimer, *trimer_energies}
    assert results[trimer].reason == "code: ValueError: no such orbital"
    records = {c.length: cell_record(drawn, c, results.__getitem__) for c in drawn.cell_tasks}
    assert [records[n].status for n in (2, 3, 4)] == ["done", "failed", "done"]
    assert records[3].reason == "code: ValueError: no such orbital"
    assert "cooperative_energy" not in records[3].values


def test_a_failed_dimer_is_named_in_the_cells_that_need_it() -> None:
    drawn = draw(patterns=["linear"], lengths=[3])
    anti = next(t.key for t in drawn.tasks.values() if t.kind == "minimise" and t.system.conformers == ("anti",))

    def spoil(work: Work, _: int) -> BaseException | None:
        return ValueError("boom") if anti in [t.key for t in work.batch.tasks] else None

    results = done(drawn, Failing(spoil))
    record = cell_record(drawn, drawn.cells[0], results.__getitem__)
    assert record.status == "failed"
    assert "boom" in record.reason


def test_a_lost_worker_is_tried_again_and_then_quarantined() -> None:
    drawn = draw(lengths=[2])
    once = Failing(lambda work, count: LostWorkerError("gone") if count == 1 else None)
    assert {result.status for result in done(drawn, once).values()} == {"done"}
    dimer = next(t.key for t in drawn.tasks.values() if t.kind == "minimise")
    always = Failing(lambda work, _: LostWorkerError("gone") if dimer in [t.key for t in work.batch.tasks] else None)
    results = done(drawn, always)
    assert results[dimer].status == "quarantined"
    assert results[dimer].reason == "lost worker: gone"
    # alone with the energies that need it, after the batch was split
    assert sum(dimer in keys for keys in always.seen[-3:]) == 3


def test_a_worker_that_was_taken_away_costs_its_batch_no_try() -> None:
    drawn = draw(lengths=[2])
    often = Failing(lambda work, count: LostWorkerError("scancel", blamed=False) if count <= 10 else None)
    results = done(drawn, often)
    assert {result.status for result in results.values()} == {"done"}
    assert {len(keys) for keys in often.seen[:10]} == {len(often.seen[0])}, "split, as if it were at fault"


def test_a_batch_that_no_walltime_has_room_for_is_split_and_its_guilty_task_quarantined() -> None:
    drawn = draw(lengths=[2, 3], patterns=["arc", "linear"])
    trimer = trimer_of(drawn)
    *first, one, other = drawn.batches
    whole = Batch("trimers", "toy", one.tasks + other.tasks)
    ends = LostWorkerError("the walltime ended of worker main-1", blamed=False, expired=True)
    endless = Failing(lambda work, _: ends if trimer in [t.key for t in work.batch.tasks] else None)
    found = iter_results([*first, whole], working(drawn.sources, drawn.spec.minimize), {}, endless)
    results = {result.key: result for result in found}
    assert results[trimer].reason == "lost worker: the walltime ended of worker main-1, 10 times"
    quarantined = {key for key, result in results.items() if result.status == "quarantined"}
    assert quarantined == {task.key for task in whole.tasks if trimer in (task.key, task.geometry)}
    assert {results[key].status for key in set(results) - quarantined} == {"done"}
    assert [len(keys) for keys in endless.seen if trimer in keys] == [4] * 3 + [2] * 10


def test_a_walltime_that_ends_now_and_then_costs_its_batch_nothing() -> None:
    drawn = draw(lengths=[2])
    ends = LostWorkerError("the walltime ended of worker main-1", blamed=False, expired=True)
    twice = Failing(lambda work, count: ends if count <= 2 else None)
    assert {result.status for result in done(drawn, twice).values()} == {"done"}


def test_what_failed_on_one_host_is_tried_on_another_before_it_is_a_row() -> None:
    drawn = draw(lengths=[2])
    monomer = drawn.batches[0].tasks[0].key
    hosts: list[str] = []

    def elsewhere(model: str, hosts: frozenset[str]) -> bool:
        return bool({"sick", "well"} - hosts)

    class TwoHosts(SerialBackend):
        def free_slots(self, ready: Mapping[str, int]) -> Iterable[WorkerSlot]:
            free = ("sick", "well") if not self._submitted else ()
            return [
                WorkerSlot(host, host=host, elsewhere=lambda model, hosts: bool({"sick", "well"} - hosts)) for host in free
            ]

        def submit(self, number: int, work: Work, offer: WorkerSlot) -> None:
            if monomer in [task.key for task in work.batch.tasks]:
                hosts.append(offer.host)
            self.host = offer.host
            super().submit(number, work, offer)

        def wait(self, seconds: float) -> tuple[int, Outcome] | None:
            if hosts[-1:] == ["sick"] and monomer in [task.key for task in self._submitted[0][1].batch.tasks]:
                return self._submitted.popleft()[0], RuntimeError("CUDA error: device unavailable")
            return super().wait(seconds)

    assert {result.status for result in done(drawn, TwoHosts()).values()} == {"done"}
    assert hosts[0] == "sick"
    assert hosts[-1] == "well"


def test_a_batch_that_failed_on_every_host_is_still_done_somewhere() -> None:
    queue = BatchQueue(())
    batch = next(batch for batch in draw(lengths=[2]).batches if not batch.inputs)
    queue.add((0,), batch, avoid=frozenset({"a", "b"}))
    hosts = {"a", "b", "c"}
    assert queue.pop(WorkerSlot("1", host="a", elsewhere=lambda model, avoided: bool(hosts - avoided))) is None
    hosts.discard("c")
    assert queue.pop(WorkerSlot("1", host="a", elsewhere=lambda model, avoided: bool(hosts - avoided))) is not None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("8 GB"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (FileNotFoundError("x.model"), "missing checkpoint"),
        (ModuleNotFoundError("No module named 'sevenn'"), "missing package"),
        (LostWorkerError("worker main-1 died"), "lost worker"),
        (ZeroDivisionError("division by zero"), "code"),
    ],
)
def test_failures_are_classified(error: Exception, kind: str) -> None:
    failure = Failure.of(error)
    assert failure.kind == kind
    assert str(error) in failure.reason


def test_a_worker_goes_on_with_its_model_and_a_new_one_takes_a_model_that_nobody_has() -> None:
    drawn = draw(models=["toy", "toy-additive"], lengths=[2])
    queue = BatchQueue(())
    for number, batch in enumerate(batch for batch in drawn.batches if not batch.inputs):
        queue.add((number,), batch)
    assert set(queue.ready) == {"toy", "toy-additive"}
    crowd = {"toy": 1, "toy-additive": 0}
    other = queue.pop(WorkerSlot("b", loaded_workers=crowd.__getitem__))
    assert other is not None
    assert other.batch.model == "toy-additive"
    assert queue.pop(WorkerSlot("c", loaded="toy-additive", only_loaded=True)) is None
    same = queue.pop(WorkerSlot("a", loaded="toy", only_loaded=True))
    assert same is not None
    assert same.batch.model == "toy"
    assert len(queue) == 0


def test_tasks_whose_inputs_nobody_computes_fail_instead_of_submitted() -> None:
    drawn = draw(lengths=[3])
    orphan = [batch for batch in drawn.batches if batch.inputs]
    found = iter_results(orphan, working(drawn.sources, drawn.spec.minimize), {}, SerialBackend())
    assert {r.status for r in found} == {"failed"}


@pytest.mark.parametrize("calls", [5])
def test_unconverged_cells_keep_their_numbers_and_say_so(calls: int) -> None:
    drawn = draw(lengths=[3], minimize={"max_calls": calls})
    results = done(drawn, SerialBackend())
    record = cell_record(drawn, drawn.cells[0], results.__getitem__)
    assert record.status == "unconverged"
    assert f"after {calls} force calls" in record.reason
    assert "cooperative_energy" in record.values


def test_a_model_that_is_over_leaves_nothing_in_memory() -> None:
    """At 1e5 cells the Hessians of a campaign are 7 GB; after the last batch that starts from one, nobody holds it."""
    drawn = draw(lengths="2..5", models=["toy", "toy-additive"])
    alive: weakref.WeakSet[Kept] = weakref.WeakSet()
    left = sum(task.model == "toy" for task in drawn.tasks.values())
    going = run_batches(drawn.batches, working(drawn.sources, drawn.spec.minimize), {}, Keeping(alive))
    turn: list[TaskResult] = []
    while left:
        turn = next(going)
        left -= sum(drawn.tasks[result.key].model == "toy" for result in turn)
    gc.collect()
    assert {id(data) for data in alive} == {id(result.data) for result in turn}


class Kept(dict[str, object]):
    """Data of a result that can be watched."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class Keeping(SerialBackend):
    """Does batches, and watches what becomes of the data of their results."""

    def __init__(self, alive: weakref.WeakSet[Kept]) -> None:
        super().__init__()
        self.alive = alive

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        arrived = super().wait(seconds)
        assert arrived is not None
        assert isinstance(arrived[1], list)
        watched = [replace(result, data=Kept(result.data)) for result in arrived[1]]
        for result in watched:
            self.alive.add(result.data)  # type: ignore[arg-type]
        return arrived[0], watched


def test_a_turn_costs_what_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs of a batch are looked at once, however many batches wait: ten times the models, ten times the work."""
    looks: list[int] = []
    real = Batch.inputs
    monkeypatch.setattr(Batch, "inputs", property(lambda batch: (looks.append(1), real.__get__(batch))[1]))
    drawn = draw(lengths="2..5")
    counts = []
    for models in (3, 30):
        looks.clear()
        many = [Batch(f"{n} {b.name}", b.model, renamed(b, n)) for n in range(models) for b in drawn.batches]
        backend = Instant()
        results = list(iter_results(many, working(drawn.sources, drawn.spec.minimize), {}, backend))
        assert len(results) == models * len(drawn.tasks)
        assert backend.submitted == len(many)
        counts.append(len(looks))
    assert counts == [3 * len(drawn.batches), 30 * len(drawn.batches)]


def renamed(batch: Batch, number: int) -> tuple[Task, ...]:
    """The tasks of a batch as those of another model."""

    def other(key: str) -> str:
        return f"{number}-{key}"

    return tuple(
        replace(
            task,
            key=other(task.key),
            monomers=tuple(map(other, task.monomers)),
            seeds=tuple((other(key), system) for key, system in task.seeds),
            geometry=other(task.geometry) if task.geometry else None,
        )
        for task in batch.tasks
    )


class Instant(SerialBackend):
    """Says at once that everything is done, six batches at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted = 0

    def free_slots(self, ready: Mapping[str, int]) -> Iterable[WorkerSlot]:
        return [WorkerSlot(f"worker {n}") for n in range(6 - len(self._submitted))]

    def submit(self, number: int, work: Work, offer: WorkerSlot) -> None:
        self.submitted += 1
        super().submit(number, work, offer)

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        if not self._submitted:
            return None
        number, work = self._submitted.popleft()
        return number, [TaskResult(task.key, "done") for task in work.batch.tasks]


def test_the_queue_says_at_any_time_what_is_ready_and_what_is_left() -> None:
    drawn = draw(models=["toy", "toy-additive"], lengths=[2])
    queue = BatchQueue(())
    ready = queue.ready
    for number, batch in enumerate(drawn.batches):
        queue.add((number,), batch)
    assert len(queue) == len(drawn.batches)
    assert ready == {"toy": 1, "toy-additive": 1}
    first = queue.pop(WorkerSlot("a", loaded="toy"))
    assert first is not None
    assert ready == {"toy-additive": 1}
    assert len(queue) == len(drawn.batches) - 1
    queue.settle(task.key for task in first.batch.tasks)
    assert ready["toy"] >= 1
    other = queue.pop(WorkerSlot("b", loaded="toy-additive"))
    blocked = queue.pop_blocked()
    assert other is not None
    assert len(queue) == sum(ready.values()) == len(drawn.batches) - 2 - len(blocked)


@pytest.mark.parametrize("count", [1, 2, 14, 200])
def test_the_pace_of_a_model_is_the_95th_percentile_of_its_batches(count: int) -> None:
    seconds = np.random.default_rng(count).lognormal(size=count)
    pace = RuntimeEstimate()
    for one in seconds:
        pace.add("toy", one)
    assert pace.upper("other") is None
    assert pace.upper("toy") == pytest.approx(np.quantile(seconds, 0.95), rel=1e-12)
