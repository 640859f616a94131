"""`hbcoop datasets check`: what it recognises, what it says would be left out, and that its entry can be pasted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from set_files import odac_row, omol_row, write_as, write_database, write_qmof
from typer.testing import CliRunner

from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.campaigns.kind import load_campaign
from hbcoop_dist.cli.command_line import app
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure

pytest.importorskip("ase_db_backends", reason="LMDBs need ase-db-backends")


def check(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["datasets", "check", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def told(*words: object) -> dict[str, Any]:
    return json.loads(check(*words, "--json"))  # type: ignore[no-any-return]


def test_omol(tmp_path: Path) -> None:
    rows = [omol_row(n, charge=-(n % 2), spin=1 + n % 2, nbo_charges=None if n else np.zeros(3)) for n in range(10)]
    made = write_database(tmp_path / "data0000.aselmdb", [*rows, omol_row(10, charge=0.5)])
    found = told(made)
    assert (found["format"], found["structures"], found["examined"], found["usable"]) == ("ASE LMDB", 11, 11, 10)
    assert found["public_set"]["name"] == "OMol25"
    assert found["public_set"]["licence"] == "CC BY 4.0"
    assert "arXiv:2505.08762" in found["public_set"]["citation"]
    assert found["elements"] == {"H": 10, "O": 10}
    assert found["charges"] == {"-1": 5, "0": 5}
    assert found["spins"] == {"1": 5, "2": 5}
    assert found["atoms"] == {"3": 10}
    assert found["domains"] == {"spice": 5, "elytes": 5}
    assert (found["parents"], found["periodic"]) == (1, 0)
    charges = found["labels"]["charges"]
    assert charges["names"] == {"lowdin_charges": 11}
    assert charges["other_names"] == {"mulliken_charges": 11, "nbo_charges": 1}
    assert charges["range"] == pytest.approx([-0.58, 0.29])
    assert found["labels"]["energy"]["range"] == pytest.approx([-2088 / 3, -2079 / 3])
    assert found["labels"]["dipole"]["range"] is None
    assert {"num_atoms", "num_electrons", "source"} <= set(found["other_names"])
    (left,) = found["left_out"]
    assert left["count"] == 1
    assert "row 11, charge" in left["first"]
    shown = check(made)
    for words in ("CC BY 4.0", "OMol25", "1 left out, charge", "networks ignore the spin", "skip_incomplete"):
        assert words in shown


def test_odac_and_qmof(tmp_path: Path) -> None:
    odac = told(write_database(tmp_path / "part_00000.aselmdb", [odac_row(n) for n in range(6)]))
    assert (odac["public_set"]["name"], odac["periodic"], odac["parents"]) == ("ODAC25", 6, 3)
    assert "energy_ads_corrected" in odac["other_names"]
    made = write_qmof(tmp_path / "qmof_database", without=["qmof-b"])
    qmof = told(made, "--require", "charges")
    assert (qmof["public_set"]["name"], qmof["usable"], qmof["parents"]) == ("QMOF", 3, 3)
    assert qmof["public_set"]["licence"] == "CC BY 4.0"
    entry = yaml.safe_load(qmof["entry"])[0]
    assert (entry["require"], entry["skip_incomplete"], entry["licence"]) == ("charges", True, "CC BY 4.0")


@pytest.mark.parametrize("labels", [[], ["--labels", "charges=mulliken_charges"]])
def test_the_entry_can_be_pasted_into_a_campaign(tmp_path: Path, labels: list[str]) -> None:
    made = write_database(tmp_path / "data0000.aselmdb", [omol_row(n) for n in range(6)])
    entries = yaml.safe_load(told(made, *labels)["entry"])
    spec = {"campaign": "mine", "kind": "generalization", "datasets": entries}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(spec))
    spec = load_campaign(path)
    assert isinstance(spec, GeneralizationSpec)
    (entry,) = spec.datasets
    assert entry.files == (str(made),)
    assert entry.licence == "CC BY 4.0"
    assert dict(entry.labels) == ({"charges": ("mulliken_charges",)} if labels else {})


def test_a_sample_is_looked_at_and_everything_on_demand(tmp_path: Path) -> None:
    made = write_database(tmp_path / "a.db", [omol_row(n) for n in range(30)])
    found = told(made, "--sample", "7")
    assert (found["structures"], found["examined"], found["usable"]) == (30, 7, 7)
    assert "7, drawn at random, examined" in check(made, "--sample", "7")
    assert told(made, "--sample", "7", "--all")["examined"] == 30


def test_charges_of_several_names_are_warned_of(tmp_path: Path) -> None:
    made = write_database(tmp_path / "a.db", [omol_row(0), omol_row(1, lowdin_charges=None)])
    assert "does not mix partial charges" in check(made)
    assert "does not mix" not in check(made, "--labels", "charges=mulliken_charges")


def test_a_set_that_nobody_knows(tmp_path: Path) -> None:
    one = LabelledStructure(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.74, 0.0, 0.0]]), -1.0, None, "p", "d")
    made = write_as(tmp_path / "mine.xyz", [one])
    found = told(made, "--energy-unit", "Hartree")
    assert found["public_set"] is None
    assert found["labels"]["energy"]["range"] == pytest.approx([-13.605693, -13.605693])
    assert yaml.safe_load(found["entry"])[0]["energy_unit"] == "Hartree"
    assert "see the page that the set came from" in check(made)


def test_nothing_that_can_be_used_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    made = write_qmof(tmp_path / "qmof")
    shown = check(made, "--labels", "energy=outputs.hse06.energy_total", code=1)
    assert "4 left out, energy (outputs.hse06.energy_total): expected a number, found none" in shown
    assert "no structure can be used" in shown
    (tmp_path / "notes.txt").write_text("nothing\n")
    assert "found a file that begins with b'nothing" in check(tmp_path / "notes.txt", code=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "charges"], "expected LABEL=NAME, found 'charges'"),
        (["--labels", "colour=red"], "--labels: expected labels among energy"),
        (["--require", "smiles"], "--require: expected labels among energy"),
        (["--energy-unit", "Rydberg"], "--energy-unit"),
    ],
)
def test_mistakes_are_bad_input(tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "a.xyz").write_text("")
    done = CliRunner().invoke(app, ["datasets", "check", str(tmp_path / "a.xyz"), *words], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert message in done.output
