"""Reports of a small store of hydrogen-bonded chains, and of a table whose texts contain markup."""

from __future__ import annotations

from collections.abc import Callable
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
    return small_hbond_store(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


@pytest.fixture(scope="session")
def chain_report(ds: xr.Dataset) -> Report:
    return build_report(ds)


@pytest.fixture(scope="session")
def page(chain_report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(chain_report, tmp_path_factory.mktemp("page") / "report.html")


def _report_of(text: str) -> Report:
    """A report with one table, one empty figure, and `text` in every place that takes text."""
    table = Table("rows", text, text, pd.DataFrame({"model": [text], text: [1.0]}))
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


@pytest.fixture(scope="session")
def report_of() -> Callable[[str], Report]:
    return _report_of
