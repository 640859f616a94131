"""What the framework itself costs: many checkpoints of a model that costs nothing, on the paper's grid of 44 cells.

    python benchmarks/overhead.py                     all of the below, at 1e3 and 1e4 cells, then the report
    python benchmarks/overhead.py plan [CELLS ...]    spec to plan only (default 1e3 1e4 1e5; --million adds 1e6)
    python benchmarks/overhead.py replay [CELLS ...]  plan, Dask (two workers), journal, store; then the same command
    python benchmarks/overhead.py kill [CELLS ...]    the same, SIGKILLed half-way, and what it takes to go on
    python benchmarks/overhead.py report              all that was measured so far, as markdown tables

The models are cards of a scratch distribution with an entry point, as anybody's would be.  What the workers do is
replaced by a replay: results of the toy on the 44 cells, recorded once per invocation, come back under the keys that
are asked for, Hessians and all.  So rates are those of the framework, and no physics is done.

Every measurement is a fresh process, so its peak memory is its own (the driver's, scheduler included).  Lines go into
benchmarks/overhead.jsonl; what is there already for the same sources is not measured again (--again does).  Scratch
goes where TMPDIR points: 1e5 cells need about 5 GB, and fsync decides the rate on a slow disk.
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
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.campaigns.hbond.worker import working
from hbcoop_dist.clusters import usable_cores
from hbcoop_dist.execution.progress import RunCounts
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.store import journal_path

LINES = Path(__file__).with_suffix(".jsonl")
GRID = {"patterns": ["arc", "linear"], "lengths": "2..12", "capping": ["none", "water"]}
CELLS_PER_MODEL, WORKERS = 44, 2
SIZES = {"plan": (1000, 10_000, 100_000), "replay": (1000, 10_000), "kill": (1000, 10_000)}

FAMILY = '''"""Checkpoints of a model that costs nothing, and the replay of recorded results in place of its work."""

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
        raise ModelError(f"model {card.name}: it has no numbers of its own, only a replay of the toy's")


FAMILY = CostlessFamily()


@cache
def recorded():
    return pickle.loads(Path(__file__).with_name("recorded.pickle").read_bytes())


def replay(work):
    """The recorded results of a batch's tasks under their own keys, after as long a sleep as is asked for."""
    time.sleep(float(os.environ.get("COSTLESS_SECONDS", "0")))
    return [replace(recorded()[task.kind, task.system], key=task.key) for task in work.batch.tasks]
