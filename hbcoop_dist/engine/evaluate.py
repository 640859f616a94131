"""Batches in, evaluations out: many structures through one potential, in groups that fit the worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hbcoop_dist.engine.batch_size import BatchSize
from hbcoop_dist.models.base import Evaluation, ModelError, Potential
from hbcoop_dist.structures import Structure


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
