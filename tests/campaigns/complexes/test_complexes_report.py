"""Reports on complexes with marked pairs, from the published store of free dimers."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from hbcoop_dist.analysis import free_dimers
from hbcoop_dist.analysis.report_content import ReportError, ReportOptions
from hbcoop_dist.campaigns.complexes.report_pages import build_report, complexes_table
from hbcoop_dist.references import reference_energies
from hbcoop_dist.report import write_report
from hbcoop_dist.store import open_store

STORE = Path(__file__).resolve().parents[3] / "store" / "free-dimers.zarr.zip"


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return open_store(STORE, kind="complexes").load()


def test_free_dimers_are_the_leaderboard(ds: xr.Dataset, tmp_path: Path) -> None:
    report = build_report(ds)
    outcomes, board = free_dimers(ds), report.leaderboard.frame.set_index(["model", "start"])
    assert board["kept"].to_dict() == outcomes["kept"].to_dict()
    assert report.title == "free-dimers"
    assert report.summary[0] == "9 models, 10 complexes: 90 done."
    assert f"`amoeba2018` {outcomes.loc[('amoeba2018', 'syn'), 'kept']} kept" in " ".join(report.summary)
    assert [table.anchor for table in report.tables] == ["complexes"]
    page = write_report(report, tmp_path / "x.html").read_text(encoding="utf-8")
    assert 'id="explore"' not in page
    assert "free-dimers-figure" in page


def test_the_table_has_the_values_of_every_done_complex(ds: xr.Dataset) -> None:
    part = ds.copy(deep=True)
    part["status"].loc[{"model": "so3lr", "complex": "syn-2"}] = "failed"
    frame = complexes_table(part).frame.set_index(["model", "complex"])
    assert len(frame) == ds["status"].size
    assert frame.loc[("so3lr", "syn-2"), "status"] == "failed"
    energy = frame["interaction energy dimer"]
    assert energy.isna().sum() == 1
    for (model, name), value in energy.dropna().items():
        assert value == ds["interaction_energy_dimer"].sel(model=model, complex=name).item()


def test_other_complexes_are_the_leaderboard_themselves(ds: xr.Dataset) -> None:
    report = build_report(ds.isel(complex=[0]).assign_coords(complex=["mine"]))
    assert report.leaderboard.anchor == "complexes"
    assert report.tables == report.charts == ()
    assert report.summary == ("9 models, 1 complex: 9 done.",)


@pytest.mark.parametrize(
    "options", [ReportOptions(reference="rimp2:cc-pvtz:frozen-core"), ReportOptions(references=reference_energies())]
)
def test_references_are_refused(ds: xr.Dataset, options: ReportOptions) -> None:
    with pytest.raises(ReportError, match="expected none for a store of kind complexes"):
        build_report(ds, options)
