"""AIMNet2 on the package's own architecture with random parameters: no published weights can be had everywhere."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from hbcoop_dist.models import ModelError, Potential, available, card, custom_card, load
from hbcoop_dist.models.checkpoints import find
from hbcoop_dist.models.checks.contract import check, probes

SHIFTS = {1: -13.6, 6: -1030.0, 7: -1485.0, 8: -2042.0}  # eV, about those of the atoms


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network saved by the package's own export, as the published ones are."""
    import torch
    import yaml

    folder = tmp_path_factory.mktemp("aimnet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import aimnet.models
        from aimnet.config import build_module
        from aimnet.train.export_model import export_model

        architecture = Path(aimnet.models.__file__).with_name("aimnet2_dftd3_wb97m.yaml")
        torch.manual_seed(0)
        network = build_module(yaml.safe_load(architecture.read_text()))
        with torch.no_grad():
            for name, bias in network.named_parameters():
                if name.startswith("mlps.") and bias.shape == (2 + 256,):
                    bias[1] = 1.0  # which atoms take up charge: random parameters let hardly any
        torch.save(network.state_dict(), folder / "trained.pt")
        (folder / "shifts.yaml").write_text(yaml.safe_dump(SHIFTS))
        path = folder / "aimnet2_wb97m_d3_0.pt"
        export_model.callback(
            str(folder / "trained.pt"), str(path), str(architecture), str(folder / "shifts.yaml"), None, None
        )
    return path


def _mine(path: Path, elements: tuple[int, ...] = tuple(SHIFTS)) -> Potential:
    return load(custom_card("mine", "aimnet", path, like="aimnet2").with_fields(elements=elements), path)


def test_the_contract_is_kept_and_what_is_not_promised_is_measured(checkpoint: Path) -> None:
    potential = _mine(checkpoint)
    assert (potential.card.about.layers, potential.card.about.cutoff, potential.card.receptive_field) == (3, 5.0, None)
    results = check(potential)
    failed = [result for result in results if not result.passed]
    assert not failed, "\n".join(map(str, failed))
    apart = next(result for result in results if result.name == "extensivity")
    assert apart.limit is None
    assert apart.measured > 1e-6, "charges are known to spread over all molecules"


def test_energies_forces_and_charges_are_the_package_s_in_its_own_float_type(checkpoint: Path) -> None:
    from aimnet.calculators import AIMNet2Calculator

    dimer = probes()["dimer"]
    found = _mine(checkpoint).evaluate([dimer])[0]
    theirs = AIMNet2Calculator(str(checkpoint), device="cpu").eval(
        {"coord": dimer.positions, "numbers": dimer.numbers, "charge": 0.0}, forces=True
    )
    assert found.forces is not None
    assert found.charges is not None
    assert found.energy == pytest.approx(theirs["energy"].item(), abs=1e-6)
    np.testing.assert_allclose(found.forces, theirs["forces"].numpy(), atol=2e-6)
    np.testing.assert_allclose(found.charges, theirs["charges"].detach().numpy(), atol=1e-6)


def test_nothing_is_printed_and_torch_is_left_as_it_was(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import torch

    before = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    _mine(checkpoint).evaluate([probes()["water"]])
    assert (torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_used_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"for all its elements, found none for \[9\]"):
        _mine(checkpoint, (*SHIFTS, 9))
    shutil.copy(checkpoint, script := tmp_path / "mine.jpt")
    with pytest.raises(ModelError, match="found TorchScript"):
        _mine(script)
    (broken := tmp_path / "mine.pt").write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"mine\.pt is no AIMNet2 network"):
        _mine(broken)


def test_the_package_s_own_downloads_are_found(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", "")
    monkeypatch.setenv("HBCOOP_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("AIMNET_CACHE_DIR", str(checkpoint.parent))
    found = find(card("aimnet2").with_fields(sha256=None))
    assert found.path == checkpoint
    assert "is not its checkpoint" in available(card("aimnet2")).reason
