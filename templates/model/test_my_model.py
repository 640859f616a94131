"""Every model of this distribution keeps the contract; needs the distribution installed, as hbcoop does."""

from __future__ import annotations

import pytest

from hbcoop_dist.models import broken_families, cards, check, load

FAMILY = "my_model"
NAMES = [name for name, card in cards().items() if card.family == FAMILY]


def test_the_family_is_found() -> None:
    """The entry point names a module with CARDS and load."""
    assert NAMES, broken_families().get(FAMILY, f"no entry point {FAMILY}: python -m pip install --editable .")


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_is_kept(name: str) -> None:
    """What `hbcoop models check` prints, asserted."""
    failed = [result for result in check(load(name)) if not result.passed]
    assert not failed, "\n".join(map(str, failed))
