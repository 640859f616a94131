"""Dataset and report of a small store of hydrogen-bonded chains."""

from __future__ import annotations

import pytest
import xarray as xr
from small_hbond_store import small_hbond_store

import hbcoop_dist as hb
from hbcoop_dist.analysis.report_content import Report
from hbcoop_dist.campaigns.hbond.report_pages import build_report


@pytest.fixture(scope="session")
def ds(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return hb.open_store(small_hbond_store(tmp_path_factory.getbasetemp())).load()


@pytest.fixture(scope="session")
def chain_report(ds: xr.Dataset) -> Report:
    return build_report(ds)
