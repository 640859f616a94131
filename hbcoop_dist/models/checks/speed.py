"""How fast a loaded model is on this machine, and what memory it takes: which batch is worth sending, which card fits.

Everything is measured on dimers of NMA, energies and forces, in the float type and with the threads of this process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelCard, Potential
from hbcoop_dist.structures import Structure, monomer

LARGEST = 256
"""Dimers in the largest batch tried, some 6000 atoms."""
_APART = (0.3, 4.75, 0.1)  # A, along the hydrogen bond
_NOISE = 0.02  # A, so that no two dimers of a batch are the same
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PEAK = "5"  # what the kernel reads there as: forget the peak so far
_LEAST = 2**20  # bytes below which a growth is that of anything


@dataclass(frozen=True, slots=True)
class Rate:
    """The speed of one batch size.

    Attributes
    ----------
    batch, atoms : int
        Dimers and atoms of one call.
    seconds : float
        Of the fastest call.
    """

    batch: int
    atoms: int
    seconds: float

    @property
    def atoms_per_second(self) -> float:
        return self.atoms / self.seconds


@dataclass(frozen=True, slots=True)
class Memory:
    """What one call took beyond what the loaded model holds.

    Attributes
    ----------
    bytes_per_atom : float or None
        None where it cannot be told.
    how : str
        What was measured, or why nothing was.
    """

    bytes_per_atom: float | None
    how: str


def dimers(count: int) -> list[Structure]:
    """NMA dimers in contact, each distorted a little and differently."""
    random = np.random.default_rng(count)
    nma = monomer().positions
    pair = Structure.from_molecules([("nma", nma), ("nma", nma + np.array(_APART))])
    shape = (count, *pair.positions.shape)
    return [pair.with_positions(pair.positions + shift) for shift in _NOISE * random.standard_normal(shape)]


def rates(
    potential: Potential,
    *,
    per_call: float = 2.0,
    in_all: float = 10.0,
    largest: int = LARGEST,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Rate]:
    """Measure batches of 1, 2, 4, ... dimers, until a call takes too long, the time is up or one does not fit.

    Parameters
    ----------
    potential
        A loaded model.
    per_call, in_all
        Seconds after which no larger batch is tried: of one call, of all of them.
    largest
        Dimers in the largest batch.
    clock
        What time it is, s.

    Yields
    ------
    Rate
        Of the fastest of two calls: the first one of a size may compile or allocate.
    """
    begin = clock()
    potential.evaluate(dimers(1), forces=potential.card.forces)
    batch = 1
    while batch <= largest:
        structures, seconds = dimers(batch), float("inf")
        for _ in range(2):
            start = clock()
            try:
                potential.evaluate(structures, forces=potential.card.forces)
            except (RuntimeError, MemoryError) as error:
                if _does_not_fit(error):
                    return
                raise
            seconds = min(seconds, clock() - start)
            if seconds > per_call:
                break
        yield Rate(batch, sum(map(len, structures)), seconds)
        if seconds > per_call or clock() - begin > in_all:
            return
        batch *= 2


def _does_not_fit(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


def memory(potential: Potential, path: str | Path | None, batch: int) -> Memory:
    """Most memory per atom that one call takes beyond the loaded model.

    Parameters
    ----------
    potential
        A loaded model.
    path
        Where its checkpoint lies, for a process that loads it afresh; None where the registry finds it.
    batch
        Dimers of the call, of a size that was evaluated before.
    """
    if potential.device.startswith("cuda"):
        return _on_gpu(potential, batch)
    if not _STATUS.exists():
        return Memory(None, f"not measured: expected {_STATUS}, which {sys.platform} does not have")
    if batch < 2:
        return Memory(None, "not measured: there was time for no more than one dimer a call")
    # this process has held more before, which would hide the call: another one begins at nothing
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as fresh:
        grown, atoms = fresh.submit(_growth, potential.card, None if path is None else str(path), batch).result()
    if grown < _LEAST:
        return Memory(None, f"too little to tell: {batch} dimers took no more than what was free of loading the model")
    how = (
        f"growth of the resident memory of a fresh process in a call of {batch} dimers, after one of 1, by added atom; "
        "a lower bound, since what loading had freed is used first"
    )
    return Memory(grown / atoms, how)


def _on_gpu(potential: Potential, batch: int) -> Memory:
    import torch

    structures = dimers(batch)
    torch.cuda.reset_peak_memory_stats(potential.device)
    before = torch.cuda.memory_allocated(potential.device)
    potential.evaluate(structures, forces=potential.card.forces)
    taken = torch.cuda.max_memory_allocated(potential.device) - before
    how = f"torch.cuda.max_memory_allocated over one call of {batch} dimers, less what was allocated before"
    return Memory(taken / sum(map(len, structures)), how)


def _growth(card: ModelCard, path: str | None, batch: int) -> tuple[int, int]:
    """Bytes by which the peak of this process grows with the batch, and the atoms that were added."""
    potential = registry.load(card, path)
    few, many = dimers(1), dimers(batch)
    potential.evaluate(few, forces=potential.card.forces)
    _forget_peak()
    before = _peak()
    potential.evaluate(many, forces=potential.card.forces)
    return _peak() - before, sum(map(len, many)) - len(few[0])


def _forget_peak() -> None:
    """Reading a checkpoint often takes more than evaluating it, and would hide that."""
    with contextlib.suppress(OSError):  # some containers forbid it; the growth is then of the peak alone
        _CLEAR.write_text(_PEAK)


def _peak() -> int:
    """Most memory this process ever held; getrusage would count what its parent held before it."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def threads() -> str:
    """How many threads this process computes with, in words."""
    torch = sys.modules.get("torch")
    own = f"{torch.get_num_threads()} threads in torch, " if torch is not None else ""
    return f"{own}OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}"
