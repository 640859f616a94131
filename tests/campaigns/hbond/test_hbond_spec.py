"""Specs of chains: what is accepted, and error messages that name file, line, field, expected and found."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path

import pytest

from hbcoop_dist.campaigns.hbond.plan import make_plan
from hbcoop_dist.campaigns.hbond.spec import cells_of, load_spec
from hbcoop_dist.campaigns.kind import load_campaign
from hbcoop_dist.campaigns.spec_fields import CampaignError
from hbcoop_dist.models import registry

GOOD = "campaign: x\nmodels: [toy]\nlengths: [2, 3]\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def test_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, GOOD))
    assert (spec.kind, spec.patterns, spec.geometry) == ("hbond", ("arc",), ("own",))
    assert [c.name for c in spec.capping] == ["none"]
    assert spec.rotamer_labels == ("cis-N, trans-C",)
    assert (spec.minimize.max_force, spec.constraint) == (1.0e-5, ("torsions",))


@pytest.mark.parametrize("text", ['"2..4"', "[2, 3, 4]", '["2..3", 4]', "[4, 3, 2, 2]"])
def test_lengths_in_every_spelling(tmp_path: Path, text: str) -> None:
    spec = load_spec(written(tmp_path, f"campaign: x\nmodels: [toy]\nlengths: {text}\n"))
    assert spec.lengths == (2, 3, 4)


def test_the_grid_is_the_product_and_a_capping_may_name_its_lengths(tmp_path: Path) -> None:
    spec = load_campaign(
        written(
            tmp_path,
            """
            campaign: x
            models: [toy, toy-additive]
            patterns: [arc, linear]
            lengths: "2..4"
            capping: [none, {name: water, lengths: [2]}]
            rotamer: [default, {odd: "cis-N, cis-C"}]
            """,
        )
    )
    cells = cells_of(spec)
    assert len(cells) == 2 * 2 * (3 + 1) * 2
    assert len(set(cells)) == len(cells)
    assert {str(c.chain.rotamers[0]) for c in cells if c.rotamer == "odd: cis-N, cis-C; all: cis-N, trans-C"} == {
        "cis-N, cis-C"
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "colour: red\n", r"spec\.yaml:4: field colour: unknown field; expected campaign, kind, models"),
        ("campaign: x\nmodels: [gfn2-xbt]\nlengths: 2\n", r":2: field models\[0\]: .*near: gfn2-xtb.*found 'gfn2-xbt'"),
        (
            "campaign: x\nmodels: [toy]\nlengths: [3, 1]\n",
            r":3: field lengths: expected lengths from 2 to 200, found \[3",
        ),
        (
            "campaign: x\nmodels: [toy]\nlengths: 2-4\n",
            r':3: field lengths: expected whole numbers or ranges.*"2\.\.12".*2-4',
        ),
        ("campaign: x\nmodels: [toy]\n", r":1: field lengths: expected a value, found none"),
        (GOOD + "patterns: [arc, lineer]\n", r":4: field patterns\[1\]: expected 'arc' or 'linear', found 'lineer'"),
        (GOOD + "capping: [{name: water, lenghts: [2]}]\n", r":4: field capping\[0\]\.lenghts: unknown field"),
        (GOOD + "minimize: {max_force: -1}\n", r":4: field minimize\.max_force: expected greater than 0, found -1"),
        (GOOD + 'rotamer: "cis-N, cis-X"\n', r":4: field rotamer.*found 'cis-N, cis-X'"),
        (GOOD + "kind: hbonds\n", r":4: field kind: expected 'hbond', found 'hbonds'"),
        ("campaign: x\nmodels: [toy, toy]\nlengths: 2\n", r":2: field models: expected every name once, found toy"),
        (
            "campaign: x\nmodels: [{name: my, family: ani}]\nlengths: 2\n",
            r":2: .*expected a checkpoint beside family ani",
        ),
        (
            "campaign: x\nmodels: [{name: my, calculator: no_such_package.calc:C}]\nlengths: 2\n",
            r":2: field models\[0\]: .*expected a module no_such_package\.calc .*found no no_such_package",
        ),
        (
            "campaign: x\nmodels: [{name: my, calculator: ase.calculators.nothing:C}]\nlengths: 2\n",
            r":2: field models\[0\]: .*found no ase\.calculators\.nothing",
        ),
        (
            "campaign: x\nmodels: [{name: my, calculator: ase.calculators.emt}]\nlengths: 2\n",
            r":2: field models\[0\]: .*expected a calculator like package\.module:Class or .*, found 'ase\.calcul",
        ),
        (
            "campaign: x\nmodels: [{name: my, calculator: ase.calculators.emt:EMT, elements: [H, Q]}]\nlengths: 2\n",
            r":2: field models\[0\]\.elements: expected symbols or atomic numbers of elements, found \['H', 'Q'\]",
        ),
        (
            "campaign: x\nmodels: [{name: toy, calculator: ase.calculators.emt:EMT}]\nlengths: 2\n",
            r":2: field models\[0\]: expected a name of its own .*found 'toy'",
        ),
        (
            "campaign: x\nmodels: [{name: toy, kwargs: {a: 1}}]\nlengths: 2\n",
            r":2: field models\[0\]: expected a calculator beside kwargs, found none",
        ),
        (
            "campaign: x\nmodels: [{name: my, family: ase, checkpoint: here}]\nlengths: 2\n",
            r":2: field models\[0\]: model my: expected a family that reads checkpoints, found ase",
        ),
        (GOOD + "lengths: [4]\n", r":4: field lengths: expected it once, found it on line 3 too"),
        (
            'campaign: x\nmodels: toy\nlengths: "2..99999999999999"\n',
            r":3: field lengths: expected lengths from 2 to 200",
        ),
        (
            GOOD + "minimize: {optimiser: bfgs}\n",
            r":4: field minimize\.optimiser: expected 'tree', 'ase-lbfgs', .* or 'geometric', found 'bfgs'",
        ),
        (GOOD + "minimize: {max_force: .inf}\n", r":4: field minimize\.max_force"),
        (GOOD + "minimize: {max_force: true}\n", r":4: field minimize\.max_force"),
        (GOOD + "rotamer: {}\n", r":4: field rotamer"),
        (
            'campaign: x\nmodels: [{name: y, calculator: "tblite.ase:TBLite", elements: [H, C, N]}]\nlengths: 2\n',
            r":2: field models\[0\].*knows H, C, N and O, found none of O",
        ),
        (GOOD + "geometry: [own, qm]\nrotamer: lowest\n", r":5: field rotamer: expected geometry own.*found qm"),
        ("campaign: " + "[" * 3000 + "\n", r"nested too deep"),
        ("campaign: [x\n", r"spec\.yaml:\d: expected YAML"),
        ("- a\n", r"spec\.yaml:1: expected a mapping of fields, found list"),
    ],
)
def test_complaints_say_where_what_and_instead_of_what(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CampaignError, match=words):
        load_spec(written(tmp_path, text))


def test_what_decides_a_result_is_the_protocol_and_the_call_budget_does_not(tmp_path: Path) -> None:
    default, named, patient, other = (
        load_spec(written(tmp_path, GOOD + line))
        for line in (
            "",
            "minimize: {optimiser: tree}\n",
            "minimize: {max_calls: 9}\n",
            "minimize: {optimiser: ase-lbfgs}\n",
        )
    )
    assert default.protocol == named.protocol == patient.protocol
    assert other.protocol != default.protocol
    first, second, third, fourth = (set(make_plan(spec).tasks) for spec in (default, named, patient, other))
    assert first == second == third
    assert not first & fourth


def test_an_optimiser_that_is_not_installed_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        CampaignError, match=r":4: field minimize\.optimiser: expected package sella.*found none; install.*'crosscheck'"
    ):
        load_spec(written(tmp_path, GOOD + "minimize: {optimiser: sella}\n"))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes("campaign: Säure".encode("latin-1"))
    with pytest.raises(CampaignError, match=r"spec\.yaml: expected text in UTF-8, found byte 0xe4"):
        load_spec(path)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(CampaignError) as caught:
        load_spec(written(tmp_path, GOOD + "colour: red\npatterns: [ark]\n"))
    assert len(str(caught.value).splitlines()) == 2


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = "campaign: x\nmodels: [{name: my, family: ani, checkpoint: here/w}]\nlengths: 2\ngeometry: [own, qm]\n"
    (tmp_path / "qm").mkdir()
    spec = load_spec(written(tmp_path, text))
    assert spec.models[0].checkpoint == str(tmp_path / "here/w")
    assert spec.geometry == ("own", str(tmp_path / "qm"))


def test_paths_may_name_environment_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.delenv("NOWHERE", raising=False)
    text = "campaign: x\nmodels: [{name: my, family: ani, checkpoint: PATH}]\nlengths: 2\n"
    spec = load_spec(written(tmp_path, text.replace("PATH", "$SCRATCH/w")))
    assert spec.models[0].checkpoint == "/scratch/me/w"
    spec = load_spec(written(tmp_path, text.replace("PATH", "$NOWHERE/w")))
    assert spec.models[0].checkpoint == str(tmp_path / "$NOWHERE/w")


TABLE_1 = {
    "ani-1ccx",
    "ani-2x",
    *(f"mace-off{name}" for name in ("23-small", "23-medium", "23b-medium", "23-sc", "24-medium")),
    *("orb-v2", "orb-d3-v2", "orb-v3-conservative-20-omat"),
}
"""Feng, Xu and Huang (2025)."""


def test_the_paper_s_grid_asks_for_its_ten_models_and_for_whole_families() -> None:
    spec = load_campaign("nma")
    asked = {entry.name for entry in spec.models}
    assert len(TABLE_1) == 10
    assert asked >= TABLE_1
    families = ("so3lr", "ani", "mace", "xtb", "openmm")
    # networks that have seen single molecules only have a campaign of their own
    asked |= {entry.name for entry in load_campaign("twins").models}
    assert asked >= {name for name, card in registry.cards().items() if card.family in families}
    assert (spec.patterns, spec.lengths) == (("arc", "linear"), tuple(range(2, 13)))
    assert [capping.name for capping in spec.capping] == ["none", "water"]
