"""Batches in, evaluations out: many structures through one potential, in groups that fit the worker."""

from __future__ import annotations

from collections.abc import Sequence

from hbcoop_dist.models.base import Evaluation, ModelError, Potential
from hbcoop_dist.structures import Structure

# Atoms per model call: more is slower on a CPU core (measured for ANI-2x), so this is not only about memory.
DEFAULT_BATCH_ATOMS = 500


def evaluate(
    potential: Potential,
    structures: Sequence[Structure],
    *,
    forces: bool = True,
    atom_energies: bool = False,
    batch_atoms: int = DEFAULT_BATCH_ATOMS,
) -> list[Evaluation]:
    """Evaluate all structures, at most `batch_atoms` atoms per call of the potential.

    Out of memory halves the batch and goes on; a single structure that does not fit raises.

    Raises
    ------
    ModelError
        When the potential returns another number of evaluations than it was given structures.
    """
    out: list[Evaluation] = []
    for group in _groups(structures, batch_atoms):
        out += _evaluate_group(potential, group, forces, atom_energies)
    return out


def _groups(structures: Sequence[Structure], batch_atoms: int) -> list[list[Structure]]:
    groups: list[list[Structure]] = []
    filled = batch_atoms
    for structure in structures:
        if filled + len(structure) > batch_atoms:
            groups.append([])
            filled = 0
        groups[-1].append(structure)
        filled += len(structure)
    return groups


def _evaluate_group(
    potential: Potential, group: list[Structure], forces: bool, atom_energies: bool
) -> list[Evaluation]:
    try:
        found = potential.evaluate(group, forces=forces, atom_energies=atom_energies)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error) or len(group) == 1:
            raise
        half = len(group) // 2
        return _evaluate_group(potential, group[:half], forces, atom_energies) + _evaluate_group(
            potential, group[half:], forces, atom_energies
        )
    if len(found) != len(group):
        raise ModelError(f"model {potential.card.name}: expected {len(group)} evaluations, found {len(found)}")
    return found


def _out_of_memory(error: BaseException) -> bool:
    # torch.cuda.OutOfMemoryError is a RuntimeError; the CPU allocator only says so in words.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
