"""Exported tables, leaderboards and geometries equal the store; two stores are compared bond by bond."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from ase.io import read
from typer.testing import CliRunner, Result

import hbcoop_dist as hb
from hbcoop_dist.analysis import compare, geometries, largest, leaderboard, select, structure_of, tidy
from hbcoop_dist.analysis.exports import QUANTITIES
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.kind import find_kind
from hbcoop_dist.cli.command_line import app
from hbcoop_dist.models import load
from hbcoop_dist.store import write_archive
from hbcoop_dist.structures.chains import CELL_DIMS

SPEC = {"campaign": "x", "models": ["toy", "toy-additive"], "lengths": [2, 4], "capping": ["none", "water"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exchange") / "x.zarr"
    hb.run(hb.plan(HBondSpec.model_validate(SPEC)), path, serial=True)
    return path


@pytest.fixture
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


def hbcoop(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "250"})


def test_a_row_per_bond_with_the_store_s_own_values(ds: xr.Dataset) -> None:
    table = tidy(ds)
    assert len(table) == 2 * 2 * (1 + 3)
    assert list(table["hbond"][table["model"] == "toy"])[:5] == [1, 1, 1, 2, 3]
    at = {"model": "toy", "length": 4, "capping": "water", "hbond": 2}
    row = table.query(" and ".join(f"{name} == {value!r}" for name, value in at.items())).iloc[0]
    assert row["positions"] == "middle"
    value = ds["hbond_cooperative_energy"].sel(at).squeeze()
    assert row["cooperative_energy"] == float(value)
    assert (table.query("length == 2")["positions"] == "head, middle, tail").all()


def test_what_is_not_done_is_in_the_table_without_numbers(ds: xr.Dataset) -> None:
    broken = ds.copy()
    broken["status"] = ds["status"].where(ds["model"] != "toy", "failed")
    table = tidy(broken)
    assert table.query("status == 'failed'")["cooperative_energy"].isna().all()
    assert len(table) == len(tidy(ds))
    board = leaderboard(broken)
    models = board["models"]
    assert isinstance(models, dict)
    assert models["toy"]["cells"] == {"failed": 4}
    by_capping = models["toy"]["cooperative_energy"]["arc"]
    assert by_capping["none"]["own"]["cis-N, trans-C"]["torsions"]["4"]["middle"] is None


def test_files_hold_what_was_asked_for(store: Path, ds: xr.Dataset, tmp_path: Path) -> None:
    where = ("--where", "model=toy", "--where", "length=4", "--where", "capping=none")
    assert hbcoop("export", store, "-o", tmp_path / "x.csv", *where).exit_code == 0
    table = pd.read_csv(tmp_path / "x.csv")
    np.testing.assert_allclose(
        table["cooperative_energy"],
        ds["hbond_cooperative_energy"].sel(model="toy", length=4, capping="none").squeeze().values,
    )
    assert hbcoop("export", store, "-o", tmp_path / "x.json").exit_code == 0
    board = json.loads((tmp_path / "x.json").read_text())
    assert board["protocol"]["minimize"]["max_force"] == 1e-5
    assert board["models"]["toy"]["cells"] == {"done": 4}
    assert hbcoop("export", store, "-o", tmp_path / "x.xyz", *where).output.strip().endswith("1 geometries")
    [atoms] = read(tmp_path / "x.xyz", index=":")
    energy, positions = (
        ds[name].sel(model="toy", length=4, capping="none").squeeze() for name in ("energy", "positions")
    )
    assert atoms.info["energy_eV"] == pytest.approx(float(energy))
    np.testing.assert_allclose(atoms.positions, positions.transpose("atom", "xyz").values[: len(atoms)], atol=1e-7)
    assert len(atoms) == 48


EV_TO_KCAL = 23.060547830619
"""CODATA 2018: elementary charge times Avogadro's number over 4184."""


