"""Measure the speed of a loaded model on this machine, and the memory it takes.

Energies and forces of NMA dimers are evaluated, in the model's float type and with the threads of this process.
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

from hbcoop_dist.core.failures import is_out_of_memory
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelCard, Potential
from hbcoop_dist.structures import Structure, monomer

LARGEST = 256
"""Dimers in the largest batch, of about 6000 atoms."""
_APART = (0.3, 4.75, 0.1)  # A, along the H-bond
_NOISE = 0.02  # A, so that all dimers of a batch differ
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see clear_refs in proc(5)
_LEAST = 2**20  # bytes; smaller growth has other causes


@dataclass(frozen=True, slots=True)
class Rate:
    """The speed of one batch size.

    Attributes
    ----------
    batch, atoms : int
        Numbers of dimers and atoms of one call.
    seconds : float
        Time of the fastest call.
    """

    batch: int
    atoms: int
    seconds: float

    @property
    def atoms_per_second(self) -> float:
        """Atoms evaluated per second."""
        return self.atoms / self.seconds


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one call beyond that of the loaded model.

    Attributes
    ----------
    bytes_per_atom : float or None
        None where it could not be measured.
    how : str
        Description of the measurement, or why there is none.
    """

    bytes_per_atom: float | None
    how: str


def dimers(count: int) -> list[Structure]:
    """Make slightly and differently distorted NMA dimers.

    Parameters
    ----------
    count : int
    """
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
    """Measure batches of 1, 2, 4, ... dimers, until a call takes too long or does not fit into memory.

    Parameters
    ----------
    potential : Potential
    per_call, in_all : float
        Seconds of one call, and of all calls, after which no larger batch is measured.
    largest : int
        Dimers in the largest batch.
    clock : callable
        Returns the time in seconds.

    Yields
    ------
    Rate
        Speed of the faster of two calls, since the first call of a size may compile or allocate.
    """
    begin = clock()
    potential.evaluate(dimers(1), forces=potential.card.abilities.forces)
    batch = 1
    while batch <= largest:
        structures, seconds = dimers(batch), float("inf")
        for _ in range(2):
            start = clock()
            try:
                potential.evaluate(structures, forces=potential.card.abilities.forces)
            except (RuntimeError, MemoryError) as error:
                if is_out_of_memory(error):
                    return
                raise
            seconds = min(seconds, clock() - start)
            if seconds > per_call:
                break
        yield Rate(batch, sum(map(len, structures)), seconds)
        if seconds > per_call or clock() - begin > in_all:
            return
        batch *= 2


def memory(potential: Potential, path: str | Path | None, batch: int) -> Memory:
    """Measure the peak memory per atom of one call.

    Parameters
    ----------
    potential : Potential
    path : path or None
        Path of its checkpoint, for another process that loads it; None where the registry finds it.
    batch : int
        Dimers of the call, a size that was evaluated before.
    """
    if potential.device.startswith("cuda"):
        return _on_gpu(potential, batch)
    if not _STATUS.exists():
        return Memory(None, f"not measured: expected {_STATUS}, which {sys.platform} does not have")
    if batch < 2:
        return Memory(None, "not measured: one dimer per call took all the time")
    # An earlier peak of this process would hide that of the call, so that a new process measures it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        grown, atoms = pool.submit(_growth, potential.card, None if path is None else str(path), batch).result()
    if grown < _LEAST:
        return Memory(
            None, f"too little to measure: {batch} dimers took no more than the memory freed after loading the model"
        )
    how = (
        f"growth of the resident memory of a new process in a call of {batch} dimers, after one of 1, per added atom; "
        "a lower bound, since memory freed after loading is used first"
    )
    return Memory(grown / atoms, how)


def _on_gpu(potential: Potential, batch: int) -> Memory:
    import torch

    structures = dimers(batch)
    torch.cuda.reset_peak_memory_stats(potential.device)
    before = torch.cuda.memory_allocated(potential.device)
    potential.evaluate(structures, forces=potential.card.abilities.forces)
    taken = torch.cuda.max_memory_allocated(potential.device) - before
    how = f"torch.cuda.max_memory_allocated over one call of {batch} dimers, less what was allocated before"
    return Memory(taken / sum(map(len, structures)), how)


def _growth(card: ModelCard, path: str | None, batch: int) -> tuple[int, int]:
    """Growth of this process's peak memory with the batch, bytes, and number of added atoms."""
    potential = registry.load(card, path)
    few, many = dimers(1), dimers(batch)
    potential.evaluate(few, forces=potential.card.abilities.forces)
    _forget_peak()
    before = _peak()
    potential.evaluate(many, forces=potential.card.abilities.forces)
    return _peak() - before, sum(map(len, many)) - len(few[0])


def _forget_peak() -> None:
    """Reset the peak memory, since reading a checkpoint often takes more than an evaluation."""
    with contextlib.suppress(OSError):  # forbidden in some containers, where the growth is that of the whole peak
        _CLEAR.write_text(_RESET_PEAK)


def _peak() -> int:
    """Peak memory of this process, bytes; that of getrusage includes its parent's."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def threads() -> str:
    """Describe the number of threads of this process."""
    torch = sys.modules.get("torch")
    own = f"{torch.get_num_threads()} threads in torch, " if torch is not None else ""
    return f"{own}OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}"
