"""A small store of two test potentials, one of them an ensemble, and its report."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr
from toy_ensemble import ToyEnsemble

import hbcoop_dist as hb
from hbcoop_dist.campaigns.hbond import worker as work
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.models import load
from hbcoop_dist.report import Report, build_report, write_report

SPEC = {
    "campaign": "small",
    "models": ["toy", "toy-additive"],
    "patterns": ["arc", "linear"],
    "lengths": [2, 3, 4, 5, 6],
    "capping": ["none", {"name": "water", "lengths": [2]}],
    "geometry": ["own", "nma-so3lr"],
}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "small.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "load_once", lambda card, *_: ToyEnsemble() if card.name == "toy" else load(card))
        hb.run(hb.plan(CampaignSpec.model_validate(SPEC)), path, serial=True)
    return path


@pytest.fixture(scope="session")
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


@pytest.fixture(scope="session")
def made(ds: xr.Dataset) -> Report:
    return build_report(ds)


@pytest.fixture(scope="session")
def page(made: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(made, tmp_path_factory.mktemp("page") / "report.html")