def test_every_exported_number_is_that_of_the_store_in_its_units(store: Path, ds: xr.Dataset, tmp_path: Path) -> None:
    assert hbcoop("export", store, "-o", tmp_path / "x.csv").exit_code == 0
    table = pd.read_csv(tmp_path / "x.csv")
    assert len(table) == 2 * 2 * (1 + 3)
    for row in table.to_dict("records"):
        bond = {dim: [row[dim]] for dim in (*CELL_DIMS, "hbond")}
        values = ds.sel(bond).squeeze()
        for name in QUANTITIES:
            assert row[name] == pytest.approx(float(values[f"hbond_{name}"]), rel=1e-12, abs=1e-12), name
        for name in ("energy", "max_force", "seconds"):
            assert row[name] == pytest.approx(float(values[name]), rel=1e-12), name
        # Eq. 1 from the stored energies of fragments, which are in eV
        point = {str(name): float(values["fragment_energy"].sel(fragment=name)) for name in ds["fragment"].values}
        complex_part = point["ABC"] - point["BC"] - point["AC"] + point["C"]
        dimer_part = point["AB"] - point["A"] - point["B"]
        assert row["cooperative_energy"] == pytest.approx(EV_TO_KCAL * (dimer_part - complex_part), abs=1e-6)
        assert row["interaction_energy"] == pytest.approx(EV_TO_KCAL * complex_part, abs=1e-6)
    units = {name: ds[f"hbond_{name}"].attrs["units"] for name in QUANTITIES}
    assert units == {name: "kcal/mol" for name in QUANTITIES if "energy" in name} | {
        "distance_on": "angstrom",
        "distance_oh": "angstrom",
        "angle": "degree",
    }


def test_the_leaderboard_holds_the_store_s_numbers_and_says_their_units(
    store: Path, ds: xr.Dataset, tmp_path: Path
) -> None:
    assert hbcoop("export", store, "-o", tmp_path / "x.json").exit_code == 0
    board = json.loads((tmp_path / "x.json").read_text())
    assert board["units"]["cooperative_energy"] == ds["cooperative_energy"].attrs["units"] == "kcal/mol"
    counted = 0
    for cell in ds["cooperative_energy"].stack(cell=ds["cooperative_energy"].dims).transpose("cell"):
        dims = ("pattern", "capping", "geometry", "rotamer", "constraint", "length", "position")
        pattern, capping, geometry, rotamer, constraint, length, position = (str(cell[dim].item()) for dim in dims)
        energies = board["models"][str(cell["model"].item())]["cooperative_energy"]
        assert energies[pattern][capping][geometry][rotamer][constraint][length][position] == float(cell)
        counted += 1
    assert counted == 2 * 2 * 2 * 3


def test_exported_geometries_are_a_reference_set_again(store: Path, tmp_path: Path) -> None:
    for length in (2, 4):
        where = ("--where", f"length={length}", "--where", "model=toy", "--where", "capping=none")
        assert hbcoop("export", store, "-o", tmp_path / f"{length}.xyz", *where).exit_code == 0
    drawn = hb.plan(HBondSpec.model_validate({**SPEC, "capping": "none", "geometry": [str(tmp_path)]}))
    assert not drawn.skipped


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("-o", "x.txt"),
            "--output: expected a file ending in .csv, .parquet, .json, .xyz, .extxyz, .zip "
            "for kind hbond, found x.txt",
        ),
        (("-o", "nowhere/x.csv"), "--output: expected an existing folder"),
        (("-o", "."), "--output: expected a file ending in"),
        (("-o", "x.csv", "--where", "colour=red"), "--where: expected a dim (model, pattern, length"),
        (
            ("-o", "x.csv", "--where", "model=so3lr"),
            "model: expected labels of the store (toy, toy-additive), found so3lr",
        ),
        (("-o", "x.csv", "--where", "model"), "--where: expected DIM=LABEL,..., found 'model'"),
    ],
)
def test_mistakes_are_named(store: Path, arguments: tuple[str, ...], words: str) -> None:
    refused = hbcoop("export", store, *arguments)
    assert refused.exit_code == 2
    assert words in refused.output


def test_a_store_is_not_written_over_itself(store: Path, tmp_path: Path) -> None:
    packed = tmp_path / "x.zarr.zip"
    assert hbcoop("export", store, "-o", packed).exit_code == 0
    before = packed.read_bytes()
    for source, target in ((packed, packed), (store, store / "x.csv")):
        refused = hbcoop("export", source, "-o", target, "--where", "length=2")
        assert refused.exit_code == 2
        assert "--output: expected a file outside the store that it is made from" in refused.output
    assert packed.read_bytes() == before
    assert not (store / "x.csv").exists()


def test_a_folder_that_takes_no_file_is_refused_before_anything_is_computed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**where: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    for words in (("export", "-o", "x.csv"), ("report", "-o", "x.html"), ("analyse", "--figure", "x.png")):
        command, option, name = words
        refused = hbcoop(command, store, option, tmp_path / name)
        assert refused.exit_code == 2
        assert "expected a folder to write into, found" in refused.output
        assert "Permission denied" in refused.output


def test_rotamer_labels_hold_commas(ds: xr.Dataset, store: Path, tmp_path: Path) -> None:
    where = ("--where", "rotamer=cis-N, trans-C")
    assert hbcoop("export", store, "-o", tmp_path / "x.csv", *where).exit_code == 0
    assert select(ds, {"rotamer": ["cis-N, trans-C"]}).sizes["rotamer"] == 1


