"""A call that runs out of memory is repeated in halves, whichever library reports it; other errors are raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from hbcoop_dist.core.failures import is_out_of_memory
from hbcoop_dist.models import Evaluation, Potential, load
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.structures import Structure, monomer


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


FULL = (
    MemoryError(),
    OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("Failed to allocate 8589934592 bytes on device 'cuda:0'"),  # Warp
)


@dataclass(frozen=True, slots=True)
class Small(Potential):
    """The toy on a device with room for two structures."""

    inner: Potential
    error: Exception

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[Evaluation]:
        if len(structures) > 2:
            raise self.error
        return self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)


def small(error: Exception) -> Small:
    toy = load("toy")
    return Small(toy.card, toy.parameter_hash, toy.device, toy, error)


@pytest.mark.parametrize("error", FULL, ids=[str(error)[:25] or "MemoryError" for error in FULL])
def test_a_call_that_runs_out_of_memory_is_halved(error: Exception) -> None:
    assert is_out_of_memory(error)
    batch = BatchSize(500)
    energies = [result.energy for result in evaluate(small(error), [monomer()] * 5, batch=batch)]
    assert energies == [result.energy for result in load("toy").evaluate([monomer()] * 5)]
    assert batch.most <= 2 * len(monomer())


def test_other_errors_are_raised() -> None:
    error = RuntimeError("expected all tensors to be on the same device")
    assert not is_out_of_memory(error)
    with pytest.raises(RuntimeError, match="same device"):
        evaluate(small(error), [monomer()] * 5)


def test_another_number_of_evaluations_is_refused() -> None:
    class Lossy(Small):
        __slots__ = ()

        def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[Evaluation]:
            return self.inner.evaluate(structures)[1:]

    toy = load("toy")
    lossy = Lossy(toy.card, toy.parameter_hash, toy.device, toy, MemoryError())
    with pytest.raises(Exception, match="model toy: expected 3 evaluations, found 2"):
        evaluate(lossy, [monomer()] * 3)
