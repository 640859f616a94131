"""Energies at the minima of another model, as the paper did for Orb: ``geometry: [own, NAME]``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.models import load
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.monomers import build


def spec(**fields: object) -> HBondSpec:
    return HBondSpec.model_validate({"campaign": "test", "lengths": [2, 3], **fields})


def test_one_model_s_energies_at_another_s_minima(tmp_path: Path) -> None:
    made = hb.plan(spec(models=["so3lr", "toy"], geometry=["own", "toy"]))
    keys = [task.key for batch in made.batches for task in batch.tasks]
    assert len(keys) == len(set(keys)) == len(made.tasks)
    summary = hb.run(made, tmp_path / "test.zarr", serial=True, display=QuietDisplay())
    assert summary.ok, summary
    ds = (
        hb.open_store(tmp_path / "test.zarr").sel(length=3, pattern="arc", capping="none").isel(rotamer=0, constraint=0)
    )
    borrowed, own = ds.sel(geometry="toy"), ds.sel(geometry="own")
    for name in ("positions", "distance_on", "max_force"):
        np.testing.assert_array_equal(borrowed[name].sel(model="so3lr"), own[name].sel(model="toy"))
    np.testing.assert_array_equal(borrowed.cooperative_energy.sel(model="toy"), own.cooperative_energy.sel(model="toy"))
    assert not np.allclose(borrowed.cooperative_energy.sel(model="so3lr"), own.cooperative_energy.sel(model="so3lr"))
    structure = build(make_chain("arc", 3)).with_positions(own.positions.sel(model="toy").values[:36])
    energy = evaluate_fragments(load("so3lr"), [structure])[0].energy((0, 1, 2))
    assert float(borrowed.energy.sel(model="so3lr")) == pytest.approx(energy, abs=1e-8)


def test_an_absent_model_has_no_minima_for_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("HBCOOP_CACHE", str(tmp_path))
    made = hb.plan(spec(models=["toy", "ani-2x"], geometry=["own", "ani-2x"]))
    reasons = {cell.geometry: reason for cell, reason in made.skipped.items() if cell.model == "toy"}
    assert list(reasons) == ["ani-2x"]
    assert reasons["ani-2x"].startswith("there are no minima of ani-2x: model ani-2x: expected checkpoint")


def test_a_model_whose_minima_are_taken_has_geometry_own() -> None:
    with pytest.raises(ValueError, match="expected geometry own beside so3lr, whose minima are to be taken"):
        spec(models=["so3lr", "toy"], geometry=["so3lr"])
    with pytest.raises(
        ValueError, match="expected ani-2x among the models of the campaign, whose minima are to be taken"
    ):
        spec(models=["so3lr"], geometry=["own", "ani-2x"])
