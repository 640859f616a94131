"""Published models, each wherever its checkpoint is here: the contract, and what the paper's text prints of them.

Source: Feng, Xu, Huang, "Benchmarking Universal Machine Learning Force Fields with Hydrogen-Bonding Cooperativity"
(2025), Eq. 1 in NMA polymers of the arc pattern. The ranges are read off its text, not off the figures: the largest
value over all lengths (2 to 12), for all models of a kind. Its methyl rotamers are not known here, and they move ANI's
answer by a factor of 2.5; ours are the default ones, in which ANI-2x meets the paper.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hbcoop_dist.analysis.reference_levels import WITHIN
from hbcoop_dist.models import Potential, available, cards, load
from hbcoop_dist.models.checks.contract import check

pytestmark = [pytest.mark.weights, pytest.mark.timeout(7200)]

PUBLISHED = [name for name, card in cards().items() if card.family in ("ani", "mace", "orb")]
FLAT = 0.05  # kcal/mol from one length to the next


@dataclass(frozen=True)
class Printed:
    """What the text says of a kind of model, arc pattern, kcal/mol.

    Attributes
    ----------
    terminal, middle : (float, float)
        Largest cooperative energy of the head's or tail's H-bond, and of the middle one, bare chains.
    flat : bool
        Whether that is reached with the first neighbour, and does not grow with the chain.
    capped : (float, float) or None
        Of the dimer between four waters.
    """

    terminal: tuple[float, float]
    middle: tuple[float, float]
    flat: bool
    capped: tuple[float, float] | None = None


ANI = Printed(terminal=(0.3, 0.6), middle=(0.4, 1.0), flat=True)
MACE_OFF = Printed(terminal=(1.4, 1.6), middle=(2.8, 3.2), flat=True, capped=(2.2, 2.9))
ORB_V3 = Printed(terminal=(3.5, 4.0), middle=(7.0, 8.0), flat=False)
ORB_V2, ORB_D3_V2 = (
    Printed(terminal=(7.5, 10.0), middle=(18.0, 20.0), flat=False, capped=(water, water)) for water in (2.8, 1.5)
)
PAPER = {
    "ani-2x": ANI,
    "ani-1ccx": ANI,
    **{name: MACE_OFF for name in PUBLISHED if name.startswith("mace-off")},
    "orb-v2": ORB_V2,
    "orb-d3-v2": ORB_D3_V2,
    **{name: ORB_V3 for name in PUBLISHED if name.startswith("orb-v3") and not name.endswith("omol")},
}


@functools.cache
def loaded(name: str) -> Potential:
    return load(name)


def require(name: str) -> None:
    if not (state := available(cards()[name])):
        pytest.skip(state.reason)


def values(compute: Callable[..., Any], name: str, length: int, capping: str = "none") -> dict[str, Any]:
    """Results of one cell of a campaign of short chains, computed once per model."""
    require(name)
    short = {"lengths": [2, 3, 4, 5], "capping": ["none", {"name": "water", "lengths": [2]}]}
    _, _, records = compute(models=[name], patterns=["arc"], **short)
    (record,) = [one for one in records if (one.labels["length"], one.labels["capping"]) == (length, capping)]
    assert record.status == "done", f"{record.labels}: {record.reason}"
    found: dict[str, Any] = record.values
    return found


def within(value: float, ends: tuple[float, float]) -> bool:
    return ends[0] - WITHIN <= value <= ends[1] + WITHIN


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_keeps_the_contract(name: str) -> None:
    require(name)
    failed = [result for result in check(loaded(name)) if not result.passed]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.parametrize("name", PAPER)
def test_the_dimer_is_bound_by_a_hydrogen_bond(compute: Callable[..., Any], name: str) -> None:
    dimer = values(compute, name, 2)
    assert 2.6 < dimer["distance_on"][0] < 3.3
    assert dimer["interaction_energy_dimer"][0] < -3.0


@pytest.mark.parametrize("name", [name for name, printed in PAPER.items() if printed.flat])
def test_cooperativity_of_a_local_model_ends_with_the_first_neighbour(compute: Callable[..., Any], name: str) -> None:
    chains = {length: values(compute, name, length)["cooperative_energy"] for length in (3, 4, 5)}
    for end in (0, 2):
        assert chains[5][end] == pytest.approx(chains[3][end], abs=FLAT)
    assert chains[5][1] == pytest.approx(chains[4][1], abs=FLAT)


@pytest.mark.parametrize("name", [name for name, printed in PAPER.items() if not printed.flat])
def test_cooperativity_of_orb_grows_with_the_chain(compute: Callable[..., Any], name: str) -> None:
    """To five units and beyond; the longest chains here are shorter than the paper's, so only its upper ends hold."""
    chains = {length: values(compute, name, length)["cooperative_energy"] for length in (3, 4, 5)}
    assert max(chains[5][[0, 2]]) > max(chains[3][[0, 2]]) + FLAT
    assert chains[5][1] > chains[4][1] + FLAT
    assert max(chains[5][[0, 2]]) <= PAPER[name].terminal[1] + WITHIN
    assert chains[5][1] <= PAPER[name].middle[1] + WITHIN


BELOW = pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="0.18 at the ends in the default rotamer, where the text prints 0.3 to 0.6 for ANI",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[BELOW] if name == "ani-1ccx" else [])
        for name, printed in PAPER.items()
        if printed.flat
    ],
)
def test_cooperative_energies_are_in_the_paper_s_range(compute: Callable[..., Any], name: str) -> None:
    chains = [values(compute, name, length)["cooperative_energy"] for length in (3, 4, 5)]
    assert within(max(max(chain[0], chain[2]) for chain in chains), PAPER[name].terminal)
    assert within(max(chain[1] for chain in chains), PAPER[name].middle)


@pytest.mark.parametrize("name", [name for name, printed in PAPER.items() if printed.capped is not None])
def test_four_waters_strengthen_the_dimer_as_in_the_paper(compute: Callable[..., Any], name: str) -> None:
    ends = PAPER[name].capped
    assert ends is not None
    assert within(values(compute, name, 2, "water")["cooperative_energy"][0], ends)
