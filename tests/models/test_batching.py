"""Batches: what is over makes room for what waits, what does not fit is halved once and for all, memory is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from wrapped import Wrapped

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.batching import FIRST_ATOMS, MOST_ATOMS, BatchSize, ProcessMeter, evaluate
from hbcoop_dist.optimize.minimization import minimise, monomer_start
from hbcoop_dist.structures import Chain, Structure, make_chain, monomer
from hbcoop_dist.structures.chains import Rotamer
from hbcoop_dist.structures.construction import build


@pytest.fixture(scope="module")
def toy() -> Potential:
    return registry.load("toy")


class _Watched(Wrapped):
    """The toy, and how many structures each of its calls had; more than `room` at once do not fit into memory."""

    room = 1000

    def __init__(self, inner: Potential) -> None:
        super().__init__(inner)
        self.sizes: list[int] = []

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        self.sizes.append(len(structures))
        if len(structures) > self.room:
            raise MemoryError
        return self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)


def test_what_is_converged_makes_room_for_what_waits(toy: Potential) -> None:
    """Monomers that need different numbers of calls, three at a time: calls stay full to the last few."""
    rotamers = [Rotamer(a, c) for a in ("cis-N", "cis-O") for c in ("cis-C", "trans-C")] * 3
    starts = [monomer_start(toy, Chain((), (rotamer,))) for rotamer in rotamers]
    kicks = np.linspace(0.0, 0.1, len(starts))
    starts = [type(s)(s.chain, s.q * (1.0 + kick), s.hessian) for s, kick in zip(starts, kicks, strict=True)]
    watched = _Watched(toy)
    found = minimise(watched, starts, batch=BatchSize(36))
    assert all(one.path.converged for one in found)
    assert len({one.path.force_calls for one in found}) > 1
    assert max(watched.sizes) == 3
    first_short = next(k for k, size in enumerate(watched.sizes) if size < 3)
    assert first_short > 0.7 * len(watched.sizes)
    assert sum(watched.sizes) == sum(one.path.force_calls for one in found)


def test_what_did_not_fit_once_is_not_tried_again(toy: Potential) -> None:
    crowded, batch = _Watched(toy), BatchSize(500)
    crowded.room = 2
    structures = [monomer()] * 7
    energies = [e.energy for e in evaluate(toy, structures)]
    assert [e.energy for e in evaluate(crowded, structures, batch=batch)] == energies
    assert max(crowded.sizes) == 7
    crowded.sizes.clear()
    assert [e.energy for e in evaluate(crowded, structures, batch=batch)] == energies
    assert max(crowded.sizes) <= 2


def test_one_structure_that_does_not_fit_raises(toy: Potential) -> None:
    crowded = _Watched(toy)
    crowded.room = 0
    with pytest.raises(MemoryError):
        evaluate(crowded, [monomer()] * 3)


def test_a_structure_larger_than_the_batch_goes_alone(toy: Potential) -> None:
    watched = _Watched(toy)
    structures = [monomer(), build(make_chain("arc", 4)), monomer(), monomer()]
    found = evaluate(watched, structures, batch=BatchSize(24))
    assert watched.sizes == [1, 1, 2]
    assert [e.energy for e in found] == [e.energy for e in evaluate(toy, structures)]


class _GivenMeter:
    """A stand-in for a device: every call takes so many bytes an atom, and so many are free."""

    def __init__(self, per_atom: float, free: int) -> None:
        self.per_atom, self.bytes_free, self.atoms, self.released = per_atom, free, 0, 0

    def start(self) -> None:
        pass

    def taken(self) -> int:
        return int(self.per_atom * self.atoms)

    def free(self) -> int:
        return self.bytes_free

    def release(self) -> None:
        self.released += 1


def sizes(meter: _GivenMeter, most: int, rounds: int) -> list[int]:
    batch, out = BatchSize(most, meter, 500), []
    for _ in range(rounds):
        meter.atoms = batch.atoms
        batch.begin()
        batch.learn(batch.atoms)
        out.append(batch.atoms)
    return out


def test_batches_grow_as_far_as_memory_goes_and_not_at_once() -> None:
    assert sizes(_GivenMeter(1e6, 10**10), 20_000, 4) == [2000, 6000, 6000, 6000]
    assert sizes(_GivenMeter(1e6, 10**12), 20_000, 4) == [2000, 8000, 20_000, 20_000]
    assert sizes(_GivenMeter(1e6, 10**8), 20_000, 2) == [60, 60]
    assert sizes(_GivenMeter(1e6, 10**3), 20_000, 2) == [1, 1]


def test_a_small_call_says_nothing_about_a_large_one() -> None:
    meter = _GivenMeter(1e9, 10**9)
    batch, meter.atoms = BatchSize(20_000, meter, 500), 12
    batch.begin()
    batch.learn(12)
    assert batch.atoms == 500


def test_a_batch_that_did_not_fit_gives_back_what_was_cached() -> None:
    meter = _GivenMeter(1.0, 10**12)
    batch = BatchSize(20_000, meter, 8000)
    batch.halve(8000)
    meter.atoms = 4000
    batch.learn(4000)
    assert (batch.atoms, meter.released) == (4000, 1)


def test_the_memory_of_a_process_is_measured() -> None:
    meter = ProcessMeter()
    meter.start()
    peak = np.ones(60_000_000)  # 480 MB, more than the process held so far
    taken = meter.taken()
    del peak
    assert taken is None or 4.0e8 < taken < 6.0e8
    assert meter.free() > 0
    meter.start()
    assert meter.taken() is None


def test_a_fresh_batch_size_is_that_of_its_device() -> None:
    cpu = BatchSize.of("cpu")
    assert (cpu.most, cpu.atoms) == (MOST_ATOMS["cpu"], FIRST_ATOMS)
    cuda = BatchSize.of("cuda:1")
    assert (cuda.most, cuda.atoms) == (MOST_ATOMS["cuda"], FIRST_ATOMS)
