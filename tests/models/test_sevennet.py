"""SevenNet is the package's own model, and reads nothing but plain data; runs in environments/sevennet.txt."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from hbcoop_dist.models import ModelError, available, card, custom_card, load
from hbcoop_dist.models.checkpoints import embedded
from hbcoop_dist.models.checks.contract import probes

NAME = "sevennet-0"

needs_package = pytest.mark.skipif(not available(card(NAME)), reason=available(card(NAME)).reason)


@pytest.mark.skipif(bool(available(card(NAME))), reason="sevenn is installed here")
def test_the_reason_for_a_missing_package_names_its_environment() -> None:
    assert "environments/sevennet.txt" in available(card(NAME)).reason


@needs_package
def test_energies_and_forces_are_the_package_s_to_its_float32_noise() -> None:
    shipped = embedded(card(NAME))
    assert shipped is not None
    potential = load(NAME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sevenn.calculator import SevenNetCalculator

        calculator = SevenNetCalculator(str(shipped.path), device="cpu")
    structures = list(probes().values())
    for structure, ours in zip(structures, potential.evaluate(structures), strict=True):
        atoms = structure.to_ase()
        atoms.calc = calculator
        assert ours.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        assert ours.forces is not None
        np.testing.assert_allclose(ours.forces, atoms.get_forces(), atol=1e-4)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


@needs_package
def test_a_file_that_would_run_code_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import torch

    path = tmp_path / "mine.pth"
    torch.save({"config": Harmful()}, path, pickle_module=pickle)
    with pytest.raises(ModelError, match="not a readable SevenNet network"):
        load(custom_card("mine", "sevennet", path), path)
    assert not (tmp_path / "harm").exists()


@needs_package
def test_a_network_of_several_fidelities_is_refused_by_name() -> None:
    shipped = embedded(card(NAME))
    assert shipped is not None
    path = shipped.path.parents[1] / "SevenNet_MF_0" / "checkpoint_sevennet_mf_0.pth"
    with pytest.raises(ModelError, match=r"expected a network of one fidelity .* found R2SCAN, PBE"):
        load(custom_card("mine", "sevennet", path), path)
