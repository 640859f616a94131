"""Contract suite for models: test classes for pytest that assert what ``hbcoop models check`` measures.

A test module of a distribution that adds models contains a subclass, and nothing else::

    from hbcoop_dist.testing.models import ModelContract


    class TestMyModel(ModelContract):
        family = "my_model"
"""

from __future__ import annotations

import functools
from typing import ClassVar

import pytest

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.checks.contract import CHECKS, check


@functools.lru_cache(maxsize=1)
def _loaded(name: str) -> Potential:
    return registry.load(name)


class ModelContract:
    """Tests of all registered models of a family; a subclass sets `family`.

    Attributes
    ----------
    family : str
        Name of the family's entry point.
    must_run : tuple of str or None
        Models that have to be available here; the tests of others are skipped where a package or a checkpoint is
        missing. None stands for all models of the family.
    slow : tuple of str
        Models whose tests get the marker ``slow``.
    """

    family: ClassVar[str]
    must_run: ClassVar[tuple[str, ...] | None] = None
    slow: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def names(cls) -> list[str]:
        """Names of the registered models of the family."""
        return [name for name, card in registry.cards().items() if card.family == cls.family]

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Parametrize tests by models and checks."""
        names = cls.names()
        models = [pytest.param(name, marks=pytest.mark.slow if name in cls.slow else ()) for name in names]
        if "model" in metafunc.fixturenames:
            metafunc.parametrize("model", models)
        if "check_name" in metafunc.fixturenames:
            metafunc.parametrize("check_name", list(CHECKS))

    def test_family_is_registered(self) -> None:
        """The entry point exists, and names an instance of `ModelFamily` with cards."""
        reason = registry.broken_families().get(self.family, f"no entry point {self.family} is installed")
        assert self.names(), reason

    def test_card_is_complete(self, model: str) -> None:
        """The card has elements, packages whose versions are recorded, level of theory, licence and citation."""
        card = registry.card(model)
        for part, field in (
            (card.about, "elements"),
            (card.about, "level_of_theory"),
            (card.about, "licence"),
            (card.about, "citation"),
            (card.needs, "packages"),
        ):
            assert getattr(part, field), f"model {model}: expected {field}, found none"

    def test_contract(self, model: str, check_name: str) -> None:
        """The check passes, or the card declares that the law is not kept."""
        state = registry.available(registry.card(model))
        if not state and self.must_run is not None and model not in self.must_run:
            pytest.skip(state.reason)
        assert state, state.reason
        (result,) = check(_loaded(model), only=[check_name])
        assert result.passed, f"{result.measured:.2e}, limit {result.limit}: {result.note}"
