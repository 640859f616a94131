"""A potential around another one, for tests that spoil or change what a model says."""

from __future__ import annotations

from pathlib import Path

from hbcoop_dist.models.base import Potential


class Wrapped:
    """Everything of the inner potential but `evaluate`, which the test writes."""

    def __init__(self, inner: Potential) -> None:
        self.inner, self.calls = inner, 0
        self.card, self.parameter_hash, self.device = inner.card, inner.parameter_hash, inner.device

    def with_scratch(self, folder: Path) -> Wrapped:
        return self
