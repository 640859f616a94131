"""Overhead of the framework: many checkpoints of a model without any cost, on the paper's grid of 44 cells.

    python benchmarks/overhead.py                     all measurements at 1e3 and 1e4 cells, then the report
    python benchmarks/overhead.py plan [CELLS ...]    spec to plan only (default 1e3 1e4 1e5; --million adds 1e6)
    python benchmarks/overhead.py replay [CELLS ...]  plan, Dask (two workers), journal, store; then the same command
    python benchmarks/overhead.py kill [CELLS ...]    the same with SIGKILL half-way, and the time to continue
    python benchmarks/overhead.py report              all measurements as markdown tables

The models are cards of a temporary distribution with an entry point, as in any plug-in. Workers replay results instead
of computing them: results of the toy on the 44 cells, Hessians included, are recorded once per invocation and returned
under the keys of the tasks. Rates are therefore those of the framework alone.

Every measurement runs in a process of its own, so the peak memory is that of the driver, scheduler included. Lines go
into benchmarks/overhead.jsonl; a measurement of the same sources is repeated only with --again. Temporary files go to
TMPDIR: 1e5 cells need about 5 GB, and fsync limits the rate on a slow disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.hbond.worker import ChainWork
from hbcoop_dist.clusters import usable_cores
from hbcoop_dist.execution.progress import RunCounts
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.store import journal_path

LINES = Path(__file__).with_suffix(".jsonl")
GRID = {"patterns": ["arc", "linear"], "lengths": "2..12", "capping": ["none", "water"]}
CELLS_PER_MODEL, WORKERS = 44, 2
SIZES = {"plan": (1000, 10_000, 100_000), "replay": (1000, 10_000), "kill": (1000, 10_000)}

FAMILY = '''"""Checkpoints of a model without any cost, and the replay of recorded results in place of its work."""

import os
import pickle
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

from hbcoop_dist.plugin import Abilities, About, ModelCard, ModelError, ModelFamily, Requirements


class CostlessFamily(ModelFamily):
    cards = tuple(
        ModelCard(
            name=f"costless-{number:05d}",
            family="costless",
            about=About("none", "MIT", "none", elements=(1, 6, 7, 8)),
            abilities=Abilities(atom_energies=True),
            needs=Requirements(packages=("numpy",)),
            options={"method": f"checkpoint {number}"},
        )
        for number in range(NUMBER)
    )

    def load(self, card, checkpoint, device, dtype):
        raise ModelError(f"model {card.name}: expected a replay of recorded results, found a request to load it")


FAMILY = CostlessFamily()


@cache
def recorded():
    return pickle.loads(Path(__file__).with_name("recorded.pickle").read_bytes())


def replay(work):
    """Return the recorded results under the keys of a batch's tasks, after a sleep of COSTLESS_SECONDS."""
    time.sleep(float(os.environ.get("COSTLESS_SECONDS", "0")))
    return [replace(recorded()[task.kind, task.chain], key=task.key) for task in work.batch.tasks]
