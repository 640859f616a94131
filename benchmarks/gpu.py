"""What a GPU gains: chains minimised many at a time against one at a time on the same GPU, and against one CPU core.

    python benchmarks/gpu.py rates [MODEL ...]         atoms/s of energies and forces against the size of a batch
    python benchmarks/gpu.py grid MODEL [LONGEST]      wall clock of the grid arc + linear, n = 2..LONGEST (6), bare and
                                                       capped: minimisations, modes and fragment energies

Float64, minima to 1e-5 eV/A, one thread.  `grid` runs three sides with one loaded model each: batches as a campaign on
a GPU makes them, batches of one chain on the same GPU, and batches as a campaign on a CPU makes them on one core.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.campaigns.hbond.worker import load_once, working
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.models import load
from hbcoop_dist.models.checks.speed import rates
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.construction import build

MODELS = ("so3lr", "ani-2x")
LARGEST = 4096
"""Dimers, some 100,000 atoms."""
# the module, whose name its function has in the package
planning = sys.modules[hb.plan.__module__]
ONE_BY_ONE = dict.fromkeys(("cpu", "cuda"), 1)


def sizes(model: str) -> None:
    """Atoms per second of one model, batch by batch."""
    for rate in rates(load(model, device="cuda"), per_call=3.0, in_all=20.0, largest=LARGEST):
        print(f"{model}: {rate.batch:5d} dimers, {rate.atoms:6d} atoms, {rate.seconds:8.4f} s, "
              f"{rate.atoms_per_second:10.0f} atoms/s", flush=True)  # fmt: skip


def grid(model: str, longest: int) -> None:
    """Seconds of the three sides, and their ratios."""
    usual, taken = dict(planning.BATCH_ATOMS), {}
    for side, device, atoms in (
        ("GPU, batches", "cuda", usual),
        ("GPU, one chain at a time", "cuda", ONE_BY_ONE),
        ("one CPU core, batches", "cpu", usual),
    ):
        planning.BATCH_ATOMS.update(atoms)
        taken[side] = _campaign(model, longest, device)
        print(f"{model}, n = 2..{longest}: {side}: {taken[side]:.1f} s", flush=True)
    planning.BATCH_ATOMS.update(usual)
    for side, seconds in taken.items():
        print(f"{model}: {side} takes {seconds / taken['GPU, batches']:.1f} times as long as batches on the GPU")


def _campaign(model: str, longest: int, device: str) -> float:
    fields = {"campaign": "benchmark", "models": [model], "patterns": ["arc", "linear"], "lengths": f"2..{longest}"}
    drawn = hb.plan(CampaignSpec.model_validate({**fields, "capping": ["none", "water"]}), device=device)
    source = drawn.sources[model]
    load_once(source.card, source.path, device).evaluate([build(make_chain("arc", 2))])
    begun = time.perf_counter()
    found = list(iter_results(drawn.batches, working(drawn.sources, drawn.spec.minimize), {}, SerialBackend(device)))
    seconds = time.perf_counter() - begun
    odd = sorted({result.status for result in found} - {"done"})
    print(f"    {len(drawn.batches)} batches, {len(found)} tasks" + (f", some {', '.join(odd)}" if odd else ""))
    return seconds


def main() -> None:
    """Run what the command line asks for."""
    if not torch.cuda.is_available():
        sys.exit("expected a CUDA device, found none")
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {os.environ['OMP_NUM_THREADS']} thread(s), float64"
    )
    match sys.argv[1:]:
        case ["rates", *models]:
            for model in models or MODELS:
                sizes(model)
        case ["grid", model, *rest]:
            grid(model, int(rest[0]) if rest else 6)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
