"""Noise floor: a model that keeps the contract is below its bounds, what is put in is found, members mean the model."""

from __future__ import annotations

import functools
import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from wrapped import Wrapped

from hbcoop_dist.cooperativity import fragment_energies as sensitivity
from hbcoop_dist.cooperativity.equation import EV_TO_KCAL, FragmentEnergies, hbond_cooperativity
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.models import available, card, load
from hbcoop_dist.models.base import Evaluation, ModelError, Potential
from hbcoop_dist.models.families import ani
from hbcoop_dist.models.families.ani import AniPotential
from hbcoop_dist.references import bundled_geometry, read_reference_set
from hbcoop_dist.structures import Structure, make_chain

POINTS = 7
"""Energies that Eq. 1 adds up: its noise is at most that many times one energy's."""
ROTATION = 1e-7 * POINTS * EV_TO_KCAL
BATCH = 1e-8 * POINTS * EV_TO_KCAL
"""kcal/mol, from the contract's bounds of a float64 energy."""


def bond_of(length: int, hbond: int) -> sensitivity.ChainHBond:
    folder = bundled_geometry("nma-so3lr")
    assert folder is not None
    known, chain = read_reference_set(folder), make_chain("arc", length)
    return sensitivity.ChainHBond(known.structure(chain), hbond, known.structure(chain.dimer(hbond)))


BOND = bond_of(3, 1)

_once = functools.cache(load)


def loaded(name: str) -> Potential:
    if not (here := available(card(name))):
        pytest.skip(here.reason)
    return _once(name)


@pytest.fixture(scope="module", params=[one.name for one in ani.FAMILY.cards])
def ensemble(request: pytest.FixtureRequest) -> AniPotential:
    potential = loaded(request.param)
    assert isinstance(potential, AniPotential)
    return potential


@pytest.mark.parametrize("name", ["so3lr", "ani-2x", "gfn2-xtb", "amber14", "amoeba2018", "toy"])
def test_noise_of_float64_is_within_the_contract(name: str) -> None:
    potential = loaded(name)
    assert potential.card.abilities.dtype == "float64"
    turned, batched = sensitivity.under_rotation(potential, BOND), sensitivity.under_batching(potential, BOND)
    assert (turned.others.shape, batched.others.shape) == ((8,), (5,))
    assert turned.value == pytest.approx(batched.value, abs=BATCH)
    assert turned.largest < ROTATION
    assert batched.largest < BATCH


@pytest.mark.parametrize(("length", "hbond"), [(2, 1), (4, 2), (4, 3)])
def test_the_value_is_equation_one(length: int, hbond: int) -> None:
    bond, potential = bond_of(length, hbond), loaded("toy")
    both = evaluate_fragments(potential, [bond.structure, bond.dimer])
    expected = hbond_cooperativity(bond.structure, both[0], hbond, bond.dimer, both[1]).total
    for spread in (sensitivity.under_rotation(potential, bond), sensitivity.under_batching(potential, bond)):
        assert spread.value == pytest.approx(expected, abs=1e-9)
        assert spread.others == pytest.approx(expected, abs=1e-9)


def test_a_turn_moves_complex_and_dimer_alike() -> None:
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    turned = BOND.rotated(turn)
    for one, before in ((turned.structure, BOND.structure), (turned.dimer, BOND.dimer)):
        np.testing.assert_allclose(one.positions @ turn, before.positions, atol=1e-12)
        assert np.abs(one.positions - before.positions).max() > 0.1


class _Spoilt(Wrapped):
    """A model whose energies depend on what they must not; the cube of a size is not additive over pairs."""

    orientation = company = 0.0

    def __init__(self, inner: Potential) -> None:
        super().__init__(inner)
        self.sizes: list[int] = []

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        self.sizes.append(len(structures))
        found = self.inner.evaluate(structures, forces=forces, atom_energies=False)
        wrong = [
            self.orientation * float(np.ptp(one.positions[:, 0])) + self.company * (len(structures) > 1) * len(one) ** 3
            for one in structures
        ]
        return [replace(one, energy=one.energy + more) for one, more in zip(found, wrong, strict=True)]


@pytest.fixture
def spoilt() -> _Spoilt:
    wrapped = _Spoilt(loaded("toy"))
    wrapped.card = wrapped.card.with_fields(atom_energies=False)
    return wrapped


