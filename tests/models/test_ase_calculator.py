"""A model that only has an ASE calculator is a model: the same numbers, the same minimum, and a key of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from hbcoop_dist.campaigns.kind import load_campaign, plan
from hbcoop_dist.campaigns.model_tasks import model_text
from hbcoop_dist.models import ModelCard, ModelError, UnknownElementError, available, identity, load
from hbcoop_dist.models.checks.contract import check
from hbcoop_dist.models.families.ase_calculator import calculator_card
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.minimization import minimise, monomer_start
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, Structure, make_chain, monomer
from hbcoop_dist.structures.monomers import build

TBLITE: dict[str, Any] = {"method": "GFN2-xTB", "accuracy": 1e-4, "verbosity": 0}
STIFF = """
campaign: x
models: [{name: mine, calculator: "test_ase_calculator:Springs", kwargs: {stiffness: 2.0}, elements: [H, C, 7, O]}]
lengths: 2
"""


class Springs(Calculator):
    """Every pair of atoms on a spring, half of its energy on each."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "energies"]

    def __init__(self, stiffness: float = 1.0, table: str | None = None) -> None:
        super().__init__()
        self.stiffness = stiffness if table is None else float(Path(table).read_text())

    @classmethod
    def twice(cls, stiffness: float) -> Springs:
        return cls(2 * stiffness)

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        apart = self.atoms.positions[:, None] - self.atoms.positions[None, :]
        energies = 0.25 * self.stiffness * (apart**2).sum(axis=(1, 2))
        forces = -self.stiffness * apart.sum(axis=1)
        self.results = {"energy": float(energies.sum()), "forces": forces, "energies": energies}


class ChargeAware(Springs):
    """Knows molecules by charge and multiplicity, as networks trained on ions and radicals do: 0 is no default here."""

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        self.stiffness = 1.0 + 2.0 * atoms.info["charge"] + 0.5 * (atoms.info["spin"] - 1)
        super().calculate(atoms, properties, system_changes)


def springs(**kwargs: Any) -> ModelCard:
    return calculator_card("mine", "test_ase_calculator:Springs", kwargs, atom_energies=True)


def test_gfn2_through_its_calculator_is_our_gfn2() -> None:
    theirs, ours = load(calculator_card("through-ase", "tblite.ase:TBLite", TBLITE)), load("gfn2-xtb")
    structures = [monomer(), build(make_chain("arc", 2)), build(make_chain("linear", 3, "water"))]
    for one, other in zip(theirs.evaluate(structures), ours.evaluate(structures), strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-6)
        np.testing.assert_allclose(np.asarray(one.forces), np.asarray(other.forces), atol=1e-5)
    system = Chain((), (DEFAULT_ROTAMER,))
    minima = [minimise(potential, [monomer_start(potential, system)])[0].path for potential in (theirs, ours)]
    assert all(path.converged for path in minima)
    assert minima[0].energy == pytest.approx(minima[1].energy, abs=1e-6)


def test_a_small_class_keeps_the_contract() -> None:
    # springs between far molecules are not extensive: nothing real is like that
    failed = {result.name for result in check(load(springs())) if not result.passed}
    assert failed == {"extensivity"}


def test_a_campaign_takes_it_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(STIFF)
    drawn = plan(load_campaign(tmp_path / "spec.yaml"))
    card = drawn.sources["mine"].card
    assert (card.family, card.abilities.batched, card.about.elements) == ("ase", False, (1, 6, 7, 8))
    assert json.loads(model_text(drawn.sources["mine"]))["options"] == {
        "calculator": "test_ase_calculator:Springs",
        "kwargs": '{"stiffness": 2.0}',
    }
    assert load(card).evaluate([monomer()])[0].energy == pytest.approx(
        2 * load(springs()).evaluate([monomer()])[0].energy
    )


def test_a_calculator_that_asks_is_told_neutral_singlet() -> None:
    aware = load(calculator_card("aware", "test_ase_calculator:ChargeAware"))
    for one in (monomer(), build(make_chain("linear", 3, "water"))):
        assert aware.evaluate([one])[0].energy == load(springs()).evaluate([one])[0].energy


def test_a_calculator_made_by_a_method_of_its_class() -> None:
    made = calculator_card("mine", "test_ase_calculator:Springs.twice", {"stiffness": 1.5})
    alike = load(springs(stiffness=3.0))
    assert load(made).evaluate([monomer()])[0].energy == alike.evaluate([monomer()])[0].energy
    assert load(made).parameter_hash != alike.parameter_hash
    with pytest.raises(ModelError, match=r"expected a calculator like .*Class\.method, found 'ase:Springs\.'"):
        calculator_card("mine", "ase:Springs.")


def test_what_it_is_decides_the_key(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text("1.0")
    cards = [springs(), springs(stiffness=2.0), springs(table=str(table))]
    table.write_text("3.0")
    cards.append(springs(table=str(table)))
    assert len({identity(card) for card in cards}) == 4
    assert identity(springs()) == identity(springs())
    with pytest.raises(ModelError, match="expected calculator test_ase_calculator:Springs as planned"):
        load(cards[2])
    assert ModelSource(cards[3], identity(cards[3])).identity == load(cards[3]).parameter_hash


def test_files_beside_the_campaign_are_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("4.0")
    text = STIFF.replace("stiffness: 2.0", "table: table")
    (tmp_path / "spec.yaml").write_text(text)
    assert load_campaign(tmp_path / "spec.yaml").models[0].kwargs == {"table": str(tmp_path / "table")}


def test_what_cannot_be_made_says_so() -> None:
    with pytest.raises(ModelError, match=r"kwargs \{\"wrong\": 1\}, found TypeError.*wrong"):
        load(springs(wrong=1))
    missing = calculator_card("mine", "ase.calculators.emt:NoSuchClass")
    assert available(missing)
    with pytest.raises(ModelError, match=r"expected calculator ase\.calculators\.emt:NoSuchClass.*AttributeError"):
        load(missing)
    with pytest.raises(UnknownElementError, match="found Og"):
        load(springs()).evaluate([Structure(np.array([118]), np.zeros((1, 3)), np.array([0]), ("other",))])


def test_a_card_is_made_without_importing_the_package() -> None:
    program = (
        "import sys; from hbcoop_dist.models.families.ase_calculator import calculator_card\n"
        "assert calculator_card('x', 'tblite.ase:TBLite').needs.packages == ('tblite',)\n"
        "assert not {'tblite', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
