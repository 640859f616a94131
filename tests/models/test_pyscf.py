"""PySCF's models: laws of their parts, and numbers that were published elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Hartree, kcal, mol

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.models import ModelError, Potential, card, load
from hbcoop_dist.models.checks.contract import check, probes
from hbcoop_dist.models.families.pyscf import PyscfPotential
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.monomers import build

WATER = probes()["water"]


def _water_dimer() -> Structure:
    """Cs minimum of the water dimer, CCSD(T) geometry of the S22 set, A."""
    numbers = np.array([8, 1, 1, 8, 1, 1])
    positions = np.array(
        [
            [-1.551007, -0.114520, 0.000000],
            [-1.934259, 0.762503, 0.000000],
            [-0.599677, 0.040712, 0.000000],
            [1.350625, 0.111469, 0.000000],
            [1.680398, -0.373741, -0.758561],
            [1.680398, -0.373741, 0.758561],
        ]
    )
    return Structure(numbers, positions, np.array([0, 0, 0, 1, 1, 1]), ("water", "water"))


def _energy(potential: Potential, structure: Structure) -> float:
    return potential.evaluate([structure], forces=False)[0].energy


def test_a_name_says_what_the_model_is() -> None:
    found = card("scs-mp2:aug-cc-pvtz:frozen-core:cp")
    assert found.about.level_of_theory == "SCS-RI-MP2/aug-cc-pvtz, density fitting, frozen core, counterpoise"
    assert found.combination == {"hf": 1.0, "same_spin": 1 / 3, "opposite_spin": 6 / 5}
    assert (found.abilities.counterpoise, found.abilities.forces) == (True, False)
    assert found.abilities.single_point_cost == "minutes"
    assert card("rimp2:cc-pVDZ").options == card("rimp2:ccpvdz").options
    assert card("pbe0-d4:def2-svp").needs.modules == ("pyscf", "pyscf.dispersion")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rimp2:cc-pvdz:frozen", "expected flags among frozen-core, cp, each once, found frozen"),
        ("rimp2:cc-pvdz:cp:cp", "each once, found cp, cp"),
        ("hf:cc-pvdz:frozen-core", "expected flags among cp, each once"),
        ("hf:nonsense", "expected a basis set with fitting sets .* found nonsense"),
        ("nonsense:cc-pvdz", "expected a functional of PySCF, found nonsense"),
        ("pbe0-d3foo:cc-pvdz", "dispersion d3foo is none of d3bj"),
        ("pbe+pbe0:cc-pvdz", "quantum chemistry is METHOD:BASIS"),
        ("RIMP2:cc-pvdz", "quantum chemistry is METHOD:BASIS"),
        ("mp2:cc-pvdz", "expected rimp2, scs-mp2, sos-mp2, hf or a functional, found mp2"),
        ("wb97x-d:cc-pvdz", "expected a functional of PySCF, found wb97x-d: .* not supported"),
    ],
)
def test_a_name_that_is_wrong_is_refused_before_anything_runs(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        card(name)
    with pytest.raises(ValueError, match=words):
        HBondSpec.model_validate({"campaign": "x", "lengths": [2], "models": [name]})


def test_mp2_is_that_of_the_plain_integrals_to_the_error_of_the_fit() -> None:
    """Against PySCF's own MP2 without density fitting: 1e-4 Ha of 76, and the same spin parts."""
    from ase.data import chemical_symbols
    from pyscf import gto, mp, scf

    atoms = [(chemical_symbols[z], tuple(at)) for z, at in zip(WATER.numbers, WATER.positions / Bohr, strict=True)]
    solved = scf.RHF(gto.M(atom=atoms, basis="cc-pvdz", unit="Bohr", verbose=0)).run(conv_tol=1e-10)
    theirs = mp.MP2(solved).run()
    parts = load("rimp2:cc-pvdz").evaluate([WATER], forces=False)[0].parts
    assert parts["hf"] / Hartree == pytest.approx(solved.e_tot, abs=1e-4)
    assert parts["same_spin"] / Hartree == pytest.approx(theirs.e_corr_ss, abs=1e-4)
    assert parts["opposite_spin"] / Hartree == pytest.approx(theirs.e_corr_os, abs=1e-4)


