"""What a report says is what the store holds: sentences and tables against the dataset, also a changed one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bokeh.models import GlyphRenderer, Line, Segment
from hbcoop_dist.report.ranking import REFERENCE
from hbcoop_dist.report.sentences import headline, summary

from hbcoop_dist.references import read_references, reference_energies
from hbcoop_dist.report import Report, ReportError, build_report

PLACE = {"model": "toy", "pattern": "arc", "capping": "none", "geometry": "own"}


def _middle(ds: xr.Dataset, model: str, length: int) -> float:
    place = {"model": model, "pattern": "arc", "length": length, "capping": "none", "geometry": "own"}
    return float(ds["cooperative_energy"].sel(place).isel(rotamer=0).sel(position="middle"))


def _sentence(report: Report, beginning: str) -> str:
    (found,) = [sentence for sentence in report.summary if sentence.startswith(beginning)]
    return found


def test_numbers_in_words_are_those_of_the_store(made: Report, ds: xr.Dataset) -> None:
    flat = _sentence(made, "Flat beyond")
    assert f"`toy` {_middle(ds, 'toy', 4):.2f} to {_middle(ds, 'toy', 6):.2f} at n = 6" in flat
    none = _sentence(made, "No cooperativity")
    assert f"`toy-additive` {_middle(ds, 'toy-additive', 4):.2f}" in none
    assert "toy-additive" not in flat
    assert not any(sentence.startswith("Keep growing") for sentence in made.summary)
    assert "0 of 2 models" in made.subtitle


def test_growing_flat_and_falling_are_called_so(ds: xr.Dataset) -> None:
    def changed(beyond: float) -> Report:
        other = ds.copy(deep=True)
        place = {"model": "toy", "pattern": "arc", "capping": "none", "geometry": "own"}
        other["cooperative_energy"].loc[place] = 1.0
        other["cooperative_energy"].loc[{**place, "length": [5, 6]}] = 1.0 + beyond
        return build_report(other)

    assert "`toy` 1.00 to 1.30 at n = 6" in _sentence(changed(0.3), "Keep growing")
    assert "1 of 2 models" in changed(0.3).subtitle
    assert "`toy` 1.00 to 1.05" in _sentence(changed(0.05), "Flat beyond")
    assert "`toy` 1.00 to 0.50" in _sentence(changed(-0.5), "Weaker in longer chains")
    assert "0 of 2 models" in changed(0.05).subtitle


def test_the_spread_of_an_ensemble_is_told_and_drawn(made: Report, ds: xr.Dataset) -> None:
    spread = ds["cooperative_energy_spread"].sel(PLACE).squeeze().sel(position="middle", length=6).item()
    said = _sentence(made, "Middle H-bond of the longest open arc")
    assert said.endswith(f": `toy` {_middle(ds, 'toy', 6):.2f} ± {spread:.2f} at n = 6.")
    wide = ds.assign(cooperative_energy_spread=ds["cooperative_energy_spread"] * 100)
    assert _sentence(build_report(wide), "Middle H-bond").endswith("at n = 6, less than its networks disagree about.")
    captions = [made.charts[0].words, made.explore.words if made.explore else ""]
    assert all("Bars: one standard deviation over the networks of an ensemble (`toy`)" in one for one in captions)
    assert all("The others are no ensembles and have none." in one for one in captions)
    none = build_report(ds.sel(model=["toy-additive"]))
    assert "No bars" in none.charts[0].words
    assert not any(sentence.startswith("Middle H-bond") for sentence in none.summary)


def test_bars_of_the_explorer_end_a_spread_from_the_value(made: Report, ds: xr.Dataset) -> None:
    assert made.explore is not None
    bars = [one for one in made.explore.draw().select({"type": GlyphRenderer}) if isinstance(one.glyph, Segment)]
    assert {one.name for one in bars} == {"toy"}
    assert len(bars) == 4, "three positions, and along a chain"
    here = ds.sel(PLACE).squeeze()
    longest = here.sel(length=6)
    wanted = [
        *((one["cooperative_energy"], one["cooperative_energy_spread"]) for _, one in here.groupby("position")),
        (longest["hbond_cooperative_energy"], longest["hbond_cooperative_energy_spread"]),
    ]
    sources = [one.data_source.data for one in bars]
    for energy, spread in wanted:
        (data,) = [one for one in sources if np.allclose(one["y"], energy.values.ravel(), atol=1e-4)]
        np.testing.assert_allclose(np.array(data["high"]) - data["y"], spread.values.ravel(), atol=1e-4)
        np.testing.assert_allclose(np.array(data["y"]) - data["low"], spread.values.ravel(), atol=1e-4)


def test_what_stops_growing_does_not_keep_growing(ds: xr.Dataset) -> None:
    longer = ds.sel(model=["toy"]).assign_coords(length=[2, 4, 5, 6, 10])
    place = {"model": "toy", "pattern": "arc", "capping": "none", "geometry": "own"}
    longer["cooperative_energy"].loc[place] = 1.3
    longer["cooperative_energy"].loc[{**place, "length": [2, 4]}] = 1.0
    longer["near_ring"][:] = 0
    board = build_report(longer).leaderboard.frame
    words = summary(longer, board, REFERENCE, np.nan)
    (stops,) = [sentence for sentence in words if sentence.startswith("Grow beyond")]
    assert "`toy` 1.00 to 1.30 at n = 10, flat from n = 5" in stops
    assert not any(sentence.startswith("Keep growing") for sentence in words)
    assert headline(board) == "toy does not keep growing beyond one neighbour on either side."


def test_what_has_no_cooperativity_is_not_flat_from_somewhere(made: Report) -> None:
    board = made.leaderboard.frame.set_index("model")
    assert np.isnan(board.loc["toy-additive", "flat from"])
    assert np.isfinite(board.loc["toy", "flat from"])


def test_one_model_is_not_spoken_of_as_many(ds: xr.Dataset) -> None:
    report = build_report(ds.sel(model=["toy"]))
    assert report.summary[0].startswith("1 model,")
    assert "models" not in report.subtitle
    errors = _sentence(report, "At the geometries")
    assert "the error (root mean square, kcal/mol) is that of `toy`" in errors
    assert "largest" not in errors
    assert "1 others" not in " ".join(report.summary)
    assert "0 others" not in " ".join(report.summary)


def test_certainty_that_nobody_knows_is_not_zero(ds: xr.Dataset) -> None:
    report = build_report(ds, reference="hf:cc-pvdz", references=reference_energies().sel(model=["hf:cc-pvdz"]))
    assert "is not known" in report.leaderboard.words
    assert "up to 0.00" not in report.leaderboard.words
    assert "how good the reference itself is, is not known" in _sentence(report, "At the geometries")


def test_broken_dimers_alone_are_not_called_chains(ds: xr.Dataset) -> None:
    broken = ds.copy(deep=True)
    broken["dimer_status"].loc[{"model": "toy", "conformer": "syn", "geometry": "own"}] = "broken-geometry"
    broken["dimer_reason"].loc[{"model": "toy", "conformer": "syn", "geometry": "own"}] = "it is lost"
    words = build_report(broken).summary
    assert not any(sentence.startswith("Chains without") for sentence in words)
    assert any(
        sentence == "Isolated dimers without a result, each with its reason below: `toy` 1 broken-geometry."
        for sentence in words
    )


def test_a_reason_of_many_that_differ_is_an_example(ds: xr.Dataset) -> None:
    broken = ds.copy(deep=True)
    for length in (5, 6):
        place = {"model": "toy", "pattern": "arc", "capping": "none", "geometry": "own", "length": length}
        broken["status"].loc[place] = "broken-geometry"
        broken["reason"].loc[place] = f"H-bond {length - 1} is lost"
    (table,) = [one for one in build_report(broken).tables if one.anchor == "not-done"]
    assert "e.g. H-bond 4 is lost" in set(table.frame["reason"])


def test_chains_whose_ends_meet_are_not_the_longest(ds: xr.Dataset) -> None:
    ring = ds.copy(deep=True)
    ring["near_ring"].loc[{"length": 6}] = 1
    board = build_report(ring).leaderboard.frame.set_index("model")
    assert board.loc["toy", "units"] == 5
    assert board.loc["toy", "middle, longest"] == pytest.approx(_middle(ds, "toy", 5))


def test_what_is_missing_is_empty_and_is_counted(ds: xr.Dataset) -> None:
    broken = ds.copy(deep=True)
    broken["status"].loc[{"model": "toy", "geometry": "own", "pattern": "arc"}] = "broken-geometry"
    broken["reason"].loc[{"model": "toy", "geometry": "own", "pattern": "arc"}] = "H-bond 2 is lost"
    report = build_report(broken)
    board = report.leaderboard.frame.set_index("model")
    assert np.isnan(board.loc["toy", "middle, longest"])
    assert "`toy` 10 broken-geometry" in _sentence(report, "Chains without a result")
    (table,) = [one for one in report.tables if one.anchor == "not-done"]
    assert "H-bond 2 is lost" in set(table.frame["reason"])


def test_a_store_without_arcs_or_results_still_has_a_report(ds: xr.Dataset) -> None:
    nothing = ds.copy(deep=True)
    nothing["status"][:] = "pending"
    report = build_report(nothing.sel(geometry=["own"]))
    assert report.summary[0].startswith("2 models")
    # nothing is claimed of models without numbers
    assert "models" not in report.subtitle
    assert build_report(ds.sel(pattern=["linear"])).leaderboard.frame.shape[0] == 2


@pytest.mark.parametrize("length", [2, 4, 6])
def test_a_store_of_one_length_has_a_report(ds: xr.Dataset, length: int) -> None:
    report = build_report(ds.sel(length=[length], model=["toy"]))
    growth = [table.frame for table in report.tables if table.anchor == "growth"]
    assert [len(frame) for frame in growth] == ([] if length == 2 else [1])
    if length == 4:
        assert growth[0]["n = 4"].item() == pytest.approx(_middle(ds, "toy", 4))


def test_the_yardstick_stands_in_the_report(made: Report, ds: xr.Dataset) -> None:
    (table,) = [one for one in made.tables if one.anchor == "yardstick-nma-so3lr"]
    rows = table.frame.set_index("model")
    at = {"model": "toy", "pattern": "arc", "length": 4, "capping": "none", "position": "middle"}
    values = ds["cooperative_energy"].sel(at).isel(rotamer=0)
    assert rows.loc["toy", "n = 4, middle, there"] == pytest.approx(float(values.sel(geometry="nma-so3lr")))
    assert rows.loc["toy", "n = 4, middle, own"] == pytest.approx(float(values.sel(geometry="own")))
    assert np.isfinite(rows.loc["rimp2:cc-pvtz:frozen-core", "n = 4, middle, there"])


def test_no_model_no_words() -> None:
    empty = pd.DataFrame({name: [] for name in ("model", "middle, n = 4", "growth beyond n = 4")})
    assert headline(empty) == ""


def test_a_reference_of_the_user(ds: xr.Dataset, tmp_path: Path) -> None:
    rows = "model,pattern,length,capping,position,geometry,cooperative_energy,source\n"
    values = ds["cooperative_energy"].sel(model="toy", pattern="arc", capping="none", geometry="nma-so3lr")
    for length, position in ((3, "head"), (3, "tail"), (4, "middle")):
        value = float(values.isel(rotamer=0).sel(length=length, position=position)) + 0.5
        rows += f"mine,arc,{length},none,{position},nma-so3lr,{value},a note\n"
    (tmp_path / "mine.csv").write_text(rows, encoding="utf-8")
    report = build_report(ds, reference="mine", references=read_references(tmp_path / "mine.csv"))
    board = report.leaderboard.frame.set_index("model")
    assert board.loc["toy", "RMSE, same geometry"] == pytest.approx(0.5)
    assert any("`mine`" in sentence and "`toy` 0.50" in sentence for sentence in report.summary)
    (table,) = [one for one in report.tables if one.anchor == "yardstick-nma-so3lr"]
    assert "mine" in set(table.frame["model"])
    assert "`mine.csv`" in report.leaderboard.words
    with pytest.raises(ReportError, match=r"reference: expected one of .*, found rimp2:ccpvtz; near: rimp2:cc-pv"):
        build_report(ds, reference="rimp2:ccpvtz")


def test_saddles_and_rings_are_hollow_in_every_panel_and_no_line_leads_to_a_ring(ds: xr.Dataset) -> None:
    changed = ds.copy(deep=True)
    place = {"pattern": "arc", "capping": "none", "geometry": "own"}
    changed["near_ring"].loc[{**place, "length": 6}] = 1
    report = build_report(changed)
    root = report.explore.draw()
    sources = [
        glyph.data_source.data
        for glyph in root.select({"type": GlyphRenderer})
        if glyph.name == "toy" and isinstance(glyph.glyph, Line)
    ]
    *against, along = sorted((dict(data) for data in sources), key=lambda data: -np.isnan(data["line"]).sum())
    assert len(against) == 3
    for data in against:
        assert data["x"][-1] == 6
        assert (np.isnan(data["line"][-1]), np.isfinite(data["y"][-1]), data["fill"][-1]) == (True, True, "white")
        assert data["line"][:-1] == data["y"][:-1]
    assert len(along["x"]) == 5
    assert set(along["fill"]) == {"white"}
    assert all("near-ring" in note for note in along["note"])
