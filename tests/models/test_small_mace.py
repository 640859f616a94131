"""A MACE that mace-torch trains here, from its checkpoint to a campaign: nothing published is needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from small_mace import train

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.cli import model_commands as models_command
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.models import custom_card, load
from hbcoop_dist.models.checks.contract import check


class Recorded:
    """A display that keeps the messages of a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def update(self, *_: Any, **__: Any) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for seconds: a real network with poor numbers."""
    return train(tmp_path_factory.mktemp("hasty"), epochs=3, count=30)


def spec(path: Path, **fields: Any) -> HBondSpec:
    model = {"name": "small", "family": "mace", "checkpoint": str(path), "trust": True}
    return HBondSpec.model_validate({"campaign": "test", "models": [model], "lengths": [2], **fields})


def saved_again(path: Path, target: Path, change: Callable[[Any], None] = lambda network: None) -> Path:
    import torch

    network: Any = load(custom_card("mine", "mace", path, trusted=True), path).network  # type: ignore[attr-defined]
    change(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(network, target)
    return target


def test_what_the_package_saves_keeps_the_contract(hasty: Path) -> None:
    failed = [one for one in check(load(custom_card("small", "mace", hasty, trusted=True), hasty)) if not one.passed]
    assert not failed, "\n".join(map(str, failed))


def test_a_checkpoint_is_checked_by_the_spec_it_is_in(hasty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beside = hasty.with_name("mine.yaml")
    entry = {"name": "small", "family": "mace", "checkpoint": hasty.name, "trust": True}
    beside.write_text(dump_yaml({"campaign": "test", "models": [entry], "lengths": 2}))
    assert models_command.check("small", "cpu", Console(width=120), spec=str(beside), speed=False)
    assert "small on cpu" in capsys.readouterr().out


def test_a_copy_saved_again_is_told_from_another_model(hasty: Path, tmp_path: Path) -> None:
    def disturb(network: Any) -> None:
        next(iter(network.parameters())).data.add_(1e-3)

    files = [hasty, saved_again(hasty, tmp_path / "copy.model"), saved_again(hasty, tmp_path / "other.model", disturb)]
    store, told, kept = tmp_path / "test.zarr", [], []
    for path in files:
        spoken = Recorded()
        # what it ends with does not matter here
        hb.run(hb.plan(spec(path, minimize={"max_calls": 3})), store, serial=True, display=spoken)
        told.append([line for line in spoken.lines if line.startswith("small: its checkpoint is another file")])
        with xr.open_zarr(store) as opened:
            kept.append((str(opened.checkpoint_sha256.values.item()), str(opened.parameter_hash.values.item())))
    assert [len(lines) for lines in told] == [0, 1, 1]
    assert told[1][0].endswith("with the same parameters, saved again")
    assert told[2][0].endswith("with other parameters: another model")
    assert len({file for file, _ in kept}) == 3
    assert kept[0][1] == kept[1][1] != kept[2][1]


@pytest.mark.slow
def test_trained_for_minutes_it_has_hydrogen_bonds_and_sees_no_further_than_it_can(tmp_path: Path) -> None:
    path = train(tmp_path, epochs=60, count=120)
    store = tmp_path / "test.zarr"
    summary = hb.run(hb.plan(spec(path, lengths=[2, 3, 6])), store, serial=True, display=Recorded())
    assert summary.ok, summary
    with xr.open_zarr(store) as opened:
        assert (opened.status == "done").all()
        assert 2.6 < float(opened.dimer_distance_on.sel(conformer="syn")) < 3.3
        energy = opened.cooperative_energy.isel(hbond=slice(5)).sel(length=6).values
        assert np.isfinite(energy).all()
