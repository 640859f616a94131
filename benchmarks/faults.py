"""Fault injection: the number of random SIGKILLs that change a campaign's store, for many seeds.

    python benchmarks/faults.py [SEEDS]      seeds 1 to SEEDS (default 20), without those measured earlier
    python benchmarks/faults.py report       summary of all measurements

Each seed runs 224 cells of the toys on two local workers while the driver, a worker or a nanny is killed every few
seconds, eight times, and compares every value of the store with that of an undisturbed run (tests/faults/disturb.py).
Lines go into benchmarks/faults.jsonl.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

LINES = Path(__file__).with_suffix(".jsonl")
TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "faults")]

from disturb import disturb, spec_file, undisturbed  # noqa: E402


def measured() -> list[dict[str, object]]:
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def measure(seeds: int) -> None:
    """Disturb the campaign once per seed."""
    done = {line["seed"] for line in measured()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        spec = spec_file(folder)
        calm = undisturbed(folder, spec)
        for seed in sorted(set(range(1, seeds + 1)) - done):
            line = asdict(disturb(spec, folder / f"{seed}.zarr", calm, seed))
            print(line, flush=True)
            with LINES.open("a") as lines:
                lines.write(json.dumps(line) + "\n")


def report() -> None:
    """Print the number of runs and kills, and the seeds whose store differs."""
    lines = measured()
    kills = Counter(kind for line in lines for kind in line["killed"])  # type: ignore[attr-defined]
    different = [line["seed"] for line in lines if line["differences"] or line["returncode"] != 0]
    words = ", ".join(f"{count} of a {kind}" for kind, count in sorted(kills.items()))
    print(f"{len(lines)} runs, {sum(kills.values())} kills ({words}); stores that differ: {different or 'none'}")


if __name__ == "__main__":
    if sys.argv[1:] != ["report"]:
        measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    report()
