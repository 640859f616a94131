"""The bundled references: laws that hold for any such numbers, and a piece of them computed again."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import hbcoop_dist as hb
from hbcoop_dist.analysis import with_references
from hbcoop_dist.analysis.reference_levels import PLACES, beside_models, by_level, wall_times
from hbcoop_dist.analysis.tables import same_geometry_tables
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.kind import load_campaign
from hbcoop_dist.cooperativity.equation import hbond_cooperativity
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.models import load
from hbcoop_dist.references import (
    ReferenceSetError,
    bundled_geometries,
    bundled_geometry,
    published_values,
    read_reference_set,
    reference_energies,
    reference_runs,
)
from hbcoop_dist.structures.structure import fragments_of

SO3LR, LEVEL, ROTAMER = "nma-so3lr", "rimp2:cc-pvdz:frozen-core", "cis-N, trans-C"
SPEC = {"campaign": "x", "models": ["toy"], "lengths": [2, 3], "geometry": ["own", SO3LR]}


def _structures(name: str) -> list[tuple[object, object]]:
    folder = bundled_geometry(name)
    assert folder is not None
    found = read_reference_set(folder)
    return [(found.chains[label], found.structures[label]) for label in found.chains]


@pytest.mark.parametrize("name", bundled_geometries())
def test_every_set_holds_planar_chains_with_their_dimer(name: str) -> None:
    structures = _structures(name)
    assert any(system.length == 2 and system.capping == "none" for system, _ in structures)
    for _, structure in structures:
        heavy = structure.positions[structure.numbers > 1]
        assert np.linalg.svd(heavy - heavy.mean(0))[1][-1] < 0.05, "chains are planar"


def test_so3lr_is_at_rest_where_the_set_says_that_its_minima_are() -> None:
    potential = load("so3lr")
    for _, structure in _structures(SO3LR):
        forces = potential.evaluate([structure])[0].forces
        assert forces is not None
        # planes are held by symmetry, so nothing is left
        assert np.abs(forces).max() < 2e-5


def test_methods_are_sums_of_the_same_parts() -> None:
    energy = reference_energies()["cooperative_energy"]
    for basis in ("cc-pvdz:frozen-core", "cc-pvtz:frozen-core", "aug-cc-pvtz:frozen-core:cp"):
        hf = energy.sel(model=f"hf:{basis.replace(':frozen-core', '')}")
        mp2, scs, sos = (energy.sel(model=f"{method}:{basis}") for method in ("rimp2", "scs-mp2", "sos-mp2"))
        opposite = (sos - hf) / 1.3
        same = mp2 - hf - opposite
        np.testing.assert_allclose(scs, hf + 1.2 * opposite + same / 3, atol=1e-9)
        assert int(mp2.notnull().sum()) > 0


def test_three_body_energy_of_a_trimer_is_the_same_at_both_bonds() -> None:
    ds = reference_energies().sel(length=3, capping="none", geometry=SO3LR, rotamer=ROTAMER).squeeze()
    electronic = ds["cooperative_energy_electronic"]
    plain = electronic.sel(model=[str(name) for name in ds["model"].values if not str(name).endswith(":cp")])
    np.testing.assert_allclose(plain.sel(position="head"), plain.sel(position="tail"), atol=1e-6)
    total = ds["cooperative_energy_electronic"] + ds["cooperative_energy_geometric"]
    np.testing.assert_allclose(ds["cooperative_energy"], total, atol=1e-9)


def test_counterpoise_leaves_the_cooperative_energy_nearly_as_it_is_and_the_dimer_not() -> None:
    levels = by_level().loc[(SO3LR, ROTAMER)]
    plain, corrected = (levels.loc[f"rimp2:aug-cc-pvtz:frozen-core{flag}"] for flag in ("", ":cp"))
    assert abs(corrected["capped dimer"] - plain["capped dimer"]) < 0.2
    assert corrected["dimer V"] - plain["dimer V"] > 0.5, "superposition binds"


def test_every_value_says_on_what_it_was_computed() -> None:
    runs, fragments = reference_runs(), pd.read_csv(Path(hb.__file__).parent / "references" / "fragments.csv")
    keys = ["geometry", "rotamer", "pattern", "length", "capping", "basis", "frozen_core", "counterpoise"]
    assert set(map(tuple, fragments[keys].to_numpy())) == set(map(tuple, runs[keys].to_numpy()))
    assert not runs.duplicated(keys).any()
    assert (runs["seconds"] > 0).all()
    assert not runs[["machine", "pyscf", "computed_at", "task_key"]].isna().any(axis=None)
    assert float(wall_times().min(axis=None)) > 0


def test_a_molecule_of_the_dimer_computed_again() -> None:
    """The cheapest fragment: one molecule in the smallest basis."""
    [structure] = [s for system, s in _structures(SO3LR) if (system.length, system.capping) == (2, "none")]
    rows = pd.read_csv(Path(hb.__file__).parent / "references" / "fragments.csv")
    here = rows.query(
        "geometry == @SO3LR and length == 2 and capping == 'none' and basis == 'cc-pvdz' and not counterpoise"
    )
    bundled = here.set_index("fragment")[["hf", "same_spin", "opposite_spin"]]
    one = load(LEVEL).evaluate([structure.subset(fragments_of(structure, 1)["A"])], forces=False)[0]
    assert one.parts is not None
    np.testing.assert_allclose([one.parts[name] for name in bundled.columns], bundled.loc["A"], atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_trimer_computed_again() -> None:
    """RI-MP2/cc-pVDZ of the bare arc trimer, all of Eq. 1."""
    found = {(system.length, system.capping): structure for system, structure in _structures(SO3LR)}
    trimer, dimer = found[3, "none"], found[2, "none"]
    potential = load(LEVEL)
    whole, alone = evaluate_fragments(potential, [trimer, dimer])
    bundled = (
        reference_energies().sel(length=3, capping="none", geometry=SO3LR, rotamer=ROTAMER).sel(model=LEVEL).squeeze()
    )
    for position, bond in (("head", 1), ("tail", 2)):
        again = hbond_cooperativity(trimer, whole, bond, dimer, alone)
        at = bundled.sel(position=position)
        assert again.total == pytest.approx(float(at["cooperative_energy"]), abs=1e-4)
        assert again.electronic == pytest.approx(float(at["cooperative_energy_electronic"]), abs=1e-4)


def test_a_campaign_takes_a_bundled_set_by_name_and_nothing_else_may_be_called_so(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(json.dumps(SPEC))
    assert load_campaign(str(tmp_path / "x.yaml")).geometry == ("own", SO3LR)
    assert not [reason for reason in hb.plan(load_campaign(str(tmp_path / "x.yaml"))).skipped.values() if reason]
    (tmp_path / SO3LR).mkdir()
    with pytest.raises(hb.CampaignError, match=r"x.yaml:1: field geometry: expected nma-so3lr .* found a folder"):
        load_campaign(str(tmp_path / "x.yaml"))
    for geometry, found in ((f"./{SO3LR}", "folder"), (SO3LR, "model")):
        models = [{"name": SO3LR, "calculator": "ase.calculators.emt:EMT"}] if found == "model" else ["toy"]
        (tmp_path / "y.yaml").write_text(json.dumps({**SPEC, "models": models, "geometry": ["own", geometry]}))
        with pytest.raises(ReferenceSetError, match=f"expected another name than nma-so3lr, .* found a {found}"):
            hb.plan(load_campaign(str(tmp_path / "y.yaml")))


def test_a_misspelt_set_is_answered_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("campaign: x\nmodels: toy\nlengths: 2\ngeometry: [own, nma-solr]\n")
    with pytest.raises(hb.CampaignError, match=r"x.yaml:4: field geometry: .*\(nma-gfn2, nma-so3lr, .*\), or a folder"):
        load_campaign(str(tmp_path / "x.yaml"))


def test_energies_are_each_caller_s_own() -> None:
    reference_energies()["cooperative_energy"][:] = 0.0
    assert float(reference_energies()["cooperative_energy"].max()) > 1


def test_export_refuses_a_store_without_references_and_bad_names(store: Path) -> None:
    main = runpy.run_path(str(Path(__file__).resolve().parents[2] / "analysis" / "export_references.py"))["main"]
    with pytest.raises(ValueError, match=r"expected done cells of rimp2:.* at geometry nma-so3lr, found none"):
        main(store, SO3LR, "nma-new", "here")
    with pytest.raises(ValueError, match="NAME: expected small letters"):
        main(store, SO3LR, "../x", "here")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundled") / "x.zarr"
    hb.run(hb.plan(HBondSpec.model_validate({**SPEC, "models": ["toy", "toy-additive"]})), path, serial=True)
    return path


def test_models_stand_beside_a_reference_that_the_store_does_not_have(store: Path) -> None:
    ds = hb.open_store(store)
    console = Console(width=100, record=True)
    for table in same_geometry_tables(ds, LEVEL):
        console.print(table)
    words = console.export_text()
    at = {"model": LEVEL, "length": 3, "position": "head", "capping": "none", "geometry": SO3LR, "rotamer": ROTAMER}
    value = float(reference_energies()["cooperative_energy"].sel(at).squeeze())
    assert f"n = 3, head: {value:.2f}" in words
    assert "toy-additive" in words
    with pytest.raises(ValueError, match=r"bundled for \(.*nma-so3lr.*\) among .* found own; give the"):
        with_references(ds.sel(geometry=["own"]), LEVEL)


def test_table_of_models_has_both_geometries(store: Path) -> None:
    ds = hb.open_store(store)
    table = beside_models(ds, SO3LR)
    assert list(table.index) == ["toy", "toy-additive"]
    own = float(ds["cooperative_energy"].sel(model="toy", geometry="own", length=3, position="tail").squeeze())
    assert table.loc["toy", ("n = 3, tail", "own")] == pytest.approx(own)
    assert table[[(place, "there") for place in PLACES if place.startswith("n = 3")]].notna().all(axis=None)
    assert table[("n = 4, middle", "own")].isna().all()
    with pytest.raises(ValueError, match="expected geometry nma-so3lr in the store, found own"):
        beside_models(ds.sel(geometry=["own"]), SO3LR)


def test_published_values_are_ranges_with_a_source_and_a_unit() -> None:
    values = published_values()
    assert (values["low"] <= values["high"]).all()
    assert not values[["source", "quantity", "model", "unit"]].isna().any(axis=None)
    middle = values.query("model == 'qm' and position == 'middle' and length == 4").iloc[0]
    assert (middle["low"], middle["high"], middle["capping"]) == (2.8, 2.8, "none")
