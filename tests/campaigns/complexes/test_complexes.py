"""Any marked pair in any cluster: the laws of Eq. 1, agreement with the chains, resuming, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from ase.io import write
from hbcoop_dist.campaigns.complexes.reading import ComplexError

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.cooperativity.equation import EV_TO_KCAL, hbond_cooperativity
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.models import load
from hbcoop_dist.store import StoreError, SystemsWriter, open_systems, verify
from hbcoop_dist.structures import Structure, make_chain, monomer
from hbcoop_dist.structures.construction import build
from hbcoop_dist.structures.monomers import donor_water

ADDITIVE = {
    "name": "pairs",
    "calculator": "ase.calculators.lj:LennardJones",
    "kwargs": {"sigma": 2.0, "epsilon": 0.01, "rc": 50.0},
}


def put(structure: Structure, path: Path) -> str:
    write(path, structure.to_ase(), format="xyz")
    return str(path)


@pytest.fixture
def trimer(tmp_path: Path) -> tuple[Structure, str]:
    structure = build(make_chain("arc", 3))
    return structure, put(structure, tmp_path / "trimer.xyz")


def spec(*systems: dict[str, Any], models: Any = ("so3lr",), **fields: Any) -> CampaignSpec:
    return CampaignSpec.model_validate(
        {"campaign": "probes", "models": list(models), "systems": list(systems), **fields}
    )


def ran(asked: CampaignSpec, store: Path, **options: Any) -> tuple[hb.Summary, xr.Dataset]:
    summary = hb.run(hb.plan(asked), store, serial=True, **options)
    return summary, open_systems(store).load()


def test_a_pair_of_a_chain_has_the_chain_s_electronic_part_and_an_additive_model_has_none(
    trimer: tuple[Structure, str], tmp_path: Path
) -> None:
    structure, file = trimer
    asked = spec({"file": file, "A": "0-11", "B": ["12-23"]}, models=["so3lr", ADDITIVE])
    summary, ds = ran(asked, tmp_path / "test.zarr")
    assert summary.statuses == {"done": 2}
    one = ds.sel(system="trimer")
    so3lr = load("so3lr")
    # xyz files carry eight decimals
    written = structure.with_positions(one.positions.sel(model="so3lr").values)
    np.testing.assert_allclose(written.positions, structure.positions, atol=1e-7)
    energies = evaluate_fragments(so3lr, [written])[0]
    pair = build(make_chain("arc", 2))
    chain = hbond_cooperativity(written, energies, 1, pair, evaluate_fragments(so3lr, [pair])[0])
    assert abs(chain.electronic) > 0.01
    assert float(one.cooperative_energy.sel(model="so3lr")) == pytest.approx(chain.electronic, abs=1e-9)
    assert float(one.interaction_energy.sel(model="so3lr")) == pytest.approx(chain.interaction, abs=1e-9)
    assert abs(float(one.interaction_energy.sel(model="pairs"))) > 1e-3
    assert abs(float(one.cooperative_energy.sel(model="pairs"))) < 1e-9
    atoms = one.atomic_cooperative_energy.sel(model="so3lr").values
    assert atoms.sum() == pytest.approx(chain.electronic, abs=1e-8)
    assert "".join(one.part.values) == "A" * 12 + "B" * 12 + "C" * 12
    assert verify(tmp_path / "test.zarr") == []


def test_a_pair_may_lie_anywhere_in_the_file(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    structure, file = trimer
    order = np.random.default_rng(1).permutation(len(structure))
    mixed = Structure(structure.numbers[order], structure.positions[order], np.zeros(36, dtype=int), ("other",))
    places = [np.flatnonzero(np.isin(order, range(12 * unit, 12 * unit + 12))).tolist() for unit in range(2)]
    _, ds = ran(
        spec(
            {"file": file, "A": "0-11", "B": "12-23"},
            {"file": put(mixed, tmp_path / "mixed.xyz"), "A": places[0], "B": places[1]},
        ),
        tmp_path / "test.zarr",
    )
    found = ds.cooperative_energy.values.ravel()
    assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_without_c_nothing_cooperates_and_far_away_c_neither(tmp_path: Path) -> None:
    nma, water = monomer().positions, donor_water()
    pair = Structure.from_molecules([("nma", nma), ("water", water + [3.6, 3.2, 0.4])])
    third = Structure.from_molecules([*[("nma", nma), ("water", water + [3.6, 3.2, 0.4])], ("water", water + 500.0)])
    chosen = {"A": "0-11", "B": "12-14"}
    _, ds = ran(
        spec(
            {"file": put(pair, tmp_path / "pair.xyz"), **chosen},
            {"file": put(third, tmp_path / "third.xyz"), **chosen},
            # not so3lr: it spreads what its charges lack to be neutral over all atoms, however far (5e-3 kcal/mol here)
            models=["gfn2-xtb"],
        ),
        tmp_path / "test.zarr",
    )
    found = ds.isel(model=0)
    assert float(found.cooperative_energy.sel(system="pair")) == pytest.approx(0.0, abs=1e-9)
    assert float(found.cooperative_energy.sel(system="third")) == pytest.approx(0.0, abs=1e-5)
    assert abs(float(found.interaction_energy.sel(system="pair"))) > 1.0


def test_a_free_system_ends_at_rest_and_its_parts_add_up(tmp_path: Path) -> None:
    water = donor_water()
    cluster = Structure.from_molecules([("water", water + [2.6 * k, 1.6 * (k % 2), 0.3 * k]) for k in range(3)])
    asked = spec(
        {"file": put(cluster, tmp_path / "waters.xyz"), "A": "0-2", "B": "3-5", "geometry": "free"},
        models=["gfn2-xtb"],
        minimize={"max_force": 1e-3},
    )
    summary, ds = ran(asked, tmp_path / "test.zarr")
    assert summary.ok
    one = ds.isel(model=0, system=0)
    assert 0 < float(one.max_force) <= 1e-3
    parts = float(one.cooperative_energy_electronic + one.cooperative_energy_geometric)
    assert float(one.cooperative_energy) == pytest.approx(parts, abs=1e-9)
    at = Structure(cluster.numbers, one.positions.values, cluster.molecules, cluster.kinds)
    forces = load("gfn2-xtb").evaluate([at])[0].forces
    assert forces is not None
    assert float(np.linalg.norm(forces, axis=1).max()) <= 1.1e-3
    assert (str(one.geometry.values), str(one.status.values)) == ("free", "done")


def test_what_is_there_is_not_computed_again_and_its_name_stands_for_one_system(
    trimer: tuple[Structure, str], tmp_path: Path
) -> None:
    structure, file = trimer
    store, entry = tmp_path / "test.zarr", {"file": file, "A": "0-11", "B": "12-23"}
    first, before = ran(spec(entry), store)
    again, _ = ran(spec(entry), store)
    assert (first.computed, again.computed) == (1, 0)
    put(structure.with_positions(structure.positions * 1.01), Path(file))
    for changed in (entry, {**entry, "file": trimer[1], "A": "12-23", "B": "24-35"}):
        with pytest.raises(StoreError, match="expected the system 'trimer' that it has, found other atoms, marks or"):
            ran(spec(changed), store)
    after = open_systems(store)
    assert float(after.energy.values.item()) == float(before.energy.values.item())
    assert str(after.status.values.item()) == "done"


def test_the_group_grows_and_stays_when_chains_come(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    store, entry = tmp_path / "test.zarr", {"file": trimer[1], "A": "0-11", "B": "12-23"}
    _, before = ran(spec(entry), store)
    second = {**entry, "name": "other pair", "A": "12-23", "B": "24-35"}
    summary, ds = ran(spec(entry, second, models=["so3lr", ADDITIVE]), store)
    assert (summary.computed, ds.sizes["system"], ds.sizes["model"]) == (3, 2, 2)
    hb.run(
        hb.plan(CampaignSpec.model_validate({"campaign": "chains", "models": ["toy"], "lengths": [2, 3]})),
        store,
        serial=True,
    )
    after = open_systems(store)
    key = {"model": "so3lr", "system": "trimer"}
    assert float(after.energy.sel(key)) == float(before.energy.sel(key))
    assert (hb.open_store(store).sel(model="toy").status == "done").any()


def test_a_growth_that_was_killed_between_its_renames_is_undone(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    store, entry = tmp_path / "test.zarr", {"file": trimer[1], "A": "0-11", "B": "12-23"}
    ran(spec(entry), store)
    (store / "systems").rename(store / ".systems.replaced")
    (store / ".systems.growing").mkdir()
    summary, _ = ran(spec(entry), store)
    assert summary.computed == 0
    assert not list(store.glob(".systems.*"))


def test_a_model_that_cannot_do_it_is_skipped_with_its_reason(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    structure = trimer[0]
    gold = Structure(
        np.append(structure.numbers, 79),
        np.vstack([structure.positions, [50.0, 0.0, 0.0]]),
        np.append(structure.molecules, 3),
        (*structure.kinds, "other"),
    )
    file = put(gold, tmp_path / "gold.xyz")
    summary, ds = ran(
        spec({"file": file, "A": "0-11", "B": "12-23"}, models=["amber14", "so3lr"]), tmp_path / "test.zarr"
    )
    assert summary.ok
    reasons = ds.reason.sel(system="gold").values.tolist()
    assert reasons[0].startswith("this model reads atoms by their place in NMA and water")
    assert reasons[1] == "elements Au are not declared by its card"


def test_a_force_field_does_a_pair_whose_atoms_stand_in_our_order(
    trimer: tuple[Structure, str], tmp_path: Path
) -> None:
    structure, file = trimer
    _, ds = ran(spec({"file": file, "A": "0-11", "B": "12-23"}, models=["amber14"]), tmp_path / "test.zarr")
    one = ds.isel(model=0, system=0)
    assert str(one.status.values) == "done"
    energies = evaluate_fragments(load("amber14"), [structure.with_positions(one.positions.values)])[0]
    pair = energies.energy((0, 1)) - energies.energy((0,)) - energies.energy((1,))
    assert float(one.interaction_energy_dimer) == pytest.approx(pair * EV_TO_KCAL, abs=1e-9)
    assert float(one.cooperative_energy) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"A": "0-36"}, r"system trimer, A: expected atoms 0 to 35 of .*trimer.xyz, found 36"),
        ({"A": "0-12"}, r"expected A and B apart, found atoms \[12\] in both"),
        ({"A": [0]}, r"system trimer: expected no bond between A and C, found atoms 0 and 1, 1\.5"),
        ({"file": "nowhere.xyz"}, r"system nowhere: expected a file nowhere.xyz, found none"),
    ],
)
def test_what_cannot_be_marked_is_refused_before_anything_runs(
    trimer: tuple[Structure, str], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ComplexError, match=words):
        hb.plan(spec({"file": trimer[1], "A": "0-11", "B": "12-23", **change}))


@pytest.mark.parametrize("value", ["11-0", [], [1, 1], -1, "a", 1.5])
def test_atoms_are_numbers_or_ranges(value: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        spec({"file": "x.xyz", "A": value, "B": 1})


def test_a_spec_asks_for_something() -> None:
    with pytest.raises(ValueError, match="expected lengths, or systems, found neither"):
        spec()


def test_labels_beyond_the_axes_are_refused(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    asked = spec({"file": trimer[1], "A": "0-11", "B": "12-23"})
    ran(asked, tmp_path / "test.zarr")
    systems = [cell.system for cell in hb.plan(asked).systems]
    with pytest.raises(StoreError, match="expected labels of the group"):
        SystemsWriter(tmp_path / "test.zarr", ["so3lr"], systems).write(("ani-2x", "trimer"), "done", "", None)
