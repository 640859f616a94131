"""Cost of the driver in a campaign of 1e6 cells on 1,000 simulated workers.

    python benchmarks/scale.py run STORE [CELLS:WORKERS ...]   simulate (default 1e4:16 1e5:200 1e6:1000), then report
    python benchmarks/scale.py profile STORE CELLS:WORKERS     the same under cProfile
    python benchmarks/scale.py report                          all simulations as a markdown table

STORE is the store of a campaign of one model on the paper's grid of 44 cells, whose results and times are used.

Real: the plan (checkpoints of the family that overhead.py installs, 44 cells each), the loop of `run_batches` with its
queue and its result cache, `DaskBackend`, and the updates of the pool manager. Simulated: the Dask client, the workers
and the jobs, with a virtual clock and a heap of events. A batch starts when its worker is free and ends after its
runtime. Workers return the results in STORE, Hessians included, pickled under the requested keys, so the driver
unpickles, keeps and pickles the same data as in a real campaign. The driver's CPU time advances the clock too, so a
driver that is too slow makes the makespan longer. The CPU time of the simulation itself does not.

Left out: Dask's scheduler and event loop, the journal, and writing cells into the store. overhead.py measures them with
real workers; the report adds its last line.

Runtime of a batch: the mean seconds of its tasks by kind and number of atoms, as measured in STORE, times one lognormal
factor per batch, seeded by its name, whose width is the scatter of the measured seconds about a power of the number of
atoms. A worker that changes its model loads it first; the time of that is measured on this machine.

Every simulation is a process of its own. Lines go into benchmarks/scale.jsonl.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import heapq
import itertools
import json
import os
import pickle
import pstats
import queue
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import overhead

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.kind import HBondKind
from hbcoop_dist.campaigns.hbond.task_graph import ChainTask
from hbcoop_dist.campaigns.hbond.worker import ChainWork
from hbcoop_dist.campaigns.kind import load_from_history, specs_in_history
from hbcoop_dist.campaigns.runner import stored_results
from hbcoop_dist.campaigns.spec_fields import CampaignSpec
from hbcoop_dist.clusters.batch_system import TICK_SECONDS, BatchSystem, JobState
from hbcoop_dist.clusters.pool_cluster import PoolCluster
from hbcoop_dist.clusters.pool_jobs import JobRecord, PoolJobs
from hbcoop_dist.clusters.profiles import ClusterProfile, JobRange, Pool
from hbcoop_dist.core.tasks import Batch
from hbcoop_dist.execution.dask_backend import DaskBackend
from hbcoop_dist.execution.scheduler import Outcome, Work, WorkerSlot, run_batches
from hbcoop_dist.models import registry
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.store import open_store

LINES = Path(__file__).with_suffix(".jsonl")
SIZES = ((10_000, 16), (100_000, 200), (1_000_000, 1000))
PARTS = ("start", "free slots", "submit", "wait", "loop", "pool manager")
NODE = 64
"""Workers on a node."""
REPORTED_BATCHES = 10_000
"""Number of batches after which a long simulation prints its progress."""


class Meter:
    """CPU seconds of this process by part; the driver's are all except those of the simulation."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._stack = ["start"]
        # reading the clock takes 0.1 ms on some virtual machines, which must not count
        start = time.process_time()
        self._clock_cost = (max(time.process_time() for _ in range(500)) - start) / 500
        self._since = time.process_time()
        self._driver = 0.0

    def _note(self) -> None:
        now = time.process_time()
        spent = max(0.0, now - self._since - self._clock_cost)
        self.spent[self._stack[-1]] += spent
        if self._stack[-1] != "simulation":
            self._driver += spent
        self._since = now

    @contextlib.contextmanager
    def of(self, part: str) -> Iterator[None]:
        self._note()
        self._stack.append(part)
        try:
            yield
        finally:
            self._note()
            self._stack.pop()

    def begin(self) -> None:
        """End the part "start": from now on the time is that of the loop."""
        self._note()
        self._stack[0] = "loop"

    @property
    def driver(self) -> float:
        if self._stack[-1] != "simulation":
            self._note()
        return self._driver