def test_a_model_that_is_not_invariant_is_found_out(spoilt: _Spoilt) -> None:
    spoilt.orientation = 1e-4
    assert sensitivity.under_rotation(spoilt, BOND).largest > 100 * ROTATION
    assert sensitivity.under_batching(spoilt, BOND).largest < BATCH


def test_a_model_that_looks_at_the_batch_is_found_out(spoilt: _Spoilt) -> None:
    spoilt.company = 1e-8
    assert sensitivity.under_batching(spoilt, BOND).largest > 100 * BATCH
    assert sensitivity.under_rotation(spoilt, BOND).largest < ROTATION


def test_fragments_come_alone_together_and_in_between(spoilt: _Spoilt) -> None:
    sensitivity.under_batching(spoilt, BOND)
    everything = sum(len(pieces) for pieces in BOND.fragments())
    assert sum(spoilt.sizes) == 6 * everything
    assert {1, everything} < set(spoilt.sizes)


def test_float32_is_noisier_than_a_turn_and_still_small() -> None:
    potential = loaded("so3lr")
    found = sensitivity.in_float_type(potential, load(card("so3lr").with_fields(dtype="float32")), BOND)
    assert ROTATION < found.largest < 0.05
    assert found.others.shape == (9,)


def test_the_same_float_type_adds_nothing_but_the_turn() -> None:
    potential = loaded("gfn2-xtb")
    assert sensitivity.in_float_type(potential, potential, BOND).largest < ROTATION


def test_members_mean_the_model_and_differ(ensemble: AniPotential) -> None:
    """Eq. 1 is linear, so what the members say of a bond means what their mean says."""
    (found,) = sensitivity.cooperativities(ensemble, [BOND])
    both = evaluate_fragments(ensemble, [BOND.structure, BOND.dimer])
    alone = np.array([_of_member(both, member) for member in range(8)])
    assert alone.mean() == pytest.approx(found.total, abs=BATCH)
    assert np.unique(alone.round(4)).size == 8
    assert found.spread["total"] == pytest.approx(alone.std(ddof=1), abs=BATCH)
    assert found.spread["total"] > 1000 * BATCH


def _of_member(both: list[FragmentEnergies], member: int) -> float:
    here, alone = (
        FragmentEnergies(one.fragments, np.array([one.by_member(piece)[member] for piece in one.fragments]))
        for one in both
    )
    return hbond_cooperativity(BOND.structure, here, 1, BOND.dimer, alone).total


@pytest.mark.parametrize("name", ["amber14", "toy"])
def test_what_is_no_ensemble_has_no_spread(name: str) -> None:
    potential = loaded(name)
    (found,) = sensitivity.cooperativities(potential, [BOND])
    assert found.spread == {}
    (energies,) = evaluate_fragments(potential, [BOND.dimer])
    with pytest.raises(ValueError, match="found a model that is no ensemble"):
        energies.by_member((0,))


def test_a_spread_is_measured_from_its_value() -> None:
    found = sensitivity.Variation(1.0, np.array([2.0, 4.0]))
    assert found.largest == 3.0


def test_the_script_has_a_row_per_model_and_chain(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main = runpy.run_path(str(Path(__file__).resolve().parents[2] / "analysis" / "sensitivity.py"))["main"]
    path = tmp_path / "sensitivity.csv"
    main(["toy", "amber14"], output=path)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    written = pd.read_csv(path)
    assert written["model"].tolist() == ["toy", "toy", "amber14", "amber14"]
    assert written["rotation"].max() < ROTATION
    assert [row[:2] for row in rows] == [["toy", "3"], ["toy", "4"], ["amber14", "3"], ["amber14", "4"]]
    assert max(float(row[3]) for row in rows) < ROTATION
    assert max(float(row[4]) for row in rows) < BATCH
    assert all(row[5:] == ["-", "-", "-"] for row in rows)
    main(["toy"], length=[3], output=path)
    assert pd.read_csv(path)["model"].tolist() == ["amber14", "amber14", "toy"], "rows of other models stay"
    with pytest.raises(ValueError, match="geometry nma-so3lr: expected arc chain of 7, found no"):
        main(["toy"], length=[7])
    with pytest.raises(ModelError, match="model 'to' is not known; near: toy"):
        main(["to"])