def test_spin_scaled_energies_are_sums_of_the_same_parts() -> None:
    found = {name: load(f"{name}:cc-pvdz").evaluate([WATER], forces=False)[0] for name in ("rimp2", "scs-mp2")}
    parts = found["rimp2"].parts
    assert found["scs-mp2"].parts == parts
    assert found["rimp2"].energy == pytest.approx(sum(parts.values()), abs=1e-12)
    scaled = parts["hf"] + parts["same_spin"] / 3 + 6 * parts["opposite_spin"] / 5
    assert found["scs-mp2"].energy == pytest.approx(scaled, abs=1e-12)
    assert load("hf:cc-pvdz").evaluate([WATER], forces=False)[0].energy == pytest.approx(parts["hf"], abs=1e-8)


def test_core_orbitals_are_left_out_where_asked() -> None:
    whole, frozen = (
        load(f"rimp2:cc-pvdz{flag}").evaluate([WATER], forces=False)[0].parts for flag in ("", ":frozen-core")
    )
    assert frozen["hf"] == pytest.approx(whole["hf"], abs=1e-9)
    assert 0 < frozen["opposite_spin"] - whole["opposite_spin"] < 0.2


def test_counterpoise_lowers_fragments_and_weakens_the_bond() -> None:
    dimer = _water_dimer()
    potential = load("rimp2:aug-cc-pvdz:cp")
    ghosted, alone = dimer.ghosted([0]), dimer.subset([0])
    assert _energy(potential, ghosted) < _energy(potential, alone)
    plain, corrected = (
        _energy(potential, dimer) - sum(_energy(potential, piece(dimer, m)) for m in (0, 1))
        for piece in (lambda s, m: s.subset([m]), lambda s, m: s.ghosted([m]))
    )
    # RI-MP2/aug-cc-pVDZ, S22 geometry: -5.1 without and -4.4 with counterpoise, the limit of the basis being -4.97
    # (Jurecka et al., Phys. Chem. Chem. Phys. 2006, 8, 1985: MP2 -5.03 extrapolated)
    assert plain * mol / kcal == pytest.approx(-5.1, abs=0.2)
    assert corrected * mol / kcal == pytest.approx(-4.4, abs=0.2)


def test_a_family_without_basis_functions_refuses_ghosts() -> None:
    with pytest.raises(ModelError, match="gfn2-xtb: expected structures without ghost atoms"):
        load("gfn2-xtb").evaluate([probes()["dimer"].ghosted([0])])


@pytest.mark.parametrize("name", ["hf:sto-3g", pytest.param("pbe0-d3bj:sto-3g", marks=pytest.mark.slow)])
def test_forces_are_the_gradient_on_the_grid_that_is_used(name: str) -> None:
    potential = load(name)
    forces = potential.evaluate([WATER])[0].forces
    assert forces is not None
    for axis in range(3):
        energies = []
        for count in (-2, -1, 1, 2):
            moved = WATER.positions.copy()
            moved[1, axis] += count * 2e-3
            energies.append(_energy(potential, WATER.with_positions(moved)))
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * 2e-3)
        assert forces[1, axis] == pytest.approx(-slope, abs=2e-6)


def test_a_model_without_forces_lends_no_minima() -> None:
    spec = {"campaign": "x", "lengths": [2], "models": ["toy", "rimp2:sto-3g"], "geometry": ["own", "rimp2:sto-3g"]}
    with pytest.raises(ValueError, match="expected models with forces, which have minima, found rimp2:sto-3g"):
        HBondSpec.model_validate(spec)


def test_mp2_has_no_forces_and_says_so() -> None:
    with pytest.raises(ModelError, match="expected a request for energies only, found one for forces"):
        load("rimp2:sto-3g").evaluate([WATER])


def test_a_radical_is_refused() -> None:
    lone = Structure(np.array([8, 1]), np.array([[0.0, 0, 0], [0.97, 0, 0]]), np.zeros(2, dtype=int), ("other",))
    with pytest.raises(ModelError, match="expected paired electrons, found 9"):
        load("hf:sto-3g").evaluate([lone])


