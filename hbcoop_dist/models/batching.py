"""Evaluate many structures in calls that fit into memory, and join their neighbour graphs into one."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.core.failures import is_out_of_memory
from hbcoop_dist.models.base import Evaluation, ModelError, Potential
from hbcoop_dist.structures import Structure

if TYPE_CHECKING:
    import torch

MOST_ATOMS = {"cpu": 500, "cuda": 20_000}
"""Atoms per call above which a device does not get faster. On a CPU core larger calls are slower (measured with
ANI-2x); the number for a GPU is an upper bound, since memory limits calls first."""
FIRST_ATOMS = 500
"""Atoms of the first call, before any measurement."""
GROWTH = 4
"""Largest ratio of the size of a call to that of any earlier call."""
LARGE = 0.2
"""Smallest fraction of `BatchSize.atoms` whose memory is measured: in small calls most memory is overhead."""
SHARE = 0.6
"""Fraction of the free memory that a call may take."""


class Meter(Protocol):
    """Measures the memory of a device, in bytes."""

    def start(self) -> None:
        """Note the memory in use before a call."""
        ...

    def taken(self) -> int | None:
        """Peak memory of the call beyond that in use before it; None when it cannot be measured."""
        ...

    def free(self) -> int:
        """Memory that another call could take."""
        ...

    def release(self) -> None:
        """Free cached memory after a call that did not fit."""
        ...


@dataclass(slots=True)
class BatchSize:
    """Number of atoms per call of one potential in one process.

    Attributes
    ----------
    most : int
        Upper limit of `atoms`, whatever fits into memory.
    meter : Meter or None
        Without a meter `atoms` changes only when a call does not fit.
    atoms : int
        Largest number of atoms of the next call; `most` by default.
    bytes_per_atom : float
        Largest memory per atom of all calls so far.
    """

    most: int
    meter: Meter | None = None
    atoms: int = 0
    bytes_per_atom: float = 0.0

    def __post_init__(self) -> None:
        self.atoms = self.atoms or self.most

    @classmethod
    def of(cls, device: str) -> BatchSize:
        """Initial size on a device.

        Parameters
        ----------
        device : str
            ``cpu`` or a CUDA device, e.g. ``cuda:0``.
        """
        kind = device.partition(":")[0]
        meter: Meter = CudaMeter(device) if kind == "cuda" else ProcessMeter()
        return cls(MOST_ATOMS[kind], meter, min(FIRST_ATOMS, MOST_ATOMS[kind]))

    def begin(self) -> None:
        """Start the measurement of a call."""
        if self.meter is not None:
            self.meter.start()

    def learn(self, atoms: int) -> None:
        """Adapt the size to the memory that a call has taken.

        Parameters
        ----------
        atoms : int
            Number of atoms of the call.
        """
        if self.meter is None or atoms < LARGE * self.atoms:
            return
        taken = self.meter.taken()
        # Counters of the kernel lag behind one another by a few pages, so that differences may be negative.
        if taken is None or taken <= 0:
            return
        self.bytes_per_atom = max(self.bytes_per_atom, taken / atoms)
        fits = int(SHARE * self.meter.free() / self.bytes_per_atom)
        self.atoms = max(1, min(self.most, fits, GROWTH * max(self.atoms, atoms)))

    def halve(self, atoms: int) -> None:
        """Limit all later calls to half the size of one that did not fit into memory.

        Parameters
        ----------
        atoms : int
            Number of atoms of the call.
        """
        self.most = max(1, atoms // 2)
        self.atoms = min(self.atoms, self.most)
        if self.meter is not None:
            self.meter.release()


class ProcessMeter:
    """Memory of this process, limited by that of the machine and of the job."""

    def __init__(self) -> None:
        import psutil
        from distributed.system import memory_limit

        self._process, self._limit = psutil.Process(), memory_limit
        self._resident, self._peak = 0, 0

    def start(self) -> None:
        self._resident, self._peak = self._process.memory_info().rss, _peak_memory()

    def taken(self) -> int | None:
        # The peak is that of the whole process: a call that stays below an earlier peak cannot be measured.
        peak = _peak_memory()
        return peak - self._resident if peak > self._peak else None

    def free(self) -> int:
        import psutil

        own = self._limit() - self._process.memory_info().rss
        return max(0, min(int(psutil.virtual_memory().available), int(own)))

    def release(self) -> None:
        pass


class CudaMeter:
    """Memory of a CUDA device, as counted by torch's allocator.

    Parameters
    ----------
    device : str
        E.g. ``cuda:0``.
    """

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


def _peak_memory() -> int:
    """Peak resident memory of this process since its start, bytes."""
    import resource

    # In kilobytes everywhere but on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def evaluate(
    potential: Potential,
    structures: Sequence[Structure],
    *,
    forces: bool = True,
    atom_energies: bool = False,
    batch: BatchSize | None = None,
) -> list[Evaluation]:
    """Evaluate structures, in calls of the potential that are as large as `batch` allows.

    A call that runs out of memory is repeated in two halves.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure
    forces, atom_energies : bool
        As in `Potential.evaluate`.
    batch : BatchSize, optional
        Size of the calls, which is adapted; that of a new process by default.

    Returns
    -------
    list of Evaluation
        One per structure, in order.

    Raises
    ------
    ModelError
        When the potential returns another number of evaluations than of structures.
    MemoryError, RuntimeError
        When a single structure does not fit into memory.
    """
    batch = batch or BatchSize.of(potential.device)
    queue, evaluations = deque(structures), list[Evaluation]()
    while queue:
        evaluations += _call(potential, _take(queue, batch.atoms), forces, atom_energies, batch)
    return evaluations


def _take(queue: deque[Structure], atoms: int) -> list[Structure]:
    """Remove the next structures that fit together from the queue, at least one."""
    group = [queue.popleft()]
    room = atoms - len(group[0])
    while queue and len(queue[0]) <= room:
        group.append(queue.popleft())
        room -= len(group[-1])
    return group


def _call(
    potential: Potential, group: list[Structure], forces: bool, atom_energies: bool, batch: BatchSize
) -> list[Evaluation]:
    atoms = sum(len(structure) for structure in group)
    batch.begin()
    try:
        evaluations = potential.evaluate(group, forces=forces, atom_energies=atom_energies)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or len(group) == 1:
            raise
    else:
        batch.learn(atoms)
        if len(evaluations) != len(group):
            expected, found = len(group), len(evaluations)
            raise ModelError(f"model {potential.card.name}: expected {expected} evaluations, found {found}")
        return evaluations
    # Outside the handler, whose traceback would keep the memory of the call.
    batch.halve(atoms)
    half = len(group) // 2
    first, second = (_call(potential, part, forces, atom_energies, batch) for part in (group[:half], group[half:]))
    return first + second


@dataclass(frozen=True, slots=True)
class Graph:
    """Structures joined one after the other, n atoms in all.

    Attributes
    ----------
    sizes : tuple of int
        Number of atoms of every structure.
    starts : (structures + 1,) int array
        Index of the first atom of every structure, and n.
    positions : (n, 3) array
        Positions, A.
    numbers : (n,) int array
        Atomic numbers.
    pairs, near : (2, edges) int array
        All ordered pairs of different atoms of one structure, and those of them within the cutoff.
    """

    sizes: tuple[int, ...]
    starts: IntArray
    positions: FloatArray
    numbers: IntArray
    pairs: IntArray
    near: IntArray


def join(structures: Sequence[Structure], cutoff: float) -> Graph:
    """Join structures into one graph.

    Parameters
    ----------
    structures : sequence of Structure
    cutoff : float
        Largest distance of the pairs in `Graph.near`, A.
    """
    return join_arrays(
        [structure.positions for structure in structures], [structure.numbers for structure in structures], cutoff
    )


def join_arrays(positions: Sequence[FloatArray], numbers: Sequence[IntArray], cutoff: float) -> Graph:
    """Join structures, given as arrays, into one graph.

    Parameters
    ----------
    positions : sequence of (N, 3) array
        Positions of every structure, A.
    numbers : sequence of (N,) int array
        Atomic numbers of every structure.
    cutoff : float
        Largest distance of the pairs in `Graph.near`, A.
    """
    sizes = tuple(len(structure) for structure in numbers)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    joined, elements = np.concatenate(positions), np.concatenate(numbers)
    pairs = np.concatenate([_all_pairs(n) + start for n, start in zip(sizes, starts, strict=False)], axis=1)
    distances = np.linalg.norm(joined[pairs[0]] - joined[pairs[1]], axis=1)
    return Graph(sizes, starts, joined, elements, pairs, pairs[:, distances <= cutoff])


def split(
    structures: Sequence[Structure],
    atom_energies: FloatArray,
    forces: FloatArray | None,
    charges: FloatArray | None = None,
    *,
    with_atoms: bool,
) -> list[Evaluation]:
    """Make one `Evaluation` per structure from the values of all atoms.

    Energies are summed here, in float64: in float32 a network's own sum of energies of 1e4 eV is off by 1e-3 eV.

    Parameters
    ----------
    structures : sequence of Structure
        Structures of n atoms in all.
    atom_energies : (n,) array
        Energies of the atoms, eV.
    forces : (n, 3) array or None
        Forces, eV/A.
    charges : (n,) array, optional
        Partial charges, e.
    with_atoms : bool
        Whether to return energies per atom.
    """
    return [
        Evaluation(
            energy=float(energies.sum()),
            forces=own_forces,
            atom_energies=energies if with_atoms else None,
            charges=own_charges,
        )
        for energies, own_forces, own_charges in zip(
            split_atoms(structures, atom_energies),
            split_atoms(structures, forces),
            split_atoms(structures, charges),
            strict=True,
        )
    ]


@overload
def split_atoms(structures: Sequence[Structure], values: FloatArray) -> list[FloatArray]: ...
@overload
def split_atoms(structures: Sequence[Structure], values: FloatArray | None) -> Sequence[FloatArray | None]: ...
def split_atoms(structures: Sequence[Structure], values: FloatArray | None) -> Sequence[FloatArray | None]:
    """Split values of all atoms by structure.

    Parameters
    ----------
    structures : sequence of Structure
        Structures of n atoms in all.
    values : (n, ...) array or None

    Returns
    -------
    sequence of (N, ...) array or None
        None for every structure where there are no values.
    """
    if values is None:
        return [None] * len(structures)
    return np.split(values, np.cumsum([len(structure) for structure in structures])[:-1])


def to_numpy(tensor: torch.Tensor) -> FloatArray:
    """Copy a tensor into a float64 array.

    Parameters
    ----------
    tensor : torch.Tensor
    """
    return tensor.detach().cpu().double().numpy()


def to_tensor(values: ArrayLike, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Make a tensor from an array.

    Parameters
    ----------
    values : array_like
    dtype : torch.dtype
    device : str
    """
    import torch

    return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)


@functools.lru_cache(maxsize=64)
def _all_pairs(n: int) -> IntArray:
    return np.stack(np.nonzero(~np.eye(n, dtype=bool))).astype(np.int64)
