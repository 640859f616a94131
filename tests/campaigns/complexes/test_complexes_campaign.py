"""Complexes with a marked pair: the laws of Eq. 1, agreement with the chains, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from ase.io import write

import hbcoop_dist as hb
from hbcoop_dist.campaigns.complexes.kind import KIND
from hbcoop_dist.campaigns.complexes.plan import make_plan
from hbcoop_dist.campaigns.complexes.spec import ComplexError, ComplexesSpec
from hbcoop_dist.cooperativity.equation import EV_TO_KCAL, hbond_cooperativity
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.models import load
from hbcoop_dist.store import ProtocolMismatchError, open_store, verify
from hbcoop_dist.structures import Structure, make_chain, monomer
from hbcoop_dist.structures.monomers import build, donor_water

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


def spec(*complexes: dict[str, Any], models: Any = ("so3lr",), **fields: Any) -> ComplexesSpec:
    return ComplexesSpec.model_validate(
        {"campaign": "probes", "models": list(models), "complexes": list(complexes), **fields}
    )


def run(campaign: ComplexesSpec, store: Path) -> tuple[hb.Summary, xr.Dataset]:
    summary = hb.run(hb.plan(campaign), store, serial=True, display=QuietDisplay())
    return summary, open_store(store).load()


def test_a_pair_of_a_chain_has_the_chain_s_electronic_part_and_an_additive_model_has_none(
    trimer: tuple[Structure, str], tmp_path: Path
) -> None:
    structure, file = trimer
    campaign = spec({"file": file, "A": "0-11", "B": ["12-23"]}, models=["so3lr", ADDITIVE])
    summary, ds = run(campaign, tmp_path / "test.zarr")
    assert summary.statuses == {"done": 2}
    one = ds.sel(complex="trimer")
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
    assert verify(tmp_path / "test.zarr", KIND.schema) == []


def test_a_pair_may_lie_anywhere_in_the_file(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    structure, file = trimer
    order = np.random.default_rng(1).permutation(len(structure))
    mixed = Structure(structure.numbers[order], structure.positions[order], np.zeros(36, dtype=int), ("other",))
    places = [np.flatnonzero(np.isin(order, range(12 * unit, 12 * unit + 12))).tolist() for unit in range(2)]
    _, ds = run(
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
    _, ds = run(
        spec(
            {"file": put(pair, tmp_path / "pair.xyz"), **chosen},
            {"file": put(third, tmp_path / "third.xyz"), **chosen},
            # not so3lr: it spreads what its charges lack to be neutral over all atoms, however far (5e-3 kcal/mol here)
            models=["gfn2-xtb"],
        ),
        tmp_path / "test.zarr",
    )
    found = ds.isel(model=0)
    assert float(found.cooperative_energy.sel(complex="pair")) == pytest.approx(0.0, abs=1e-9)
    assert float(found.cooperative_energy.sel(complex="third")) == pytest.approx(0.0, abs=1e-5)
    assert abs(float(found.interaction_energy.sel(complex="pair"))) > 1.0


def test_a_free_complex_ends_at_rest_and_its_parts_add_up(tmp_path: Path) -> None:
    water = donor_water()
    cluster = Structure.from_molecules([("water", water + [2.6 * k, 1.6 * (k % 2), 0.3 * k]) for k in range(3)])
    campaign = spec(
        {"file": put(cluster, tmp_path / "waters.xyz"), "A": "0-2", "B": "3-5", "geometry": "free"},
        models=["gfn2-xtb"],
        minimize={"max_force": 1e-3},
    )
    summary, ds = run(campaign, tmp_path / "test.zarr")
    assert summary.ok
    one = ds.isel(model=0, complex=0)
    assert 0 < float(one.max_force) <= 1e-3
    parts = float(one.cooperative_energy_electronic + one.cooperative_energy_geometric)
    assert float(one.cooperative_energy) == pytest.approx(parts, abs=1e-9)
    at = Structure(cluster.numbers, one.positions.values, cluster.molecules, cluster.kinds)
    forces = load("gfn2-xtb").evaluate([at])[0].forces
    assert forces is not None
    assert float(np.linalg.norm(forces, axis=1).max()) <= 1.1e-3
    assert (str(one.geometry.values), str(one.status.values)) == ("free", "done")


def test_the_name_of_a_complex_stands_for_one_complex(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    structure, file = trimer
    store, entry = tmp_path / "test.zarr", {"file": file, "A": "0-11", "B": "12-23"}
    _, before = run(spec(entry, models=[ADDITIVE]), store)
    put(structure.with_positions(structure.positions * 1.01), Path(file))
    for changed in (entry, {**entry, "A": "12-23", "B": "24-35"}, {**entry, "geometry": "free"}):
        with pytest.raises(ProtocolMismatchError, match="trimer"):
            run(spec(changed, models=[ADDITIVE]), store)
    xr.testing.assert_identical(open_store(store).load().drop_attrs(), before.drop_attrs())


def test_each_input_of_a_key_changed_in_turn_gives_another_key(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    structure, file = trimer
    moved = put(structure.with_positions(structure.positions + 1e-6 * np.eye(36, 3)), tmp_path / "moved.xyz")
    entry = {"file": file, "name": "trimer", "A": "0-11", "B": "12-23", "geometry": "free"}

    def keys(model: Any = ADDITIVE, minimize: Any = None, **changes: Any) -> dict[str, str]:
        (tasks,) = make_plan(spec({**entry, **changes}, models=[model], minimize=minimize or {})).cell_tasks.values()
        relaxed = dict(zip(("relaxed complex", "relaxed pair"), (task.key for task in tasks.relaxed), strict=False))
        return {"complex": tasks.final_key, "pair": tasks.pair.key, **relaxed}

    before = keys()
    assert len(set(before.values())) == 4
    assert keys(minimize={"max_calls": 7}) == keys(name="other name") == before
    kwargs = {**ADDITIVE["kwargs"], "sigma": 2.1}
    changes = {
        "model": keys(model={**ADDITIVE, "kwargs": kwargs}),
        "float type": keys(model={**ADDITIVE, "dtype": "float32"}),
        "max_force": keys(minimize={"max_force": 1e-4}),
        "rms_force": keys(minimize={"rms_force": 1e-4}),
        "positions": keys(file=moved),
        "marks": keys(A="12-23", B="24-35"),
        "geometry": keys(geometry="fixed"),
    }
    for name, changed in changes.items():
        assert not set(changed.values()) & set(before.values()), name
    finals = [before["complex"], *(changed["complex"] for changed in changes.values())]
    assert len(set(finals)) == len(finals)


def test_a_complex_that_is_added_leaves_the_others_as_they_are(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    store, entry = tmp_path / "test.zarr", {"file": trimer[1], "A": "0-11", "B": "12-23"}
    _, before = run(spec(entry, models=[ADDITIVE]), store)
    second = {**entry, "name": "other pair", "A": "12-23", "B": "24-35"}
    larger = {**ADDITIVE, "name": "larger", "kwargs": {**ADDITIVE["kwargs"], "sigma": 2.2}}
    summary, ds = run(spec(entry, second, models=[ADDITIVE, larger]), store)
    assert (summary.computed, ds.sizes["complex"], ds.sizes["model"]) == (3, 2, 2)
    key = {"model": "pairs", "complex": "trimer"}
    assert ds.energy.sel(key).item() == before.energy.sel(key).item()
    assert ds.computed_at.sel(key).item() == before.computed_at.sel(key).item()


def test_a_model_that_cannot_do_it_is_skipped_with_its_reason(trimer: tuple[Structure, str], tmp_path: Path) -> None:
    structure = trimer[0]
    gold = Structure(
        np.append(structure.numbers, 79),
        np.vstack([structure.positions, [50.0, 0.0, 0.0]]),
        np.append(structure.molecules, 3),
        (*structure.kinds, "other"),
    )
    file = put(gold, tmp_path / "gold.xyz")
    summary, ds = run(
        spec({"file": file, "A": "0-11", "B": "12-23"}, models=["amber14", "so3lr"]), tmp_path / "test.zarr"
    )
    assert summary.ok
    reasons = ds.reason.sel(complex="gold").values.tolist()
    assert reasons[0].startswith("this model reads atoms by their place in NMA and water")
    assert reasons[1] == "elements Au are not declared by its card"


def test_a_force_field_does_a_pair_whose_atoms_stand_in_our_order(
    trimer: tuple[Structure, str], tmp_path: Path
) -> None:
    structure, file = trimer
    _, ds = run(spec({"file": file, "A": "0-11", "B": "12-23"}, models=["amber14"]), tmp_path / "test.zarr")
    one = ds.isel(model=0, complex=0)
    assert str(one.status.values) == "done"
    energies = evaluate_fragments(load("amber14"), [structure.with_positions(one.positions.values)])[0]
    pair = energies.energy((0, 1)) - energies.energy((0,)) - energies.energy((1,))
    assert float(one.interaction_energy_dimer) == pytest.approx(pair * EV_TO_KCAL, abs=1e-9)
    assert float(one.cooperative_energy) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"A": "0-36"}, r"complex trimer, A: expected atoms 0 to 35 of .*trimer.xyz, found 36"),
        ({"A": "0-12"}, r"expected A and B apart, found atoms \[12\] in both"),
        ({"A": [0]}, r"complex trimer: expected no bond between A and C, found atoms 0 and 1, 1\.5"),
        ({"file": "nowhere.xyz"}, r"complex nowhere: expected a file nowhere.xyz, found none"),
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


def test_a_spec_without_complexes_is_refused() -> None:
    with pytest.raises(ValueError, match="complexes"):
        spec()
