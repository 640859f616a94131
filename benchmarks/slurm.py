"""Efficiency of a campaign on Slurm: a model that sleeps one second per batch, on sixteen light workers.

    python benchmarks/slurm.py [MODELS]      default 300, about five minutes; then the report
    python benchmarks/slurm.py report        all measurements as a markdown table

A temporary Slurm cluster of two emulated nodes (tests/slurm/mini_slurm.py) runs sixteen jobs of one worker each. The
workers sleep and replay recorded results (benchmarks/overhead.py), so that sixteen of them fit on two cores; driver,
scheduler, journal, store, sbatch and squeue are real. Times come from the log lines of the workers:

- to the first worker: from the start of the driver's process on an idle Slurm, for one job and for all of them, which
  start on the same two cores at once;
- of the ideal: seconds slept after the last worker had connected, over sixteen times the wall clock from then to the
  end of the last batch. Waiting, work besides the sleep, and the tail of the campaign reduce it.

Lines go into benchmarks/slurm.jsonl.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests" / "slurm")]

import overhead  # noqa: E402

import hbcoop_dist as hb  # noqa: E402
from hbcoop_dist.campaigns.hbond.spec import HBondSpec  # noqa: E402
from hbcoop_dist.clusters import load_profile  # noqa: E402
from hbcoop_dist.core.yaml_source import dump_yaml  # noqa: E402
from hbcoop_dist.execution.progress import QuietDisplay  # noqa: E402

LINES = Path(__file__).with_suffix(".jsonl")
WORKERS, SECONDS = 16, 1.0
GRID = {"patterns": ["arc", "linear"], "lengths": "2..12"}


def spec(*models: str) -> HBondSpec:
    return HBondSpec.model_validate({"campaign": "sleep", "models": list(models), **GRID})


def drive(models: int, store: Path, profile: Path) -> None:
    """The driver: a process of its own, with the scratch distribution on its path."""
    import costless  # type: ignore[import-not-found]

    from hbcoop_dist.execution import dask_backend

    dask_backend.do_work = costless.replay
    plan = hb.plan(spec(*(f"costless-{number:05d}" for number in range(models))))
    summary = hb.run(plan, store, cluster=load_profile(profile), display=QuietDisplay())
    assert set(summary.statuses) <= {"done", "unconverged"}, summary
    print(json.dumps({"driver_cpu": time.process_time(), "cells": len(plan.cells)}))


def measure(models: int) -> dict[str, Any]:
    from mini_slurm import MiniSlurm

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        overhead.record_toy(scratch)
        overhead.install_models(scratch, models)
        with MiniSlurm(scratch / "s") as slurm:
            path = os.pathsep.join((folder, str(ROOT)))
            environment = {**slurm.env, "PYTHONPATH": path, "COSTLESS_SECONDS": str(SECONDS), "OMP_NUM_THREADS": "1"}
            alone = campaign(scratch / "one", environment, 1, jobs=1)
            return {**campaign(scratch / "all", environment, models, jobs=WORKERS), "alone": alone["first_worker"]}


def campaign(folder: Path, environment: dict[str, str], models: int, *, jobs: int) -> dict[str, Any]:
    """Run one campaign on an idle Slurm; return the times of its workers, and the share of the ideal."""
    folder.mkdir()
    profile, pools = folder / "profile.yaml", {"light": {"jobs": jobs, "memory": "900MB", "walltime": "01:00:00"}}
    profile.write_text(dump_yaml({"profile": "light", "kind": "slurm", "interface": "lo", "pools": pools}))
    command = [sys.executable, __file__, "drive", str(models), str(folder / "a.zarr"), str(profile)]
    start = time.time()
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {**json.loads(output.splitlines()[-1]), **usage(folder / "a.zarr.logs", start), "load": os.getloadavg()[2]}


def usage(logs: Path, start: float) -> dict[str, Any]:
    """Return when the first and the last worker started, and the share of the time after that spent in sleep."""
    started, done = [], []
    for file in logs.glob("*.jsonl"):
        for line in map(json.loads, file.read_text().splitlines()):
            at = datetime.fromisoformat(line["time"]).timestamp()
            if line["event"] == "started":
                started.append(at)
            elif line["event"] == "done":
                done.append((at, line["seconds"]))
    last, end = max(started), max(at for at, _ in done)
    slept = sum(SECONDS * max(0.0, at - max(last, at - took)) / took for at, took in done)
    return {
        "workers": len(started),
        "batches": len(done),
        "first_worker": min(started) - start,
        "last_worker": last - start,
        "after": end - last,
        "of_ideal": slept / (WORKERS * (end - last)),
    }


def report() -> None:
    columns = (
        "batches",
        "workers",
        "first worker, alone, s",
        "first worker of all, s",
        "last, s",
        "wall after that, s",
        "of the ideal",
    )
    print("|", " | ".join((*columns, "driver CPU, ms a batch")), "|")
    print("|---" * (len(columns) + 1) + "|")
    for line in map(json.loads, LINES.read_text().splitlines() if LINES.exists() else []):
        cpu = 1000 * line["driver_cpu"] / line["batches"]
        print(
            f"| {line['batches']} | {line['workers']} | {line['alone']:.1f} | {line['first_worker']:.1f} "
            f"| {line['last_worker']:.1f} "
            f"| {line['after']:.1f} | {100 * line['of_ideal']:.1f} % | {cpu:.1f} |"
        )


def main() -> None:
    if sys.argv[1:2] == ["drive"]:
        drive(int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
        return
    if sys.argv[1:] != ["report"]:
        measurement = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        line = {**measurement, "machine": machine, "sources": overhead.sources()}
        print(line, flush=True)
        with LINES.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
    report()


if __name__ == "__main__":
    main()
