"""MACE on checkpoints of mace-torch's: read by this version and an older one, and what is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.models import ModelError, Potential, available, card, custom_card, load
from hbcoop_dist.models.checks.contract import check, probes

FILES = {"now": "mace-r-4-l-0.model", "2022": "mace-spice-2022.model"}


def weights(name: str) -> Path:
    for entry in (*os.environ.get("HBCOOP_CHECKPOINTS", "").split(os.pathsep), "../shared/weights"):
        for path in (Path(entry, name), *Path(entry).glob(f"*/{name}")):
            if path.exists():
                return path
    pytest.skip(f"no {name} in HBCOOP_CHECKPOINTS or ../shared/weights")


def loaded(path: Path) -> Potential:
    return load(custom_card("mine", "mace", path, trusted=True), path)


@pytest.mark.parametrize("name", FILES.values(), ids=FILES)
def test_networks_keep_the_contract(name: str) -> None:
    potential = loaded(weights(name))
    failed = [result for result in check(potential) if not result.passed]
    assert not failed, "\n".join(map(str, failed))


def test_energies_and_forces_are_the_package_s(monkeypatch: pytest.MonkeyPatch) -> None:
    # the package sets it when it is first imported; ours keeps that from everybody else
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = weights(FILES["now"])
    ours = loaded(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mace.calculators import MACECalculator

        calculator = MACECalculator(model_paths=str(path), device="cpu", default_dtype="float64")
    structures = [one for one in probes().values() if len(one) > 1]
    for structure, found in zip(structures, ours.evaluate(structures, atom_energies=True), strict=True):
        atoms = structure.to_ase()
        atoms.calc = calculator
        assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-9)
        # the package's are without the self-energies
        shift = np.asarray(found.atom_energies) - calculator.results["node_energy"]
        assert max(np.ptp(shift[structure.numbers == z]) for z in set(structure.numbers)) < 1e-9


def test_the_card_of_a_loaded_network_says_what_its_file_says() -> None:
    found = loaded(weights(FILES["2022"])).card
    assert (found.about.cutoff, found.about.layers) == (4.5, 2)
    assert {3, 11, 19} <= set(found.about.elements), "it was trained on ions too"


def test_a_copy_that_was_saved_again_is_another_file_of_the_same_parameters(tmp_path: Path) -> None:
    import torch

    path, copy = weights(FILES["now"]), tmp_path / "copy.model"
    first = loaded(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(first.network.float(), copy)  # type: ignore[attr-defined]
    assert copy.read_bytes() != path.read_bytes()
    assert loaded(copy).parameter_hash == first.parameter_hash


def test_importing_the_package_leaves_torch_as_careful_as_it_was() -> None:
    path = str(weights(FILES["now"]))
    code = (
        "import os, sys; from hbcoop_dist.models import custom_card, load; "
        "load(custom_card('mine', 'mace', sys.argv[1], trusted=True), sys.argv[1]); "
        "sys.exit('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' in os.environ)"
    )
    environment = {name: text for name, text in os.environ.items() if not name.startswith("TORCH_FORCE")}
    found = subprocess.run([sys.executable, "-c", code, path], env=environment, capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("harm",)


def test_a_pickle_that_nobody_vouches_for_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.model"
    path.write_bytes(pickle.dumps(Harmful()))
    mine = custom_card("mine", "mace", path)
    with pytest.raises(ModelError, match=r"is a pickle, which can run any code .* add trust: true or sha256"):
        load(mine, path)
    assert not (tmp_path / "harm").exists()
    assert available(mine.with_fields(trusted=True), path)


def test_what_is_no_network_is_refused_by_name(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "mine.model"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="is not a readable MACE network"):
        loaded(path)
    torch.save({"state": 1}, path)
    with pytest.raises(ModelError, match=r"expected a network among MACE, ScaleShiftMACE, MACELES .* found dict"):
        loaded(path)


def test_a_released_model_is_known_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "MACE-OFF23_small.model"
    wrong.write_bytes(b"truncated")
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", str(tmp_path))
    reason = available(card("mace-off23-small")).reason
    assert "is not its checkpoint" in reason
    assert "165cce4cfec5a34b" in reason


def test_a_spec_says_whom_it_trusts() -> None:
    entry = {"name": "mine", "family": "mace", "checkpoint": "x.model"}
    spec = {"campaign": "test", "lengths": [2], "models": [{**entry, "trust": True}]}
    assert HBondSpec.model_validate(spec).models[0].card().checkpoint.trusted
    with pytest.raises(ValueError, match="expected a family and its checkpoint beside like, options, sha256 or trust"):
        HBondSpec.model_validate({**spec, "models": [{"name": "so3lr", "trust": True}]})
