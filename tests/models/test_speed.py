"""Speed and memory are measured in bounded time; no number of seconds is ever asserted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from hbcoop_dist.models import Evaluation, ModelCard, card, load
from hbcoop_dist.models.checks.speed import Rate, dimers, memory, rates
from hbcoop_dist.structures import Structure


def ticking(seconds: float) -> Callable[[], float]:
    """A clock on which every look takes so long."""
    return itertools.count(0.0, seconds).__next__


def test_every_batch_size_has_its_rate() -> None:
    found = list(rates(load("toy"), largest=4))
    assert [(one.batch, one.atoms) for one in found] == [(1, 24), (2, 48), (4, 96)]
    assert all(one.atoms_per_second > 0 for one in found)


def test_no_larger_batch_follows_a_call_that_took_too_long_or_when_the_time_is_up() -> None:
    toy = load("toy")
    assert list(rates(toy, clock=ticking(3.0))) == [Rate(1, 24, 3.0)]
    # two calls of a second each, between five looks at the clock
    assert [one.batch for one in rates(toy, in_all=8.0, clock=ticking(1.0))] == [1, 2]


@dataclass(frozen=True)
class Small:
    """The toy, on a device that holds two dimers."""

    complaint: str
    card: ModelCard = field(default_factory=lambda: card("toy"))

    def evaluate(self, structures: Sequence[Structure], **options: Any) -> list[Evaluation]:
        if len(structures) > 2:
            raise RuntimeError(self.complaint)
        return load("toy").evaluate(structures, **options)


def test_a_batch_that_does_not_fit_is_the_end_and_no_other_error_is() -> None:
    full: Any = Small("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert [one.batch for one in rates(full)] == [1, 2]
    broken: Any = Small("expected all tensors to be on the same device")
    with pytest.raises(RuntimeError, match="same device"):
        list(rates(broken))


def test_dimers_of_a_batch_differ() -> None:
    places = {structure.positions.tobytes() for structure in dimers(8)}
    assert len(places) == 8


def test_memory_of_one_dimer_alone_says_nothing_and_is_not_made_up() -> None:
    found = memory(load("toy"), None, 1)
    assert found.bytes_per_atom is None
    assert "not measured" in found.how
