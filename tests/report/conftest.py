"""Reports of a small store of hydrogen-bonded chains, and of a table whose texts contain markup."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure
from small_hbond_store import small_hbond_store

import hbcoop_dist as hb
from hbcoop_dist.analysis.report_content import Chart, Report, Table
from hbcoop_dist.campaigns.hbond.report_pages import build_report
from hbcoop_dist.report import write_report


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_hbond_store(tmp_path_factory)


@pytest.fixture(scope="session")
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


@pytest.fixture(scope="session")
def chain_report(ds: xr.Dataset) -> Report:
    return build_report(ds)


@pytest.fixture(scope="session")
def page(chain_report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(chain_report, tmp_path_factory.mktemp("page") / "report.html")


def report_of(table: Table, text: str) -> Report:
    """A report with one table, one empty figure, and `text` in every other place."""
    return Report(
        title=text,
        subtitle=text,
        topic=text,
        about=text,
        figures_caption=text,
        summary=(text,),
        leaderboard=table,
        tables=(table,),
        charts=(Chart("figure", text, text, Figure),),
        campaigns=(text,),
        citations=(text,),
    )


@pytest.fixture
def plain_report() -> Report:
    return report_of(Table("rows", "Rows", "Caption.", pd.DataFrame({"model": ["a"], "value": [1.0]})), "text")
