"""Campaigns on a temporary Slurm cluster: a slow model, profiles, and drivers as processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from mini_slurm import MiniSlurm

HBCOOP = str(Path(sys.executable).with_name("hbcoop"))
FAMILY = '''"""The toy with a delay per evaluation, so that its campaigns last long enough to be disturbed."""

import os
import time
from dataclasses import dataclass

from hbcoop_dist.models.families import toy
from hbcoop_dist.plugin import ModelFamily, Potential

TOY = toy.FAMILY.cards[0]


@dataclass(frozen=True, slots=True)
class SlowPotential(Potential):
    inner: Potential

    def compute(self, structures, forces, atom_energies):
        time.sleep(float(os.environ.get("SLOW_SECONDS", "0.05")))
        return self.inner.compute(structures, forces, atom_energies)


class SlowFamily(ModelFamily):
    cards = tuple(
        TOY.with_fields(name=name, family="slow", options={"name": name}) for name in ("slow-a", "slow-b")
    )

    def load(self, card, checkpoint, device, dtype):
        inner = toy.FAMILY.load(TOY, checkpoint, "cpu", dtype)
        return SlowPotential(card, inner.parameter_hash, "cpu", inner)


FAMILY = SlowFamily()
'''


def install_slow(folder: Path) -> None:
    """Install the slow family into a folder, as pip would."""
    info = folder / "slow-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[hbcoop_dist.models]\nslow = slow_models:FAMILY\n")
    (folder / "slow_models.py").write_text(FAMILY)


def spec_file(folder: Path, **fields: Any) -> Path:
    base = {"campaign": "test", "models": ["slow-a"], "lengths": [2, 3], "constraint": "mirror"}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({**base, **fields}))
    return path


def profile_file(folder: Path, *, name: str = "profile", kind: str = "slurm", **pools: dict[str, Any]) -> Path:
    """Write a profile of pools on the loopback interface, by default with one CPU worker per job."""
    base = {"memory": "2GB", "walltime": "00:20:00", "jobs": "0:2", "idle_seconds": 2}
    content = {
        "profile": "test",
        "kind": kind,
        "interface": "lo",
        "pools": {label: {**base, **pool} for label, pool in pools.items()},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


class Campaign:
    """One campaign and its store on a temporary Slurm cluster."""

    def __init__(self, slurm: MiniSlurm, folder: Path, store: str = "a.zarr", **fields: Any) -> None:
        self.slurm, self.folder = slurm, folder
        if not (folder / "slow_models.py").exists():
            install_slow(folder)
        self.spec = spec_file(folder, **fields)
        self.store = folder / store
        self.env = {**slurm.env, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}

    def start(self, profile: Path, *extra: str) -> subprocess.Popen[str]:
        command = [HBCOOP, "run", str(self.spec), str(self.store), "--cluster", str(profile), *extra]
        with (self.folder / f"{self.store.name}.out").open("a") as out:
            return subprocess.Popen(command, env=self.env, stdout=out, stderr=out, text=True)

    def submit(self, profile: Path, *extra: str) -> str:
        """Submit the driver as a job, and return its id."""
        command = [HBCOOP, "cluster", "submit", str(self.spec), str(self.store), "--cluster", str(profile), *extra]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.split()[1]

    def run(self, profile: Path, *extra: str, timeout: float = 180) -> int:
        return self.start(profile, *extra).wait(timeout=timeout)

    def serial(self, name: str = "serial.zarr") -> Path:
        """Return the store of an undisturbed run in one process."""
        store = self.folder / name
        command = [HBCOOP, "run", str(self.spec), str(store), "--serial"]
        subprocess.run(command, env={**self.env, "SLOW_SECONDS": "0"}, check=True, capture_output=True, timeout=300)
        return store

    @property
    def output(self) -> str:
        return (self.folder / f"{self.store.name}.out").read_text()

    def started(self) -> list[dict[str, Any]]:
        """Return the log entry that every worker writes when it starts."""
        lines = [
            json.loads(line)
            for path in sorted(Path(f"{self.store}.logs").glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        return [line for line in lines if line["event"] == "started"]

    def results(self) -> int:
        """Return the number of results in the journal."""
        journal = Path(f"{self.store}.journal")
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    def workers(self) -> list[dict[str, Any]]:
        """Return the jobs that have workers, from the status file of the run."""
        try:
            progress = json.loads(Path(f"{self.store}.progress.json").read_text())
        except (OSError, ValueError):
            return []
        return [job for job in progress["jobs"] if job["workers"]]


def until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Wait until a condition is true, and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"the condition did not become true within {seconds:.0f} s"
        time.sleep(0.1)
    return value
