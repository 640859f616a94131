"""How many atoms go into one call of a potential: learnt from the memory its calls take, halved when one fails.

Batches in, evaluations out: many structures through one potential, in groups that fit the worker.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hbcoop_dist.models.base import Evaluation, ModelError, Potential
from hbcoop_dist.structures import Structure

MOST_ATOMS = {"cpu": 500, "cuda": 20_000}
"""Atoms per call beyond which a device gains nothing.  On a CPU core more is slower (measured with ANI-2x); the number
for a GPU is a bound, not a measurement: memory decides there."""
FIRST_ATOMS = 500
"""Atoms of the first call, before anything was measured."""
GROWTH = 4
"""How much larger a call may be than any before."""
LARGE = 0.2
"""Share of what a call may hold from which on it counts as a measurement."""
SHARE = 0.6
"""Share of the free memory that a call may take."""


class Meter(Protocol):
    """Says what a call took of a device's memory, and what is free; bytes."""

    def start(self) -> None:
        """A call begins."""
        ...

    def taken(self) -> int | None:
        """Most memory the call held beyond what was held before it; None when that cannot be told."""
        ...

    def free(self) -> int: ...

    def release(self) -> None:
        """Give back what is cached: a call did not fit."""
        ...


@dataclass(slots=True)
class BatchSize:
    """Atoms per call of one potential in one process; what it has learnt is its only state.

    Attributes
    ----------
    most : int
        Atoms that a call may hold at the most, whatever fits.
    meter : Meter or None
        None leaves `atoms` as they are but for halving.
    atoms : int
        Atoms that the next call may hold.
    bytes_per_atom : float
        Most that any call took.
    """

    most: int
    meter: Meter | None = None
    atoms: int = 0
    bytes_per_atom: float = 0.0

    def __post_init__(self) -> None:
        self.atoms = self.atoms or self.most

    @classmethod
    def of(cls, device: str) -> BatchSize:
        """For a device, ``cpu`` or ``cuda:0``, of which nothing is known yet."""
        kind = device.partition(":")[0]
        meter: Meter = CudaMeter(device) if kind == "cuda" else ProcessMeter()
        return cls(MOST_ATOMS[kind], meter, min(FIRST_ATOMS, MOST_ATOMS[kind]))

    def begin(self) -> None:
        """A call of the potential begins."""
        if self.meter is not None:
            self.meter.start()

    def learn(self, atoms: int) -> None:
        """A call with so many atoms is over: the next may be larger, or has to be smaller."""
        # what a small call takes is mostly not due to its atoms
        if self.meter is None or atoms < LARGE * self.atoms:
            return
        taken = self.meter.taken()
        # the kernel's counters lag behind one another by a few pages
        if taken is None or taken <= 0:
            return
        self.bytes_per_atom = max(self.bytes_per_atom, taken / atoms)
        fits = int(SHARE * self.meter.free() / self.bytes_per_atom)
        self.atoms = max(1, min(self.most, fits, GROWTH * max(self.atoms, atoms)))

    def halve(self, atoms: int) -> None:
        """A call with so many atoms did not fit into memory: none will be that large again."""
        self.most = max(1, atoms // 2)
        self.atoms = min(self.atoms, self.most)
        if self.meter is not None:
            self.meter.release()


class ProcessMeter:
    """Memory of this process, bounded by the machine's, or by the limit of the job it runs in."""

    def __init__(self) -> None:
        import psutil
        from distributed.system import memory_limit

        self._process, self._limit = psutil.Process(), memory_limit
        self._resident, self._peak = 0, 0

    def start(self) -> None:
        self._resident, self._peak = self._process.memory_info().rss, _peak()

    def taken(self) -> int | None:
        # The peak is that of the whole life of the process: a call that stayed below it says nothing.
        peak = _peak()
        return peak - self._resident if peak > self._peak else None

    def free(self) -> int:
        import psutil

        own = self._limit() - self._process.memory_info().rss
        return max(0, min(int(psutil.virtual_memory().available), int(own)))

    def release(self) -> None:
        pass


class CudaMeter:
    """Memory of one CUDA device, as torch's allocator sees it."""

    def __init__(self, device: str) -> None:
        self._device, self._before = device, 0

    def start(self) -> None:
        import torch

        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def taken(self) -> int | None:
        import torch

        return int(torch.cuda.max_memory_allocated(self._device)) - self._before

    def free(self) -> int:
        import torch

        outside, _ = torch.cuda.mem_get_info(self._device)
        cached = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(outside + cached)

    def release(self) -> None:
        import torch

        torch.cuda.empty_cache()


def _peak() -> int:
    """Most memory this process ever held, bytes."""
    import resource

    # kilobytes everywhere but on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def evaluate(
    potential: Potential,
    structures: Sequence[Structure],
    *,
    forces: bool = True,
    atom_energies: bool = False,
    batch: BatchSize | None = None,
) -> list[Evaluation]:
    """Evaluate all structures, in calls of the potential that are as large as `batch` allows.

    Out of memory halves the batch and goes on; a single structure that does not fit raises.

    Raises
    ------
    ModelError
        When the potential returns another number of evaluations than it was given structures.
    """
    batch = batch or BatchSize.of(potential.device)
    waiting, out = deque(structures), list[Evaluation]()
    while waiting:
        out += _call(potential, _take(waiting, batch.atoms), forces, atom_energies, batch)
    return out


def _take(waiting: deque[Structure], atoms: int) -> list[Structure]:
    """The next structures that fit together, at least one."""
    group, room = [waiting.popleft()], atoms
    room -= len(group[0])
    while waiting and len(waiting[0]) <= room:
        group.append(waiting.popleft())
        room -= len(group[-1])
    return group


def _call(
    potential: Potential, group: list[Structure], forces: bool, atom_energies: bool, batch: BatchSize
) -> list[Evaluation]:
    atoms = sum(len(structure) for structure in group)
    batch.begin()
    try:
        found = potential.evaluate(group, forces=forces, atom_energies=atom_energies)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error) or len(group) == 1:
            raise
    else:
        batch.learn(atoms)
        if len(found) != len(group):
            raise ModelError(f"model {potential.card.name}: expected {len(group)} evaluations, found {len(found)}")
        return found
    # Outside the handler, whose traceback would hold on to the memory of the call.
    batch.halve(atoms)
    half = len(group) // 2
    first, second = (_call(potential, part, forces, atom_energies, batch) for part in (group[:half], group[half:]))
    return first + second


def _out_of_memory(error: BaseException) -> bool:
    # torch.cuda.OutOfMemoryError is a RuntimeError; the CPU allocator only says so in words.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