'''


def sources() -> str:
    """Return a hash of the package's sources, which identifies comparable measurements."""
    total = hashlib.sha256()
    for path in sorted(Path(hb.__file__).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:8]


def spec(models: int) -> HBondSpec:
    """Return the campaign of the paper's grid with this number of checkpoints."""
    names = [f"costless-{number:05d}" for number in range(models)]
    return HBondSpec.model_validate({"campaign": "overhead", "models": names, **GRID})


def record_toy(scratch: Path) -> None:
    """Run the toy on the grid and save its results by kind of task and chain instead of by key."""
    plan = hb.plan(HBondSpec.model_validate({"campaign": "record", "models": ["toy"], **GRID}))
    results = iter_results(plan.batches, ChainWork.factory(plan.sources, plan.spec.minimize), {}, SerialBackend())
    recorded = {(plan.tasks[result.key].kind, plan.tasks[result.key].chain): result for result in results}
    (scratch / "recorded.pickle").write_bytes(pickle.dumps(recorded))


def install_models(scratch: Path, models: int) -> None:
    """Write the family into `scratch` as an installed distribution."""
    info = scratch / "costless-0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: costless\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[hbcoop_dist.models]\ncostless = costless:FAMILY\n")
    (scratch / "costless.py").write_text(FAMILY.replace("NUMBER", str(models)))


class Stopwatch:
    """A display that shows nothing; it records when the cluster was ready and when the first batch was submitted."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.cluster: float | None = None
        self.first: float | None = None

    def message(self, text: str) -> None:
        self.cluster = self.cluster or time.perf_counter() - self.start

    def update(self, count: RunCounts, *, last: bool = False) -> None:
        if count.running and self.first is None:
            self.first = time.perf_counter() - self.start

    def close(self) -> None:
        pass


def measure_plan(models: int, _: Path) -> dict[str, Any]:
    """Time the spec and the plan of this number of models, and the description of the plan."""
    start = time.perf_counter()
    campaign = spec(models)
    checked = time.perf_counter()
    drawn = hb.plan(campaign)
    planned = time.perf_counter()
    peak = memory()
    str(drawn)
    counts = {"tasks": len(drawn.tasks), "batches": len(drawn.batches)}
    words = time.perf_counter() - planned
    return {"spec": checked - start, "plan": planned - checked, "words": words, "memory": peak, **counts}


def measure_replay(models: int, store: Path) -> dict[str, Any]:
    """Time everything from the spec to the closed store, for the cells that the store does not have."""
    import costless  # type: ignore[import-not-found]  # the scratch distribution, on PYTHONPATH

    from hbcoop_dist.execution import dask_backend

    dask_backend.do_work = costless.replay
    start = time.perf_counter()
    drawn = hb.plan(spec(models))
    planned = time.perf_counter()
    watch = Stopwatch()
    summary = hb.run(drawn, store, workers=WORKERS, display=watch)
    assert set(summary.statuses) <= {"done", "unconverged"}, summary
    ended = time.perf_counter()
    return {
        "plan": planned - start,
        "run": ended - planned,
        "until_first": watch.first,
        "cluster": watch.cluster,
        "driver_cpu": time.process_time(),
        "computed": summary.computed,
        "memory": memory(),
    }


def memory() -> int:
    """Return the peak memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def child(what: str, models: int, store: Path, scratch: Path) -> subprocess.Popen[str]:
    """Start a measurement in a process of its own; it and its workers can import the temporary distribution."""
    root = str(Path(hb.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(scratch), root))}
    command = [sys.executable, __file__, "measure", what, str(models), str(store)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the measurement that a child process printed last."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a measurement ended with exit code {process.returncode}")
    measurement: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measurement


def plan(models: int, scratch: Path) -> dict[str, Any]:
    """Measure the plan only."""
    return result_of(child("plan", models, scratch, scratch))


def replay(models: int, scratch: Path) -> dict[str, Any]:
    """Measure a complete run into a new store, and the same command again."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        store = Path(folder, "a.zarr")
        first = result_of(child("replay", models, store, scratch))
        again = result_of(child("replay", models, store, scratch))
        assert (first["computed"], again["computed"]) == (models * CELLS_PER_MODEL, 0)
        files = [path.stat().st_size for path in store.rglob("*") if path.is_file()]
        sizes = {"journal_bytes": journal_path(store).stat().st_size, "store_bytes": sum(files)}
    return {**first, **sizes, "store_files": len(files), "again": again["plan"] + again["run"]}


def kill(models: int, scratch: Path) -> dict[str, Any]:
    """Kill the driver when half of the results are in the journal; time the continued run up to its first batch."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        store, tasks = Path(folder, "a.zarr"), 87 * models
        victim = child("replay", models, store, scratch)
        lines, seen = 0, 0
        while lines < tasks // 2:
            time.sleep(0.2)
            if journal_path(store).exists():
                with journal_path(store).open("rb") as file:
                    file.seek(seen)
                    fresh = file.read()
                lines, seen = lines + fresh.count(b"\n"), seen + len(fresh)
            assert victim.poll() is None, "the campaign ended before it could be killed"
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
        second = result_of(child("replay", models, store, scratch))
    opened = second["until_first"] - (second["cluster"] or 0.0)
    return {**second, "killed_at": lines, "tasks": tasks, "after_cluster": opened}


MEASUREMENTS: dict[str, Callable[[int, Path], dict[str, Any]]] = {"plan": plan, "replay": replay, "kill": kill}


def measured() -> list[dict[str, Any]]:
    """Return every measurement so far."""
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def measure(what: str, sizes: list[int], again: bool) -> None:
    """Measure what is missing for these sources, and save each measurement at once."""
    version = sources()
    machine = f"{platform.machine()}, {usable_cores()} of {os.cpu_count()} cores"
    have = {(line["what"], line["models"]) for line in measured() if line["sources"] == version}
    wanted = [
        models for size in sizes if (models := -(-size // CELLS_PER_MODEL)) and (again or (what, models) not in have)
    ]
    if not wanted:
        return
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        scratch = Path(folder)
        if what != "plan":
            record_toy(scratch)
        for models in wanted:
            install_models(scratch, models)
            line = {"what": what, "models": models, "cells": models * CELLS_PER_MODEL, "sources": version}
            line |= {"machine": machine, **MEASUREMENTS[what](models, scratch), "load": os.getloadavg()[1]}
            with LINES.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)


def report() -> None:
    """Print the last measurement of each kind and size as markdown."""
    last = {(line["what"], line["models"]): line for line in measured()}
    by = {what: [last[key] for key in sorted(last) if key[0] == what] for what in MEASUREMENTS}
    mib = 2**20
    print("Plan only\n\n| cells | tasks | batches | spec, s | plan, s | in words, s | peak memory, MiB | machine |")
    print("|---|---|---|---|---|---|---|---|")
    for x in by["plan"]:
        print(
            f"| {x['cells']} | {x['tasks']} | {x['batches']} | {x['spec']:.1f} | {x['plan']:.1f} | {x['words']:.1f} "
            f"| {x['memory'] / mib:.0f} | {x['machine']} |"
        )
    print("\nReplay: plan, Dask with two workers, journal, store\n")
    print(
        "| cells | plan, s | run, s | of it cluster start, s | cells/s | driver CPU, ms/cell | peak memory, MiB "
        "| journal, kB/cell | store, kB/cell | files | same command again, s | machine |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for x in by["replay"]:
        cells, seconds = x["cells"], x["plan"] + x["run"]
        per_cell = [x[name] / cells / 1000 for name in ("journal_bytes", "store_bytes")]
        print(
            f"| {cells} | {x['plan']:.1f} | {x['run']:.1f} | {x['cluster']:.1f} | {cells / seconds:.0f} "
            f"| {1000 * x['driver_cpu'] / cells:.2f} | {x['memory'] / mib:.0f} | {per_cell[0]:.1f} | {per_cell[1]:.1f} "
            f"| {x['store_files']} | {x['again']:.1f} | {x['machine']} |"
        )
    print("\nReplay, killed half-way\n")
    print("| cells | killed at, tasks | plan, s | cluster, then first batch, s | peak memory, MiB | machine |")
    print("|---|---|---|---|---|---|")
    for x in by["kill"]:
        print(
            f"| {x['cells']} | {x['killed_at']} of {x['tasks']} | {x['plan']:.1f} "
            f"| {x['cluster']:.1f} + {x['after_cluster']:.1f} | {x['memory'] / mib:.0f} | {x['machine']} |"
        )


def main(arguments: list[str]) -> None:
    """Run the measurements that the command line names."""
    if arguments[:1] == ["measure"]:
        what, models, store = arguments[1:]
        measurement = {"plan": measure_plan, "replay": measure_replay}[what](int(models), Path(store))
        print(json.dumps(measurement))
        return
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", nargs="?", choices=(*MEASUREMENTS, "report", "all"), default="all")
    parser.add_argument("cells", nargs="*", type=lambda text: int(float(text)))
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--again", action="store_true")
    chosen = parser.parse_args(arguments)
    kinds = [kind for kind in MEASUREMENTS if chosen.what in (kind, "all")]
    for kind in kinds:
        sizes = chosen.cells or [*SIZES["replay" if chosen.what == "all" else kind]]
        measure(kind, [*sizes, 1_000_000] if chosen.million and kind == "plan" else sizes, chosen.again)
    report()


if __name__ == "__main__":
    main(sys.argv[1:])