def test_a_store_does_not_differ_from_itself_and_from_another_by_what_was_changed(ds: xr.Dataset) -> None:
    assert float(compare(ds, ds)["cooperative_energy"].abs().max()) == 0
    changed = ds.copy(deep=True)
    changed["hbond_cooperative_energy"].loc[{"model": "toy", "length": 4, "capping": "none", "hbond": 2}] += 0.25
    worst = largest(compare(ds, changed))
    assert worst.set_index("model")["cooperative_energy"].to_dict() == pytest.approx({"toy": 0.25, "toy-additive": 0})
    assert tuple(worst.set_index("model").loc["toy", ["length", "capping", "hbond"]]) == (4, "none", 2)


def test_two_models_of_two_stores_are_compared_by_name(store: Path) -> None:
    done = hbcoop("compare", store, store, "--pair", "toy=toy-additive", "--where", "model=toy,toy-additive")
    assert done.exit_code == 0, done.output
    assert "toy: 8 H-bonds done in both" in done.output
    assert "toy-additive: 0 H-bonds done in both, 8 only in A" in done.output
    assert "cooperative energy: largest difference -" in done.output
    same = hbcoop("compare", store, store, "--fail-above", 1e-9)
    assert (same.exit_code, "toy-additive: 8 H-bonds done in both" in same.output) == (0, True)
    failed = hbcoop("compare", store, store, "--pair", "toy=toy-additive", "--fail-above", 0.1)
    assert failed.exit_code == 1
    assert "allowed 0.1" in failed.output
    assert hbcoop("compare", store, store, "--pair", "toy=so3lr").exit_code == 2


def test_what_one_store_lacks_is_counted(store: Path, tmp_path: Path) -> None:
    spec = {**SPEC, "models": ["toy"], "lengths": [2], "capping": "none"}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), tmp_path / "less.zarr", serial=True)
    refused = hbcoop("compare", store, store, "--fail-above", "-1")
    assert refused.exit_code == 2
    done = hbcoop("compare", store, tmp_path / "less.zarr")
    assert "toy: 1 H-bonds done in both, 7 only in A" in done.output
    assert "toy-additive: 0 H-bonds done in both, 8 only in A" in done.output


def test_a_geometry_is_a_structure_again_that_a_classical_force_field_reads(ds: xr.Dataset) -> None:
    potential, cells = load("toy"), list(geometries(select(ds, {"model": ["toy"]})))
    assert len(cells) == 4
    for atoms in cells:
        structure = structure_of(atoms)
        assert structure.kinds == ("nma",) * atoms.info["length"] + ("water",) * (
            4 * (atoms.info["capping"] == "water")
        )
        np.testing.assert_array_equal(structure.numbers, atoms.numbers)
        assert potential.evaluate([structure])[0].energy == pytest.approx(atoms.info["energy_eV"], abs=1e-9)


def test_the_many_body_script_expands_done_chains(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(Path(__file__).resolve().parents[2] / "analysis" / "many_body.py"))["main"]
    main(str(store), length=["4"], order=3)
    unit, head, *rows = capsys.readouterr().out.splitlines()
    assert unit == "kcal/mol"
    assert head.split()[-4:] == ["1-body", "2-body", "3-body", "remainder"]
    three = {(row.split()[0], row.split()[3]): float(row.split()[-2]) for row in rows}
    assert three["toy", "none"] < -0.5
    assert three["toy-additive", "none"] == three["toy-additive", "water"] == 0.0
    with pytest.raises(ValueError, match="model: expected labels of the store"):
        main(str(store), model=["so3lr"])


def test_what_is_done_in_neither_store_is_in_neither(ds: xr.Dataset) -> None:
    undone = ds.copy(deep=True)
    undone["status"].loc[{"model": "toy", "length": 4}] = "failed"
    lines = find_kind("hbond").compare(undone, ds.sel(length=[2])).lines
    assert "toy: 2 H-bonds done in both" in lines
    assert "toy-additive: 2 H-bonds done in both, 6 only in A" in lines


def test_nothing_done_is_said(store: Path, ds: xr.Dataset, tmp_path: Path) -> None:
    undone = tmp_path / "undone.zarr.zip"
    write_archive(ds.assign(status=xr.full_like(ds["status"], "failed")), undone)
    for name in ("x.csv", "x.xyz"):
        done = hbcoop("export", undone, "-o", tmp_path / name)
        assert (done.exit_code, done.output.strip().endswith("; 0 done of 8 cells")) == (0, True)