class Clock:
    """Virtual time, s, as the sum of waiting and of the driver's CPU time, and the events that are due at a time."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._waited = meter, 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def now(self) -> float:
        return self._waited + self._meter.driver

    def at(self, when: float, event: Callable[[], None]) -> None:
        """Add an event."""
        heapq.heappush(self._events, (when, next(self._number), event))

    def catch_up(self) -> None:
        """Run the events that are due."""
        while self._events and self._events[0][0] <= self.now():
            heapq.heappop(self._events)[2]()

    def wait(self, until: float) -> None:
        """Advance to the next event, or to `until` if that is sooner."""
        until = min(until, self._events[0][0]) if self._events else until
        self._waited += max(0.0, until - self.now())
        self.catch_up()


class Tickets(queue.SimpleQueue[int]):
    """Tickets of batches that ended; waiting for one advances the clock."""

    def __init__(self, clock: Clock, meter: Meter) -> None:
        self._clock, self._meter = clock, meter

    def get(self, block: bool = True, timeout: float | None = None) -> int:
        with self._meter.of("simulation"):
            self._clock.catch_up()
            end = self._clock.now() + (timeout or 0.0)
            while self.empty() and self._clock.now() < end:
                self._clock.wait(end)
        return super().get(block=False)

    def get_nowait(self) -> int:
        return self.get(block=False)


class Recorded:
    """Recorded results of one model by kind of task and chain, and runtimes of batches drawn from their seconds."""

    def __init__(self, store: Path, load: float) -> None:
        self.load = load
        plan = hb.plan(spec_of(store))
        results = {result.key: result for result in stored_results(store, HBondKind.payloads)}
        self.results = {(task.kind, task.chain): results[key] for key, task in plan.tasks.items()}
        points: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for key, task in plan.tasks.items():
            points[task.kind].append((task.n_atoms, results[key].seconds))
        scatter: list[float] = []
        for pairs in points.values():
            x, y = np.log(np.array(pairs)).T
            if len(set(x)) > 1:
                scatter += list(y - np.polyval(np.polyfit(x, y, 1), x))
        self.scatter = float(np.std(scatter))
        means: dict[tuple[str, int], list[float]] = defaultdict(list)
        for kind, pairs in points.items():
            for atoms, seconds in pairs:
                means[kind, atoms].append(seconds)
        self._means = {group: float(np.mean(values)) for group, values in means.items()}

    def seconds(self, batch: Batch[ChainTask]) -> list[float]:
        """Return the seconds of every task of a batch, the same in every call."""
        generator = random.Random(zlib.crc32(batch.name.encode()))
        factor = generator.lognormvariate(-(self.scatter**2) / 2, self.scatter)
        return [factor * self._means[task.kind, task.n_atoms] for task in batch.tasks]

    def answer(self, batch: Batch[ChainTask], seconds: Sequence[float]) -> bytes:
        """Return the pickled results of a batch, as a worker sends them."""
        results = [
            replace(self.results[task.kind, task.chain], key=task.key, seconds=duration)
            for task, duration in zip(batch.tasks, seconds, strict=True)
        ]
        return pickle.dumps(results, protocol=pickle.HIGHEST_PROTOCOL)


class SimulatedFuture:
    """A batch on a simulated worker."""

    def __init__(self, key: str, data: bytes) -> None:
        self.key, self.data, self.status = key, data, "pending"
        self._callbacks: list[Callable[[SimulatedFuture], None]] = []

    def add_done_callback(self, call: Callable[[SimulatedFuture], None]) -> None:
        self._callbacks.append(call)

    def finish(self, answer: bytes) -> None:
        self.data, self.status = answer, "finished"
        for call in self._callbacks:
            call(self)

    def release(self) -> None:
        self.data = b""


class SimulatedClient:
    """The part of a Dask client that `DaskBackend` uses; each worker runs one batch at a time."""

    def __init__(self, clock: Clock, meter: Meter, recorded: Recorded, batches: Iterable[Batch[ChainTask]]) -> None:
        self._clock, self._meter, self._recorded = clock, meter, recorded
        self._batches = {batch.name.replace(" ", "-"): batch for batch in batches}
        self._free: defaultdict[str, float] = defaultdict(float)
        self._loaded: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self.loads, self.batches, self.work, self.loading, self.last = 0, 0, 0.0, 0.0, 0.0

    def submit(self, function: object, run: object, data: bytes, *, key: str, workers: list[str], **_: Any) -> Any:
        with self._meter.of("simulation"):
            future, (worker,) = SimulatedFuture(key, data), workers
            batch = self._batches[key.rpartition("-")[0]]
            seconds = self._recorded.seconds(batch)
            load = 0.0 if self._loaded.get(worker) == batch.model else self._recorded.load
            self._loaded[worker] = batch.model
            self.loads, self.batches = self.loads + bool(load), self.batches + 1
            self.work, self.loading = self.work + sum(seconds), self.loading + load
            end = max(self._free[worker], self._clock.now()) + load + sum(seconds)
            self._free[worker], self.last = end, max(self.last, end)
            self._clock.at(end, lambda: future.finish(self._recorded.answer(batch, seconds)))
            return future

    async def gather(self, futures: Sequence[SimulatedFuture], asynchronous: bool) -> list[bytes]:
        return [future.data for future in futures]

    def sync(self, call: Callable[[], Awaitable[list[bytes]]]) -> list[bytes]:
        return self._loop.run_until_complete(call())

    def cancel(self, futures: Collection[SimulatedFuture], force: bool) -> None:
        del futures, force

    def close(self) -> None:
        self._loop.close()


class SimulatedJob:
    """A job that never ends."""

    started = True

    def __init__(self, job_id: str, node: str) -> None:
        self.job_id, self.node = job_id, node


class SimulatedSystem(BatchSystem):
    """A batch system whose jobs are all running."""

    def job_spec(self, name: str, pool: Pool, running: Collection[str], excluded: Iterable[str]) -> dict[str, Any]:
        raise AssertionError("the pool changed")

    def preview(self, pool_name: str) -> str:
        return pool_name

    def state_of(self, job: Any, submitted: float) -> JobState:
        return JobState("RUNNING", node=job.node)


class SimulatedCluster(PoolCluster):
    """A pool whose workers are all connected: no scheduler and no jobs, but the real bookkeeping and manager."""

    def __init__(self, clock: Clock, meter: Meter, workers: int, per_job: int) -> None:
        jobs = -(-workers // per_job)
        pool = Pool(jobs=JobRange(least=jobs, most=jobs))
        profile = ClusterProfile(profile="simulated", kind="local", pools={"cpu": pool})
        self.system = SimulatedSystem(profile, Path(), "")
        self.pools = {"cpu": PoolJobs("cpu", pool.model_copy(update={"workers_per_job": per_job}))}
        self.problem, self.excluded = None, frozenset()
        self.worker_spec: dict[str, Any] = {}
        self.workers: dict[str, Any] = {}
        self._busy, self._expiring = frozenset(), frozenset()
        self._clock, self._meter = clock, meter
        self.scheduler_info: dict[str, Any] = {"workers": {}}
        for number in range(workers):
            job, rank = divmod(number, per_job)
            host = f"node-{number // NODE}"
            if not rank:
                name = self.pools["cpu"].next_name()
                self.workers[name] = SimulatedJob(str(job), host)
                self.pools["cpu"].jobs[name] = JobRecord("cpu", str(job))
            worker = name if per_job == 1 else f"{name}-{rank}"
            self.scheduler_info["workers"][f"tcp://{host}:{number}"] = {"name": worker, "host": host}
        self.ticks = 0
        self.tick()

    def tick(self) -> None:
        """Update the pools as the manager does every second."""
        with self._meter.of("pool manager"), contextlib.suppress(StopIteration):
            # it never waits as long as no job starts or ends
            self._tick().send(None)
            raise AssertionError("the pool changed")
        self.ticks += 1
        self._clock.at(self._clock.now() + TICK_SECONDS, self.tick)


class Metered:
    """A backend whose methods are measured by their CPU time."""

    def __init__(self, backend: DaskBackend, meter: Meter) -> None:
        self._backend, self._meter = backend, meter
        self.turns = 0

    @property
    def running(self) -> int:
        return self._backend.running

    def free_slots(self, ready: Mapping[str, int]) -> Iterator[WorkerSlot]:
        if not self.turns:
            self._meter.begin()
        self.turns += 1
        slots = iter(self._backend.free_slots(ready))
        while True:
            with self._meter.of("free slots"):
                slot = next(slots, None)
            if slot is None:
                return
            yield slot

    def submit(self, ticket: int, work: Work, slot: WorkerSlot) -> None:
        with self._meter.of("submit"):
            self._backend.submit(ticket, work, slot)

    def wait(self, seconds: float) -> tuple[int, Outcome] | None:
        with self._meter.of("wait"):
            return self._backend.wait(seconds)

    def close(self) -> None:
        self._backend.close()


def simulate(recorded: Recorded, cells: int, workers: int, per_job: int, first: int) -> dict[str, Any]:
    """Simulate one campaign, up to its last result or to the first `first` batches (0: all)."""
    start = time.process_time()
    plan = hb.plan(overhead.spec(-(-cells // overhead.CELLS_PER_MODEL)))
    planned = time.process_time() - start
    plan_memory = overhead.memory()
    meter = Meter()
    clock = Clock(meter)
    cluster = SimulatedCluster(clock, meter, workers, per_job)
    client = SimulatedClient(clock, meter, recorded, plan.batches)
    real = DaskBackend(client, cluster, plan.sources, clock=clock.now, ended=Tickets(clock, meter))
    backend = Metered(real, meter)
    left, reported = len(plan.tasks), 0
    for results in run_batches(plan.batches, ChainWork.factory(plan.sources, plan.spec.minimize), {}, backend):
        left -= len(results)
        if client.batches >= reported + REPORTED_BATCHES:
            reported = client.batches
            print(
                f"{reported} of {len(plan.batches)} batches, {1e3 * meter.driver / reported:.2f} ms of driver each",
                file=sys.stderr,
            )
        if first and client.batches >= first:
            break
    assert first or not left, f"{left} tasks without a result"
    driver = meter.driver
    client.close()
    return {
        "cells": len(plan.cells),
        "workers": workers,
        "per_job": per_job,
        "first": first,
        "batches": client.batches,
        "all_batches": len(plan.batches),
        "turns": backend.turns,
        "ticks": cluster.ticks,
        "makespan": clock.now(),
        "ideal": client.work / workers,
        "path": critical_path(plan.batches, recorded),
        "loading": client.loading / workers,
        "plan": planned,
        "driver": driver,
        "parts": dict(meter.spent),
        "loads": client.loads,
        "load": recorded.load,
        "scatter": recorded.scatter,
        "models": len(plan.sources),
        "plan_memory": plan_memory,
        "memory": overhead.memory(),
    }


def critical_path(batches: Iterable[Batch[ChainTask]], recorded: Recorded) -> float:
    """Return the seconds of the longest sequence of dependent batches, with one load of its model."""
    longest = 0.0
    for _, own in itertools.groupby(batches, lambda batch: batch.model):
        ends: dict[str, float] = {}
        for batch in own:
            end = max((ends[key] for key in batch.inputs), default=recorded.load) + sum(recorded.seconds(batch))
            ends.update((task.key, end) for task in batch.tasks)
            longest = max(longest, end)
    return longest


def spec_of(store: Path) -> CampaignSpec:
    """Return the campaign that was last run into a store."""
    return load_from_history(specs_in_history(open_store(store).attrs["history"])[-1])


def load_seconds(store: Path) -> float:
    """Return the seconds of loading a store's model again; the first load, which imports packages, does not count."""
    (source,) = hb.plan(spec_of(store)).sources.values()
    assert isinstance(source, ModelSource)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        registry.load(source.card, source.path, "cpu")
        seconds.append(time.perf_counter() - start)
    return float(np.mean(seconds[1:]))