def test_a_killed_mp2_goes_on_behind_its_scf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    potential = load("rimp2:cc-pvdz")
    assert isinstance(potential, PyscfPotential)
    calm = _energy(potential, WATER)
    kept = potential.with_scratch(tmp_path)
    with monkeypatch.context() as killed:
        killed.setattr(PyscfPotential, "_solve_mp2", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _energy(kept, WATER)
    assert len(list((tmp_path / "pyscf").iterdir())) == 1
    cycles = []
    solve = PyscfPotential._solve_scf

    def counted(self: PyscfPotential, *arguments: object) -> object:
        solved = solve(self, *arguments)  # type: ignore[arg-type]
        cycles.append(solved.cycles)
        return solved

    monkeypatch.setattr(PyscfPotential, "_solve_scf", counted)
    assert _energy(kept, WATER) == pytest.approx(calm, abs=1e-8)
    assert cycles[0] <= 2
    assert not list((tmp_path / "pyscf").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf:sto-3g", "rimp2:sto-3g", "pbe0:sto-3g"])
def test_the_contract_is_kept(name: str) -> None:
    failed = [result for result in check(load(name)) if not result.passed]
    assert not failed, "\n".join(map(str, failed))


def test_a_store_has_both_of_one_calculation(tmp_path: Path) -> None:
    names = ["toy", "rimp2:sto-3g", "scs-mp2:sto-3g"]
    spec = {"campaign": "x", "lengths": [2], "models": names, "geometry": ["own", "toy"]}
    summary = hb.run(hb.plan(HBondSpec.model_validate(spec)), tmp_path / "x.zarr", serial=True)
    assert summary.ok, summary
    ds = hb.open_store(tmp_path / "x.zarr").sel(geometry="toy", length=2).squeeze()
    dimer = build(make_chain("arc", 2)).with_positions(ds.positions.sel(model="toy").values[:24])
    parts = load("rimp2:sto-3g").evaluate([dimer], forces=False)[0].parts
    for name in names[1:]:
        wanted = sum(weight * parts[part] for part, weight in card(name).combination.items())
        assert float(ds.energy.sel(model=name)) == pytest.approx(wanted, abs=1e-7)
        assert float(ds.cooperative_energy.sel(model=name)[0]) == pytest.approx(0, abs=1e-6)
    assert ds.task_key.sel(model=names[1]) == ds.task_key.sel(model=names[2])
    assert set(ds.reason.sel(model=names[1]).values.ravel()) == {""}


def test_mp2_and_its_spin_scaled_forms_are_one_set_of_tasks_one_per_fragment() -> None:
    names = ["so3lr", "rimp2:cc-pvdz", "scs-mp2:cc-pvdz"]
    spec = {"campaign": "x", "lengths": [3], "models": names, "geometry": ["own", "so3lr"]}
    made = hb.plan(HBondSpec.model_validate(spec))
    quantum = [batch for batch in made.batches if batch.model != "so3lr"]
    # 7 fragments of the trimer, 3 of the syn dimer both H-bonds have
    assert [len(batch.tasks) for batch in quantum] == [1] * 10
    assert {batch.model for batch in quantum} == {"rimp2:cc-pvdz"}
    skipped = {(cell.model, cell.geometry): reason for cell, reason in made.skipped.items()}
    assert set(skipped) == {(name, "own") for name in names[1:]}
    assert all("has no forces" in reason for reason in skipped.values())


def test_memory_that_is_no_number_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSCF_MAX_MEMORY", "4GB")
    with pytest.raises(ModelError, match=r"hf:cc-pvdz: expected PYSCF_MAX_MEMORY in MB, .* above 0, found 4GB"):
        card("hf:cc-pvdz")


def test_an_unknown_basis_is_answered_with_those_there_are_as_chemists_write_them() -> None:
    with pytest.raises(ModelError, match=r"fitting sets \(cc-pvdz, aug-cc-pvdz, .*def2-tzvp.*\), found foo"):
        card("hf:foo")


def test_a_scratch_folder_that_cannot_be_written_costs_no_energy(tmp_path: Path) -> None:
    (tmp_path / "pyscf").write_text("a file where the folder should be")
    potential = load("rimp2:cc-pvdz")
    water = probes()["water"]
    with_scratch = potential.with_scratch(tmp_path)  # type: ignore[attr-defined]
    assert with_scratch.evaluate([water], forces=False)[0].parts == potential.evaluate([water], forces=False)[0].parts
