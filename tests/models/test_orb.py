"""Orb on the package's own architectures with random parameters: no published weights can be had everywhere."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.models import ModelError, Potential, available, card, custom_card, load
from hbcoop_dist.models.checkpoints import find
from hbcoop_dist.models.checks.contract import CheckResult, check, probes
from hbcoop_dist.models.families import orb as family

NAMES = ("orb-d3-xs-v2", "orb-v3-conservative-20-omat", "orb-v3-conservative-omol")


def _network(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from orb_models.forcefield import pretrained
    if name == "orb-d3-xs-v2":
        return pretrained.orb_v2_architecture(num_message_passing_steps=5, device="cpu")
    omol = name.endswith("omol")
    return pretrained.orb_v3_conservative_architecture(device="cpu", has_charge_spin_cond=omol, has_stress=not omol)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State dicts under the published names."""
    import torch

    path = tmp_path_factory.mktemp("orb")
    for seed, name in enumerate(NAMES):
        torch.manual_seed(seed)
        torch.save(_network(name).state_dict(), path / str(card(name).checkpoint.file))
    return path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", str(folder))
    return folder


def _named(results: list[CheckResult]) -> dict[str, CheckResult]:
    return {result.name: result for result in results}


def test_what_costs_little_of_the_contract_is_kept(here: Path) -> None:
    wanted = ("finite", "batch equals loop", "repeat", "translation", "permutation", "float type", "atom energies")
    results = check(load(NAMES[0]), wanted)
    assert len(results) == len(wanted)
    failed = [result for result in results if not result.passed]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", NAMES)
def test_networks_keep_the_contract_and_what_they_do_not_promise_is_measured(name: str, here: Path) -> None:
    results = check(load(name))
    failed = [result for result in results if not result.passed]
    assert not failed, "\n".join(map(str, failed))
    found = _named(results)
    assert found["extensivity"].limit is None
    assert found["extensivity"].measured > 1e-6, "the energy head is known to average over all atoms"
    assert found["rotation"].limit is None
    assert (found["forces are the gradient"].limit is None) == (not card(name).abilities.forces_are_gradient)
    jump = found["smooth through the cutoff"]
    assert (jump.limit is None) == (not card(name).abilities.smooth)
    assert card(name).abilities.smooth or jump.measured > 1e-5, "the twentieth neighbour is known to change all at once"


@pytest.mark.parametrize("name", NAMES)
def test_energies_and_forces_are_the_package_s(name: str, here: Path) -> None:
    import torch

    ours = load(name)
    structures = [probes()["dimer"], probes()["water"]]
    found = ours.evaluate(structures)
    before = torch.get_default_dtype()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from orb_models.forcefield.calculator import ORBCalculator
            from orb_models.forcefield.pretrained import ORB_PRETRAINED_MODELS

            path = str(here / str(card(name).checkpoint.file))
            network = ORB_PRETRAINED_MODELS[name](path, device="cpu", precision="float64", compile=False)
            for structure, one in zip(structures, found, strict=True):
                atoms = structure.to_ase()
                atoms.info |= {"charge": 0, "spin": 1}
                atoms.calc = ORBCalculator(network, device="cpu")
                assert one.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
                np.testing.assert_allclose(one.forces, atoms.get_forces(), atol=1e-9)
    finally:
        torch.set_default_dtype(before)


def test_nothing_is_printed_and_torch_is_left_as_it_was(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import torch

    before = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    load(NAMES[0]).evaluate([probes()["water"]])
    assert (torch.get_default_dtype(), torch.get_float32_matmul_precision()) == before
    assert capfd.readouterr() == ("", "")


def test_a_model_that_knows_charge_and_spin_is_told_neutral_singlet(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = load("orb-v3-conservative-omol")
    neutral = potential.evaluate([probes()["water"]], forces=False)[0].energy
    monkeypatch.setattr(family, "_CHARGE", 1)
    assert potential.evaluate([probes()["water"]], forces=False)[0].energy != neutral
    monkeypatch.setattr(family, "_CHARGE", 0)
    monkeypatch.setattr(family, "_SPIN", 3)
    assert potential.evaluate([probes()["water"]], forces=False)[0].energy != neutral


def test_a_state_dict_without_heads_is_refused_though_the_package_takes_it(folder: Path, tmp_path: Path) -> None:
    import torch

    state = torch.load(folder / str(card(NAMES[0]).checkpoint.file))
    path = tmp_path / "mine.ckpt"
    torch.save({name: value for name, value in state.items() if not name.startswith("heads.energy")}, path)
    with pytest.raises(ModelError, match=r"mine: expected energy and force heads .* found no heads\.energy\."):
        _mine(path)
    # as the first releases name them
    old = {"heads.energy.": "graph_head.", "heads.forces.": "node_head.", "heads.stress.": "stress_head."}
    for new, name in old.items():
        state = {key.replace(new, name): value for key, value in state.items()}
    torch.save(state, path)
    assert _mine(path).parameter_hash


@pytest.mark.parametrize("content", [b"not a checkpoint", None], ids=["no file of torch", "another architecture"])
def test_what_is_no_state_dict_of_the_architecture_is_refused(
    folder: Path, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "mine.ckpt"
    if content is None:
        shutil.copy(folder / str(card(NAMES[1]).checkpoint.file), path)
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"mine.ckpt is no state dict of orb-d3-xs-v2"):
        _mine(path)


def _mine(path: Path) -> Potential:
    return load(custom_card("mine", "orb", path, like="orb-d3-xs-v2"), path)


def test_a_spec_says_which_architecture_a_checkpoint_has(tmp_path: Path) -> None:
    entry = {"name": "mine", "family": "orb", "checkpoint": "x.ckpt"}
    spec = {"campaign": "test", "lengths": [2], "models": [{**entry, "like": "orb-v3-conservative-20-omat"}]}
    found = HBondSpec.model_validate(spec).models[0].card()
    assert (found.about.layers, found.abilities.forces_are_gradient, found.abilities.max_force) == (5, True, None)
    assert found.options["architecture"] == "orb-v3-conservative-20-omat"
    refusals = {"like": "expected like to be one of orb-v2,", "options": "expected no options of family orb"}
    for wrong, words in refusals.items():
        value = "ani-2x" if wrong == "like" else {"head": "x"}
        with pytest.raises(ValueError, match=words):
            HBondSpec.model_validate({**spec, "models": [{**entry, wrong: value}]})


def test_the_package_s_own_downloads_are_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", "")
    monkeypatch.setenv("HBCOOP_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("CACHED_PATH_CACHE_ROOT", str(tmp_path))
    model = card(NAMES[0])
    assert "hbcoop models fetch orb-d3-xs-v2" in available(model).reason
    name = hashlib.sha256(str(model.checkpoint.url).encode()).hexdigest() + ".0123"
    shutil.copy(folder / str(model.checkpoint.file), tmp_path / name)
    for beside in (".json", ".lock"):
        (tmp_path / f"{name}{beside}").touch()
    found = find(model)
    assert found.path == tmp_path / name
    assert available(model.with_fields(sha256="0" * 64)).reason.startswith("model orb-d3-xs-v2: ")
