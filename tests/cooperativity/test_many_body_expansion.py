"""Laws of the many-body expansion: what is additive ends at two bodies, nothing is lost, Eq. 1 is read off it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from wrapped import Wrapped

from hbcoop_dist.cooperativity.equation import EV_TO_KCAL, hbond_cooperativity
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments, expand_energy
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.families import toy
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.monomers import build

TRIMER = build(make_chain("arc", 3))
TETRAMER = build(make_chain("linear", 4))
CAPPED = build(make_chain("arc", 3, "water"))


@pytest.fixture(scope="module", params=["so3lr", "gfn2-xtb", "toy"])
def potential(request: pytest.FixtureRequest) -> Potential:
    return registry.load(request.param)


def electronic(potential: Potential, structure: Structure, hbond: int) -> float:
    """Electronic dV of Eq. 1; the isolated dimer cancels from it."""
    dimer = structure.subset(structure.units[hbond - 1 : hbond + 1])
    both = evaluate_fragments(potential, [structure, dimer])
    return hbond_cooperativity(structure, both[0], hbond, dimer, both[1]).electronic


@pytest.mark.parametrize("name", ["amber14", "toy-additive"])
def test_an_additive_model_ends_at_two_bodies(name: str) -> None:
    found = expand_energy(registry.load(name), CAPPED)
    assert abs(found.totals[1]) > 10.0
    assert max(abs(term) for molecules, term in found.terms.items() if len(molecules) > 2) < 1e-9
    assert abs(found.remainder) < 1e-8


@pytest.mark.parametrize("order", [3, 4])
def test_the_toy_ends_at_three_bodies(order: int) -> None:
    found = expand_energy(registry.load("toy"), CAPPED, order)
    assert found.totals[2] < -0.1
    assert abs(found.totals[3:].sum()) < 1e-8
    assert abs(found.remainder) < 1e-8


def test_a_three_body_term_of_the_toy_is_its_closed_form() -> None:
    found = expand_energy(registry.load("toy"), CAPPED, 3)
    for molecules in [(0, 1, 2), (0, 1, 3), (1, 2, 4)]:
        closed = toy.cooperative_energy(CAPPED.subset(molecules), 0, 1)
        assert found.terms[molecules] == pytest.approx(-closed * EV_TO_KCAL, abs=1e-9)


@pytest.mark.parametrize("structure", [TRIMER, TETRAMER], ids=["trimer", "tetramer"])
def test_a_full_expansion_is_the_whole(potential: Potential, structure: Structure) -> None:
    found = expand_energy(potential, structure)
    (whole,) = potential.evaluate([structure], forces=False)
    assert found.totals.sum() == pytest.approx(whole.energy * EV_TO_KCAL, rel=1e-12)
    assert abs(found.remainder) < 1e-8
    assert len(found.terms) == 2 ** len(structure.kinds) - 1


@pytest.mark.parametrize("order", [2, 3, 4])
def test_what_is_cut_off_is_the_remainder(potential: Potential, order: int) -> None:
    full, found = expand_energy(potential, TETRAMER), expand_energy(potential, TETRAMER, order)
    assert found.totals == pytest.approx(full.totals[:order], abs=1e-8)
    assert found.remainder == pytest.approx(full.totals[order:].sum(), abs=1e-8)


def test_a_term_is_inclusion_and_exclusion(potential: Potential) -> None:
    """E_ABC = U_ABC - U_AB - U_AC - U_BC + U_A + U_B + U_C, for other molecules than the first three."""
    signs = {(0, 2, 3): 1, (0, 2): -1, (0, 3): -1, (2, 3): -1, (0,): 1, (2,): 1, (3,): 1}
    energies = potential.evaluate([TETRAMER.subset(molecules) for molecules in signs], forces=False)
    expected = sum(sign * one.energy for sign, one in zip(signs.values(), energies, strict=True))
    assert expand_energy(potential, TETRAMER).terms[0, 2, 3] == pytest.approx(expected * EV_TO_KCAL, abs=1e-6)


def test_the_order_of_the_molecules_does_not_matter(potential: Potential) -> None:
    order = (2, 0, 3, 1)
    mixed = Structure.from_molecules([("nma", TETRAMER.positions[TETRAMER.atoms_of(m)]) for m in order])
    straight, found = expand_energy(potential, TETRAMER), expand_energy(potential, mixed)
    assert found.totals[1:] == pytest.approx(straight.totals[1:], abs=1e-6)
    for molecules, term in found.terms.items():
        assert term == pytest.approx(straight.terms[tuple(sorted(order[m] for m in molecules))], abs=1e-6)


@pytest.mark.parametrize("hbond", [1, 2])
def test_in_a_trimer_the_electronic_part_is_minus_the_three_body_term(potential: Potential, hbond: int) -> None:
    found = expand_energy(potential, TRIMER)
    assert abs(found.terms[0, 1, 2]) > 0.1
    assert electronic(potential, TRIMER, hbond) == pytest.approx(-found.terms[0, 1, 2], abs=1e-8)


@pytest.mark.parametrize("hbond", [1, 2, 3])
def test_the_electronic_part_is_what_a_bond_shares_with_others(potential: Potential, hbond: int) -> None:
    found = expand_energy(potential, TETRAMER).cooperative(hbond - 1, hbond)
    assert found.shape == (2,)
    assert found.sum() == pytest.approx(electronic(potential, TETRAMER, hbond), abs=1e-8)


class _Counted(Wrapped):
    """A model that keeps what it was asked for."""

    def __init__(self, inner: Potential) -> None:
        super().__init__(inner)
        self.asked: list[bytes] = []

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        self.calls += 1
        self.asked += [structure.positions.tobytes() for structure in structures]
        return self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)


@pytest.mark.parametrize(("order", "points"), [(2, 22), (3, 42), (4, 57)])
def test_every_set_is_computed_once_and_in_batches(order: int, points: int) -> None:
    """Six molecules: 6 + 15 + 20 + 15 sets, and the whole."""
    structure = build(make_chain("arc", 2, "water"))
    counted = _Counted(registry.load("toy"))
    expand_energy(counted, structure, order)
    assert len(counted.asked) == len(set(counted.asked)) == points
    assert counted.calls < points / 5


def test_a_dimer_has_no_more_than_two_bodies(potential: Potential) -> None:
    found = expand_energy(potential, build(make_chain("arc", 2)))
    np.testing.assert_array_equal(found.totals[2:], 0.0)
    assert abs(found.remainder) < 1e-8


@pytest.mark.parametrize("order", [0, 1, 5])
def test_other_orders_are_refused(order: int) -> None:
    with pytest.raises(ValueError, match=f"order: expected one of 2, 3, 4, found {order}"):
        expand_energy(registry.load("toy"), TRIMER, order)
