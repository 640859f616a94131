"""The sanity laws of the design (section 2), on geometries of the toy and with several models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from toy_ensemble import SPREAD, ToyEnsemble
from wrapped import Wrapped

from hbcoop_dist.cooperativity.equation import (
    EV_TO_KCAL,
    FRAGMENTS,
    Cooperativity,
    cooperativity_from_points,
    hbond_cooperativity,
)
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.monomers import build


def eq1(potential: Potential, structure: Structure, hbond: int) -> Cooperativity:
    """Eq. 1 with the isolated dimer a little shorter than in the chain, so that every part is there."""
    pair = structure.units[hbond - 1 : hbond + 1]
    dimer = structure.subset(pair)
    x = dimer.positions.copy()
    x[12:] += 0.03 * (x[3] - x[15]) / np.linalg.norm(x[3] - x[15])
    dimer = dimer.with_positions(x)
    both = evaluate_fragments(potential, [structure, dimer])
    return hbond_cooperativity(structure, both[0], hbond, dimer, both[1])


@pytest.mark.parametrize("point", FRAGMENTS)
def test_every_point_enters_equation_one_with_its_sign(point: str) -> None:
    """Raising one energy by 1 eV changes dV and its parts by one unit of conversion, or not at all."""
    raised = cooperativity_from_points(np.eye(len(FRAGMENTS))[FRAGMENTS.index(point)])
    signs = {"ABC": -1, "BC": 1, "AC": 1, "C": -1, "AB": 1, "A": -1, "B": -1}
    rigid = {"AB_complex": 1, "A_complex": -1, "B_complex": -1}
    inside = signs.get(point, 0) if point in FRAGMENTS[:4] else 0
    isolated = signs.get(point, 0) if point in FRAGMENTS[4:7] else 0
    assert raised.total == pytest.approx(23.060548 * signs.get(point, 0), rel=1e-6)
    assert raised.electronic == pytest.approx(23.060548 * (inside + rigid.get(point, 0)), rel=1e-6)
    assert raised.geometric == pytest.approx(23.060548 * (isolated - rigid.get(point, 0)), rel=1e-6)
    assert raised.interaction == pytest.approx(-23.060548 * inside, rel=1e-6)
    assert raised.interaction_dimer == pytest.approx(23.060548 * isolated, rel=1e-6)


def test_the_spread_is_the_sample_deviation_over_members() -> None:
    points = np.zeros((len(FRAGMENTS), 3))
    points[0] = [0.0, 0.1, 0.2]
    spread = cooperativity_from_points(points.mean(axis=1), member_points=points).spread
    assert spread["total"] == pytest.approx(0.1 * EV_TO_KCAL)
    assert spread["geometric"] == 0.0


CHAIN = build(make_chain("arc", 4, "water"))
LINEAR = build(make_chain("linear", 4))


@pytest.fixture(scope="module", params=["so3lr", "gfn2-xtb", "toy"])
def potential(request: pytest.FixtureRequest) -> Potential:
    return registry.load(request.param)


@pytest.mark.parametrize("name", ["amber14", "toy-additive"])
@pytest.mark.parametrize("structure", [CHAIN, LINEAR], ids=["capped arc", "linear"])
def test_an_additive_model_has_no_electronic_part(name: str, structure: Structure) -> None:
    model = registry.load(name)
    for hbond in (1, 2, 3):
        found = eq1(model, structure, hbond)
        assert abs(found.electronic) < 1e-9
        assert abs(found.geometric) > 1e-3


def test_a_cooperative_model_has_one(potential: Potential) -> None:
    assert eq1(potential, LINEAR, 2).electronic > 0.1


@pytest.mark.parametrize("name", ["ani-2x", "toy"])
def test_units_beyond_the_receptive_field_do_nothing(name: str) -> None:
    if not (here := registry.available(registry.card(name))):
        pytest.skip(here.reason)
    x = build(make_chain("arc", 3)).positions
    away = x.copy()
    away[24:] += [0.0, 60.0, 0.0]
    structure = build(make_chain("arc", 3)).with_positions(away)
    assert abs(eq1(registry.load(name), structure, 1).electronic) < 1e-9


def test_total_is_electronic_plus_geometric(potential: Potential) -> None:
    found = eq1(potential, LINEAR, 2)
    assert found.total == pytest.approx(found.electronic + found.geometric, abs=1e-9)
    assert found.total == pytest.approx(found.interaction_dimer - found.interaction, abs=1e-9)
    abc, bc, ac, c, ab, a, b, *_ = found.points
    assert found.total == pytest.approx(-(abc - bc - ac + c - ab + a + b) * 23.060548, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("hbond", [1, 2, 3])
def test_a_spread_is_that_of_what_members_say(hbond: int) -> None:
    """Members differ in a factor of the electronic part alone; an ensemble says what their mean says."""
    found, alone = eq1(ToyEnsemble(), LINEAR, hbond), eq1(registry.load("toy"), LINEAR, hbond)
    assert found.total == alone.total
    assert alone.spread == {}
    for name, expected in (("electronic", found.electronic), ("total", found.electronic), ("geometric", 0.0)):
        assert found.spread[name] == pytest.approx(SPREAD * expected, abs=1e-9), name


def test_rotation_and_translation_change_nothing(potential: Potential) -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    moved = LINEAR.with_positions(LINEAR.positions @ rotation.T + [5.0, -50.0, 20.0])
    assert eq1(potential, moved, 2).total == pytest.approx(eq1(potential, LINEAR, 2).total, abs=1e-6)


def test_reversing_the_chain_swaps_labels_only(potential: Potential) -> None:
    """Unit k becomes unit n + 1 - k: H-bond i is then H-bond n - i, and A and B change names."""
    turned = Structure.from_molecules([("nma", LINEAR.positions[LINEAR.atoms_of(u)]) for u in reversed(LINEAR.units)])
    forward, backward = evaluate_fragments(potential, [LINEAR, turned])
    dimers = evaluate_fragments(potential, [LINEAR.subset((0, 1)), turned.subset((2, 3))])
    one = hbond_cooperativity(LINEAR, forward, 1, LINEAR.subset((0, 1)), dimers[0])
    other = hbond_cooperativity(turned, backward, 3, turned.subset((2, 3)), dimers[1])
    assert other.total == pytest.approx(one.total, abs=1e-6)
    assert other.points[[0, 2, 1, 3]] == pytest.approx(one.points[:4], abs=1e-7)


class _Shifted(Wrapped):
    """A model whose self-energies are shifted element by element."""

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        found = self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)
        out = []
        for structure, one in zip(structures, found, strict=True):
            shift = 100.0 * structure.numbers
            atoms = None if one.atom_energies is None else one.atom_energies + shift
            out.append(Evaluation(one.energy + float(shift.sum()), one.forces, atoms))
        return out


def test_a_shift_of_self_energies_changes_nothing(potential: Potential) -> None:
    assert eq1(_Shifted(potential), LINEAR, 2).total == pytest.approx(eq1(potential, LINEAR, 2).total, abs=1e-6)


class _Reordered(Wrapped):
    """A model that sees the atoms of every molecule in another order."""

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        turned, orders = [], []
        for s in structures:
            order = np.concatenate([s.atoms_of(m)[::-1] for m in range(len(s.kinds))])
            orders.append(order)
            turned.append(
                Structure(s.numbers[order], s.positions[order], s.molecules[order], ("other",) * len(s.kinds))
            )
        found = self.inner.evaluate(turned, forces=forces, atom_energies=atom_energies)
        back = [np.argsort(order) for order in orders]
        return [
            Evaluation(e.energy, None, None if e.atom_energies is None else e.atom_energies[b])
            for e, b in zip(found, back, strict=True)
        ]


@pytest.mark.parametrize("name", ["so3lr", "gfn2-xtb"])
def test_atom_order_inside_a_molecule_changes_nothing(name: str) -> None:
    model = registry.load(name)
    assert eq1(_Reordered(model), LINEAR, 2).total == pytest.approx(eq1(model, LINEAR, 2).total, abs=1e-6)


@pytest.mark.parametrize("structure", [CHAIN, LINEAR], ids=["capped arc", "linear"])
def test_atomic_terms_sum_to_equation_one(potential: Potential, structure: Structure) -> None:
    """Eqs. 2 to 5, to round-off, the C term kept."""
    if not potential.card.abilities.atom_energies:
        pytest.skip(f"{potential.card.name} gives no per-atom energies")
    found = eq1(potential, structure, 2)
    assert found.atoms is not None
    assert found.atoms.sum() == pytest.approx(found.total, abs=1e-8)
