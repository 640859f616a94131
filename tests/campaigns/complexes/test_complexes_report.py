"""A store of marked systems alone has a report of these, and says nothing of chains that nobody asked for."""

from __future__ import annotations

from pathlib import Path

import hbcoop_dist as hb
from hbcoop_dist.analysis import free_dimers
from hbcoop_dist.report import build_report, write_report
from hbcoop_dist.store import open_systems

STORE = Path(__file__).resolve().parents[2] / "store" / "free-dimers.zarr.zip"


def test_free_dimers_are_what_the_report_is_about(tmp_path: Path) -> None:
    systems = open_systems(STORE)
    report = build_report(hb.open_store(STORE), systems=systems)
    outcomes, board = free_dimers(systems), report.leaderboard.frame.set_index(["model", "start"])
    assert board["kept"].to_dict() == outcomes["kept"].to_dict()
    words = " ".join(report.summary)
    assert report.summary[0] == "9 models, 10 marked systems: 90 done."
    assert f"`amoeba2018` {outcomes.loc[('amoeba2018', 'syn'), 'kept']} kept" in words
    assert "chains" not in words
    assert "Nothing failed" not in words
    assert [table.anchor for table in report.tables] == ["systems"]
    page = write_report(report, tmp_path / "x.html").read_text(encoding="utf-8")
    assert 'id="explore"' not in page
    assert "free-dimers-figure" in page


def test_systems_of_other_names_are_told_as_they_are() -> None:
    systems = open_systems(STORE).isel(system=[0])
    report = build_report(hb.open_store(STORE), systems=systems.assign_coords(system=["mine"]))
    assert report.leaderboard.anchor == "systems"
    assert report.charts == ()
