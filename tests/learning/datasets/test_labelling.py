"""Labels of a teacher obey the laws of the energy, the charge and the dipole; what has none is listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from ase.units import Bohr, Hartree

from hbcoop_dist.learning.datasets.cluster_generation import IONIC_MONOMERS, Monomer, generate_clusters
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure, UnlabelledStructure
from hbcoop_dist.learning.datasets.labelling import APART, Labels, charge_leak, label
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelError

AMMONIUM, FORMATE, WATER = IONIC_MONOMERS[:3]
COULOMB = Hartree * Bohr


def beside(one: Monomer, other: Monomer, distance: float) -> UnlabelledStructure:
    positions = np.concatenate([one.positions, other.positions + [distance, 0.0, 0.0]])
    owner = np.repeat([0, 1], [len(one.numbers), len(other.numbers)])
    numbers = np.concatenate([one.numbers, other.numbers])
    return UnlabelledStructure(numbers, positions, owner, (one.charge, other.charge), "pair", "pair")


@pytest.fixture(scope="module")
def ionic() -> tuple[LabelledStructure, ...]:
    pytest.importorskip("tblite", reason="labels of GFN2-xTB need tblite")
    found = label(generate_clusters("ionic", 24, seed=0), "gfn2-xtb")
    assert not found.dropped
    return found.structures


def test_charges_sum_to_the_charge(ionic: tuple[LabelledStructure, ...]) -> None:
    for one in ionic:
        assert one.charges is not None
        assert one.charges.sum() == pytest.approx(one.charge, abs=1e-6)


def test_forces_sum_to_nothing(ionic: tuple[LabelledStructure, ...]) -> None:
    for one in ionic:
        assert one.forces is not None
        np.testing.assert_allclose(one.forces.sum(axis=0), 0.0, atol=1e-5)


def test_one_molecule_has_no_interaction(ionic: tuple[LabelledStructure, ...]) -> None:
    for one in ionic:
        assert (one.interaction_energy is None) == (len(one.molecule_charges) == 1)


def test_far_ions_repel_as_points(ionic: tuple[LabelledStructure, ...]) -> None:
    del ionic
    distance = 40.0
    (pair,) = label([beside(AMMONIUM, AMMONIUM, distance)], "gfn2-xtb").structures
    assert pair.interaction_energy == pytest.approx(COULOMB / distance, rel=1e-3)


def test_the_dipole_of_a_charge_moves_with_it(ionic: tuple[LabelledStructure, ...]) -> None:
    one = next(one for one in ionic if one.charge == -1)
    shift = np.array([1.0, -2.0, 0.5])
    (moved,) = label([replace(one, positions=one.positions + shift)], "gfn2-xtb").structures
    assert one.dipole is not None
    assert moved.dipole is not None
    np.testing.assert_allclose(moved.dipole - one.dipole, -shift, atol=1e-5)
    assert moved.energy == pytest.approx(one.energy, abs=1e-7)


def test_a_leak_is_charge_on_a_molecule_far_from_others() -> None:
    base = beside(WATER, WATER, 10.0)
    charges = np.array([-0.6, 0.3, 0.1, -0.6, 0.3, 0.5])
    one = LabelledStructure(
        base.numbers, base.positions, 0.0, None, "p", "d", 0, charges, None, base.molecules, base.molecule_charges
    )
    assert charge_leak(one) == pytest.approx(0.2)
    near = beside(WATER, WATER, APART - 1.0)
    assert charge_leak(replace(one, positions=near.positions)) == 0.0
    assert charge_leak(replace(one, charges=None)) == 0.0

    def ask(questions: Sequence[UnlabelledStructure]) -> list[Labels | str]:
        return [Labels(0.0, None, charges[: len(question.numbers)], None) for question in questions]

    assert label([base], ask).structures
    (dropped,) = label([base], ask, largest_leak=0.1).dropped
    assert "0.20 e" in dropped.reason


def test_what_the_teacher_cannot_do_is_listed_and_the_others_stay() -> None:
    def ask(questions: Sequence[UnlabelledStructure]) -> list[Labels | str]:
        return ["no convergence" if len(one.numbers) == 5 else _answer(one) for one in questions]

    def _answer(one: UnlabelledStructure) -> Labels:
        return Labels(float(len(one.numbers)), np.zeros((len(one.numbers), 3)), None, None)

    found = label([beside(WATER, WATER, 4.0), beside(AMMONIUM, WATER, 4.0), beside(WATER, FORMATE, 4.0)], ask)
    assert [len(one) for one in found.structures] == [6, 7]
    assert [(one.index, one.reason) for one in found.dropped] == [(1, "no convergence")]
    assert [one.interaction_energy for one in found.structures] == [0.0, 0.0]


def test_labels_that_are_no_numbers_are_listed() -> None:
    def ask(questions: Sequence[UnlabelledStructure]) -> list[Labels | str]:
        return [Labels(float("nan"), None, None, None) for _ in questions]

    found = label(generate_clusters("neutral", 1, seed=0), ask)
    assert not found.structures
    assert "finite" in found.dropped[0].reason


def test_a_registered_model_labels_what_is_neutral() -> None:
    if not (state := registry.available(registry.card("so3lr"))):
        pytest.skip(state.reason)
    chains = generate_clusters("nma", 2, seed=0, sizes=(1, 2))
    found = label(chains, "so3lr").structures
    assert [one.interaction_energy is None for one in found] == [True, False]
    assert all(one.charges is not None and one.dipole is None for one in found)
    with pytest.raises(ModelError, match="neutral molecules"):
        label([beside(AMMONIUM, FORMATE, 4.0)], "so3lr")
