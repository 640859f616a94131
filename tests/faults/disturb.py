"""Disturb a campaign: kill one of its processes every few seconds, and restart the driver when it was killed.

SIGKILL hits the driver (and with it the scheduler), a worker, or the nanny that would restart a worker; a seed decides
which, and when. After a fixed number of kills the campaign runs to its end undisturbed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from stores import differences

from hbcoop_dist.core.yaml_source import dump_yaml

HBCOOP = str(Path(sys.executable).with_name("hbcoop"))
SPEC = {
    "campaign": "disturbed",
    "models": ["toy", "toy-additive"],
    "patterns": ["arc", "linear"],
    "lengths": "2..8",
    "constraint": "mirror",
    "capping": ["none", "water"],
    "rotamer": ["cis-N, trans-C", "cis-N, cis-C", "cis-O, cis-C", "cis-O, trans-C"],
}
"""224 cells."""
KILLS = 8
SECONDS_BETWEEN = (0.0, 3.0)


@dataclass
class Disturbed:
    """Processes that were killed, and the end of the campaign."""

    seed: int
    killed: list[str] = field(default_factory=list)
    starts: int = 1
    returncode: int = -1
    differences: list[str] = field(default_factory=list)


def spec_file(folder: Path) -> Path:
    path = folder / "spec.yaml"
    path.write_text(dump_yaml(SPEC))
    return path


def undisturbed(folder: Path, spec: Path) -> Path:
    store = folder / "undisturbed.zarr"
    subprocess.run([HBCOOP, "run", str(spec), str(store)], capture_output=True, timeout=600, check=False)
    return store


def disturb(spec: Path, store: Path, calm: Path, seed: int) -> Disturbed:
    """Run the campaign with kills, and compare its store with that of an undisturbed run."""
    found, dice = Disturbed(seed), random.Random(seed)
    driver = _start(spec, store)
    while len(found.killed) < KILLS and _at_work(driver, store):
        time.sleep(dice.uniform(*SECONDS_BETWEEN))
        if driver.poll() is not None:
            break
        kind, process = _victim(driver, dice)
        process.kill()
        found.killed.append(kind)
        if kind == "driver":
            driver.wait()
            driver = _start(spec, store)
            found.starts += 1
    found.returncode = driver.wait(timeout=600)
    found.differences = differences(store, calm)
    return found


def _at_work(driver: subprocess.Popen[bytes], store: Path) -> bool:
    """Wait for another result, so that every kill hits a working campaign; False when it has ended."""
    journal = store.with_name(f"{store.name}.journal")
    size = journal.stat().st_size if journal.exists() else 0
    while driver.poll() is None:
        if journal.exists() and journal.stat().st_size > size:
            return True
        time.sleep(0.02)
    return False


def _start(spec: Path, store: Path) -> subprocess.Popen[bytes]:
    with store.with_suffix(".out").open("ab") as out:
        return subprocess.Popen([HBCOOP, "run", str(spec), str(store)], stdout=out, stderr=out)


def _victim(driver: subprocess.Popen[bytes], dice: random.Random) -> tuple[str, psutil.Process]:
    """Choose the driver, a nanny or a worker, each kind with the same probability."""
    kinds: dict[str, list[psutil.Process]] = {"driver": [psutil.Process(driver.pid)]}
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            words = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "hbcoop_dist/clusters/dask_worker.py" in words:
            kinds.setdefault("nanny", []).append(process)
        elif "spawn_main" in words:
            kinds.setdefault("worker", []).append(process)
    kind = dice.choice(sorted(kinds))
    return kind, dice.choice(kinds[kind])