'''


def sources() -> str:
    """Hash of the package's sources: measurements of other sources are other measurements."""
    total = hashlib.sha256()
    for path in sorted(Path(hb.__file__).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:8]


def spec(models: int) -> CampaignSpec:
    """The paper's grid for that many checkpoints."""
    names = [f"costless-{number:05d}" for number in range(models)]
    return CampaignSpec.model_validate({"campaign": "overhead", "models": names, **GRID})


def record_toy(scratch: Path) -> None:
    """Run the toy on the grid and keep its results by what was computed instead of by key."""
    drawn = hb.plan(CampaignSpec.model_validate({"campaign": "record", "models": ["toy"], **GRID}))
    found = iter_results(drawn.batches, working(drawn.sources, drawn.spec.minimize), {}, SerialBackend())
    recorded = {(drawn.tasks[one.key].kind, drawn.tasks[one.key].system): one for one in found}
    (scratch / "recorded.pickle").write_bytes(pickle.dumps(recorded))


def offer(scratch: Path, models: int) -> None:
    """Put the family into `scratch` as a distribution, as pip would."""
    info = scratch / "costless-0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: costless\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[hbcoop_dist.models]\ncostless = costless:FAMILY\n")
    (scratch / "costless.py").write_text(FAMILY.replace("NUMBER", str(models)))


class Stopwatch:
    """A display that shows nothing and notes when the cluster was there, and when the first batch was handed out."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.cluster: float | None = None
        self.first: float | None = None

    def message(self, text: str) -> None:
        self.cluster = self.cluster or time.perf_counter() - self.begun

    def update(self, count: RunCounts, *, last: bool = False) -> None:
        if count.running and self.first is None:
            self.first = time.perf_counter() - self.begun

    def close(self) -> None:
        pass


def measure_plan(models: int, _: Path) -> dict[str, Any]:
    """Spec and plan of that many models, and the plan in words."""
    begun = time.perf_counter()
    asked = spec(models)
    checked = time.perf_counter()
    drawn = hb.plan(asked)
    planned = time.perf_counter()
    peak = memory()
    str(drawn)
    counts = {"tasks": len(drawn.tasks), "batches": len(drawn.batches)}
    words = time.perf_counter() - planned
    return {"spec": checked - begun, "plan": planned - checked, "words": words, "memory": peak, **counts}


def measure_replay(models: int, store: Path) -> dict[str, Any]:
    """Everything from the spec to the closed store; what the store has already is left alone."""
    import costless  # type: ignore[import-not-found]  # the scratch distribution, on PYTHONPATH

    from hbcoop_dist.execution import dask_backend

    dask_backend.do_work = costless.replay
    begun = time.perf_counter()
    drawn = hb.plan(spec(models))
    planned = time.perf_counter()
    watch = Stopwatch()
    summary = hb.run(drawn, store, workers=WORKERS, display=watch)
    assert set(summary.statuses) <= {"done", "unconverged"}, summary
    ended = time.perf_counter()
    return {
        "plan": planned - begun,
        "run": ended - planned,
        "until_first": watch.first,
        "cluster": watch.cluster,
        "driver_cpu": time.process_time(),
        "computed": summary.computed,
        "memory": memory(),
    }


def memory() -> int:
    """Peak memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def child(what: str, models: int, store: Path, scratch: Path) -> subprocess.Popen[str]:
    """Start one measurement in a process of its own, with the scratch distribution on its path and its workers'."""
    root = str(Path(hb.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(scratch), root))}
    command = [sys.executable, __file__, "measure", what, str(models), str(store)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The measurement that a child printed last."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a measurement ended with exit code {process.returncode}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def plan(models: int, scratch: Path) -> dict[str, Any]:
    """Plan only."""
    return result_of(child("plan", models, scratch, scratch))


def replay(models: int, scratch: Path) -> dict[str, Any]:
    """The driver's whole way into a fresh store, and the same command once more."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        store = Path(folder, "a.zarr")
        found = result_of(child("replay", models, store, scratch))
        again = result_of(child("replay", models, store, scratch))
        assert (found["computed"], again["computed"]) == (models * CELLS_PER_MODEL, 0)
        files = [path.stat().st_size for path in store.rglob("*") if path.is_file()]
        sizes = {"journal_bytes": journal_path(store).stat().st_size, "store_bytes": sum(files)}
    return {**found, **sizes, "store_files": len(files), "again": again["plan"] + again["run"]}


def kill(models: int, scratch: Path) -> dict[str, Any]:
    """SIGKILL the driver when half of the results are in the journal; time the way back to the first batch."""
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
        found = result_of(child("replay", models, store, scratch))
    opened = found["until_first"] - (found["cluster"] or 0.0)
    return {**found, "killed_at": lines, "tasks": tasks, "after_cluster": opened}


MEASUREMENTS: dict[str, Callable[[int, Path], dict[str, Any]]] = {"plan": plan, "replay": replay, "kill": kill}


def measured() -> list[dict[str, Any]]:
    """Every measurement so far."""
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def measure(what: str, sizes: list[int], again: bool) -> None:
    """Do the measurements that these sources lack, and keep each at once."""
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
            offer(scratch, models)
            line = {"what": what, "models": models, "cells": models * CELLS_PER_MODEL, "sources": version}
            line |= {"machine": machine, **MEASUREMENTS[what](models, scratch), "load": os.getloadavg()[1]}
            with LINES.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)


def report() -> None:
    """Markdown of the last measurement of each kind and size."""
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
    """Dispatch; see the module."""
    if arguments[:1] == ["measure"]:
        what, models, store = arguments[1:]
        found = {"plan": measure_plan, "replay": measure_replay}[what](int(models), Path(store))
        print(json.dumps(found))
        return
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", nargs="?", choices=(*MEASUREMENTS, "report", "all"), default="all")
    parser.add_argument("cells", nargs="*", type=lambda text: int(float(text)))
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args(arguments)
    kinds = [kind for kind in MEASUREMENTS if asked.what in (kind, "all")]
    for kind in kinds:
        sizes = asked.cells or [*SIZES["replay" if asked.what == "all" else kind]]
        measure(kind, [*sizes, 1_000_000] if asked.million and kind == "plan" else sizes, asked.again)
    report()


if __name__ == "__main__":
    main(sys.argv[1:])
