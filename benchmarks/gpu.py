"""Speed of a GPU: chains minimised in batches, one at a time on the same GPU, and on one CPU core.

    python benchmarks/gpu.py rates [MODEL ...]         atoms/s of energies and forces against the size of a batch
    python benchmarks/gpu.py grid MODEL [LONGEST]      wall clock of the grid arc + linear, n = 2..LONGEST (6), bare and
                                                       capped: minimisations, modes and fragment energies

Float64, minima to 1e-5 eV/A, one thread. `grid` measures three cases, each with a loaded model: the batches of a
campaign on a GPU, batches of one chain on the same GPU, and the batches of a campaign on a CPU, on one core.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.plan import BATCH_ATOMS
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.hbond.worker import ChainWork
from hbcoop_dist.campaigns.model_worker import load_potential
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.models import load
from hbcoop_dist.models.checks.speed import rates
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.monomers import build

MODELS = ("so3lr", "ani-2x")
LARGEST = 4096
"""Dimers in the largest batch, about 100,000 atoms."""
ONE_BY_ONE = dict.fromkeys(("cpu", "cuda"), 1)


def sizes(model: str) -> None:
    """Print the atoms per second of one model for every size of batch."""
    for rate in rates(load(model, device="cuda"), per_call=3.0, in_all=20.0, largest=LARGEST):
        print(f"{model}: {rate.batch:5d} dimers, {rate.atoms:6d} atoms, {rate.seconds:8.4f} s, "
              f"{rate.atoms_per_second:10.0f} atoms/s", flush=True)  # fmt: skip


def grid(model: str, longest: int) -> None:
    """Print the seconds of the three cases, and their ratios."""
    usual, taken = dict(BATCH_ATOMS), {}
    for case, device, atoms in (
        ("GPU, batches", "cuda", usual),
        ("GPU, one chain at a time", "cuda", ONE_BY_ONE),
        ("one CPU core, batches", "cpu", usual),
    ):
        BATCH_ATOMS.update(atoms)
        taken[case] = _campaign(model, longest, device)
        print(f"{model}, n = 2..{longest}: {case}: {taken[case]:.1f} s", flush=True)
    BATCH_ATOMS.update(usual)
    for case, seconds in taken.items():
        print(f"{model}: {case} takes {seconds / taken['GPU, batches']:.1f} times as long as batches on the GPU")


def _campaign(model: str, longest: int, device: str) -> float:
    fields = {"campaign": "benchmark", "models": [model], "patterns": ["arc", "linear"], "lengths": f"2..{longest}"}
    plan = hb.plan(HBondSpec.model_validate({**fields, "capping": ["none", "water"]}), device=device)
    source = plan.sources[model]
    assert isinstance(source, ModelSource)
    load_potential(source.card, source.path, device).evaluate([build(make_chain("arc", 2))])
    start = time.perf_counter()
    make_work = ChainWork.factory(plan.sources, plan.spec.minimize)
    results = list(iter_results(plan.batches, make_work, {}, SerialBackend(device)))
    seconds = time.perf_counter() - start
    others = sorted({result.status for result in results} - {"done"})
    print(f"    {len(plan.batches)} batches, {len(results)} tasks" + (f", some {', '.join(others)}" if others else ""))
    return seconds


def main() -> None:
    """Run the measurement that the command line names."""
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