def measured() -> list[dict[str, Any]]:
    """Return every simulation so far."""
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def child(what: str, scratch: Path, *arguments: object) -> str:
    """Run this file in a process that can import the temporary distribution, and return its output."""
    root = str(Path(hb.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(scratch), root))}
    command = [sys.executable, __file__, f"child-{what}", str(scratch / "recorded.pickle"), *map(str, arguments)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def run(what: str, store: Path, sizes: Iterable[tuple[int, int]], *options: int) -> None:
    """Simulate campaigns one after the other and save each at once, or profile them."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        scratch = Path(folder)
        # in a process of its own: the model's packages would count in the peak memory of every simulation
        child("record", scratch, store)
        for cells, workers in sizes:
            overhead.install_models(scratch, -(-cells // overhead.CELLS_PER_MODEL))
            output = child(what, scratch, cells, workers, *options)
            if what == "profile":
                print(output)
                continue
            line = {"sources": overhead.sources(), **json.loads(output.splitlines()[-1])}
            with LINES.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)


def run_child(what: str, recording: Path, *arguments: str) -> None:
    """Do the part of a child process."""
    if what == "child-record":
        store = Path(arguments[0])
        recording.write_bytes(pickle.dumps(Recorded(store, load_seconds(store))))
        return
    recorded = pickle.loads(recording.read_bytes())
    if what == "child-run":
        print(json.dumps(simulate(recorded, *map(int, arguments))))
        return
    with cProfile.Profile() as profile:
        simulate(recorded, *map(int, arguments))
    pstats.Stats(profile).sort_stats("tottime").print_stats(45)


def report() -> None:
    """Print the last simulation of every size as markdown."""
    last = {(line["cells"], line["workers"], line["per_job"], line["first"]): line for line in measured()}
    real = [line for line in overhead.measured() if line["what"] == "replay"]
    print(
        "| cells | workers (per job) | batches | makespan / ideal | longest chain / ideal | driver CPU, ms a batch: "
        f"plan | {' | '.join(PARTS[:-1])} | pool manager, ms a tick | driver CPU s per s | full at, workers "
        "| with Dask, journal, store | peak after plan, MiB | peak, MiB | model loads / worker | models / worker |"
    )
    print("|" + "---|" * 19)
    for key in sorted(last):
        x = last[key]
        per_batch = [
            1000 * spent / x["batches"] for spent in (x["plan"], *(x["parts"].get(name, 0.0) for name in PARTS[:-1]))
        ]
        # a simulation that was stopped has no makespan
        spread = x["makespan"] if x["first"] else x["ideal"]
        share, ends, path = x["driver"] / spread, "", ""
        if not x["first"]:
            ends, path = f"{x['makespan'] / x['ideal']:.3f}", f"{x['path'] / x['ideal']:.3f}"
        # the driver's CPU time in the largest replay with real workers, without the plan
        rate = x["cells"] * x["batches"] / x["all_batches"] / spread
        with_store = " ".join(f"{rate * line['driver_cpu'] / line['cells']:.2f}" for line in real[-1:])
        print(
            f"| {x['cells']} | {x['workers']} ({x['per_job']}) | {x['batches']} | {ends} "
            f"| {path} | {' | '.join(f'{ms:.3f}' for ms in per_batch)} "
            f"| {1000 * x['parts']['pool manager'] / x['ticks']:.1f} | {share:.3f} | {x['workers'] / share:.0f} "
            f"| {with_store} "
            f"| {x['plan_memory'] / 2**20:.0f} | {x['memory'] / 2**20:.0f} "
            f"| {x['loads'] / x['workers']:.1f} | {x['models'] / x['workers']:.1f} |"
        )


def size(text: str) -> tuple[int, int]:
    """Parse cells and workers, e.g. ``1e6:1000``."""
    cells, _, workers = text.partition(":")
    return int(float(cells)), int(float(workers))


def main(arguments: list[str]) -> None:
    """Run the simulations that the command line names."""
    if arguments and arguments[0].startswith("child-"):
        run_child(arguments[0], Path(arguments[1]), *arguments[2:])
        return
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=("run", "profile", "report"))
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("sizes", nargs="*", type=size)
    parser.add_argument("--per-job", type=int, default=8, help="workers of a job")
    parser.add_argument("--first", type=int, default=0, help="stop after this many batches")
    chosen = parser.parse_intermixed_args(arguments)
    if chosen.what != "report":
        run(chosen.what, chosen.store, chosen.sizes or SIZES, chosen.per_job, chosen.first)
    if chosen.what != "profile":
        report()


if __name__ == "__main__":
    main(sys.argv[1:])
