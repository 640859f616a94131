"""Reports on hydrogen-bonded chains: sentences and tables against the dataset, also a changed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bokeh.models import GlyphRenderer, Line, Segment

from hbcoop_dist.analysis import spread_words
from hbcoop_dist.analysis.report_content import Report, ReportError, ReportOptions
from hbcoop_dist.campaigns.hbond.report_pages import build_report, headline, summary
from hbcoop_dist.campaigns.hbond.report_tables import DEFAULT_REFERENCE
from hbcoop_dist.references import read_references, reference_energies

BARE_ARC = {"pattern": "arc", "capping": "none", "geometry": "own"}
TOY = {"model": "toy", **BARE_ARC}


def _middle(ds: xr.Dataset, model: str, length: int) -> float:
    labels = {"model": model, "length": length, **BARE_ARC}
    return float(ds["cooperative_energy"].sel(labels).isel(rotamer=0, constraint=0).sel(position="middle"))


def _sentence(report: Report, beginning: str) -> str:
    (sentence,) = [sentence for sentence in report.summary if sentence.startswith(beginning)]
    return sentence


def _frame(report: Report, anchor: str) -> pd.DataFrame:
    (table,) = [table for table in report.tables if table.anchor == anchor]
    return table.frame


def _with_status(ds: xr.Dataset, labels: dict[str, Any], status: str, reason: str) -> xr.Dataset:
    changed = ds.copy(deep=True)
    changed["status"].loc[labels] = status
    changed["reason"].loc[labels] = reason
    return changed


def test_numbers_in_sentences_are_those_of_the_store(chain_report: Report, ds: xr.Dataset) -> None:
    flat = _sentence(chain_report, "Flat beyond n = 4")
    assert f"`toy` {_middle(ds, 'toy', 4):.2f} to {_middle(ds, 'toy', 6):.2f} at n = 6" in flat
    none = _sentence(chain_report, "No cooperativity")
    assert f"`toy-additive` {_middle(ds, 'toy-additive', 4):.2f}" in none
    assert "toy-additive" not in flat
    assert not any(sentence.startswith("Growing") for sentence in chain_report.summary)
    assert "0 of 2 models" in chain_report.subtitle


def test_growing_flat_and_decreasing_chains_are_told_apart(ds: xr.Dataset) -> None:
    def changed(beyond: float) -> Report:
        other = ds.copy(deep=True)
        other["cooperative_energy"].loc[TOY] = 1.0
        other["cooperative_energy"].loc[{**TOY, "length": [5, 6]}] = 1.0 + beyond
        return build_report(other)

    assert "`toy` 1.00 to 1.30 at n = 6" in _sentence(changed(0.3), "Growing beyond n = 4 (")
    assert "1 of 2 models" in changed(0.3).subtitle
    assert "`toy` 1.00 to 1.05" in _sentence(changed(0.05), "Flat beyond")
    assert "`toy` 1.00 to 0.50" in _sentence(changed(-0.5), "Decreasing beyond")
    assert "0 of 2 models" in changed(0.05).subtitle


def test_growth_that_has_ended_is_called_saturated(ds: xr.Dataset) -> None:
    longer = ds.sel(model=["toy"]).assign_coords(length=[2, 4, 5, 6, 10])
    longer["cooperative_energy"].loc[TOY] = 1.3
    longer["cooperative_energy"].loc[{**TOY, "length": [2, 4]}] = 1.0
    longer["near_ring"][:] = 0
    board = build_report(longer).leaderboard.frame
    sentences = summary(longer, board, DEFAULT_REFERENCE, np.nan)
    (saturated,) = [sentence for sentence in sentences if "then saturated" in sentence]
    assert "`toy` 1.00 to 1.30 at n = 10, flat from n = 5" in saturated
    assert not any(sentence.startswith("Growing beyond n = 4 (") for sentence in sentences)
    assert headline(board) == "toy: cooperativity does not keep growing beyond n = 4."


def test_the_ensemble_spread_is_stated(chain_report: Report, ds: xr.Dataset) -> None:
    spread = ds["cooperative_energy_spread"].sel(TOY).squeeze().sel(position="middle", length=6).item()
    sentence = _sentence(chain_report, "Middle H-bond of the longest open arc with the ensemble spread")
    assert sentence.endswith(f": `toy` {_middle(ds, 'toy', 6):.2f} ± {spread:.2f} at n = 6.")
    wide = ds.assign(cooperative_energy_spread=ds["cooperative_energy_spread"] * 100)
    assert _sentence(build_report(wide), "Middle H-bond").endswith("at n = 6, smaller than the spread.")
    assert chain_report.explorer is not None
    assert all(spread_words(ds) in text for text in (chain_report.charts[0].caption, chain_report.explorer.caption))
    without = ds.sel(model=["toy-additive"])
    assert not any(sentence.startswith("Middle H-bond") for sentence in build_report(without).summary)


def test_bars_of_the_explorer_end_one_spread_from_the_value(chain_report: Report, ds: xr.Dataset) -> None:
    assert chain_report.explorer is not None
    glyphs = chain_report.explorer.draw().select({"type": GlyphRenderer})
    bars = [glyph for glyph in glyphs if isinstance(glyph.glyph, Segment)]
    assert {glyph.name for glyph in bars} == {"toy"}
    assert len(bars) == 4, "three positions, and along a chain"
    arcs = ds.sel(TOY).squeeze()
    longest = arcs.sel(length=6)
    expected = [
        *((at["cooperative_energy"], at["cooperative_energy_spread"]) for _, at in arcs.groupby("position")),
        (longest["hbond_cooperative_energy"], longest["hbond_cooperative_energy_spread"]),
    ]
    sources = [glyph.data_source.data for glyph in bars]
    for energy, spread in expected:
        (data,) = [data for data in sources if np.allclose(data["y"], energy.values.ravel(), atol=1e-4)]
        np.testing.assert_allclose(np.array(data["high"]) - data["y"], spread.values.ravel(), atol=1e-4)
        np.testing.assert_allclose(np.array(data["y"]) - data["low"], spread.values.ravel(), atol=1e-4)


def test_saddles_and_near_rings_are_hollow_and_no_line_leads_to_a_near_ring(ds: xr.Dataset) -> None:
    changed = ds.copy(deep=True)
    changed["near_ring"].loc[{**BARE_ARC, "length": 6}] = 1
    report = build_report(changed)
    assert report.explorer is not None
    sources = [
        glyph.data_source.data
        for glyph in report.explorer.draw().select({"type": GlyphRenderer})
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


def test_a_model_without_cooperativity_has_no_saturation_length(chain_report: Report) -> None:
    board = chain_report.leaderboard.frame.set_index("model")
    assert np.isnan(board.loc["toy-additive", "flat from"])
    assert np.isfinite(board.loc["toy", "flat from"])


def test_sentences_about_one_model_are_in_the_singular(ds: xr.Dataset) -> None:
    report = build_report(ds.sel(model=["toy"]))
    assert report.summary[0].startswith("1 model,")
    assert "models" not in report.subtitle
    errors = _sentence(report, "At the geometries")
    assert "the error (root mean square, kcal/mol) is that of `toy`" in errors
    assert "largest" not in errors


def test_an_unknown_uncertainty_is_not_zero(ds: xr.Dataset) -> None:
    level = "hf:cc-pvdz"
    options = ReportOptions(reference=level, references=reference_energies().sel(model=[level]))
    report = build_report(ds, options)
    assert "is not known" in report.leaderboard.caption
    assert "up to 0.00" not in report.leaderboard.caption
    assert "the uncertainty of the reference level is not known" in _sentence(report, "At the geometries")


def test_broken_dimers_alone_are_not_called_chains(ds: xr.Dataset) -> None:
    broken = ds.copy(deep=True)
    labels = {"model": "toy", "conformer": "syn", "geometry": "own"}
    broken["dimer_status"].loc[labels] = "broken-geometry"
    broken["dimer_reason"].loc[labels] = "it is lost"
    report = build_report(broken)
    assert not any(sentence.startswith("Chains without") for sentence in report.summary)
    assert _sentence(report, "Isolated dimers without a result").endswith(": `toy` 1 broken-geometry.")


def test_reasons_that_differ_in_numbers_are_an_example(ds: xr.Dataset) -> None:
    broken = ds
    for length in (5, 6):
        broken = _with_status(broken, {**TOY, "length": length}, "broken-geometry", f"H-bond {length - 1} is lost")
    frame = _frame(build_report(broken), "not-done")
    assert frame.loc[frame["status"] == "broken-geometry", ["count", "reason"]].values.tolist() == [
        [2, "e.g. H-bond 4 is lost"]
    ]


def test_near_rings_are_not_the_longest_chains(ds: xr.Dataset) -> None:
    ring = ds.copy(deep=True)
    ring["near_ring"].loc[{"length": 6}] = 1
    board = build_report(ring).leaderboard.frame.set_index("model")
    assert board.loc["toy", "units"] == 5
    assert board.loc["toy", "middle, longest"] == pytest.approx(_middle(ds, "toy", 5))


def test_missing_values_are_empty_and_counted(ds: xr.Dataset) -> None:
    labels = {"model": "toy", "geometry": "own", "pattern": "arc"}
    report = build_report(_with_status(ds, labels, "broken-geometry", "H-bond 2 is lost"))
    board = report.leaderboard.frame.set_index("model")
    assert np.isnan(board.loc["toy", "middle, longest"])
    assert "`toy` 10 broken-geometry" in _sentence(report, "Chains without a result")
    assert "H-bond 2 is lost" in set(_frame(report, "not-done")["reason"])


def test_the_convergence_table_counts_every_status(ds: xr.Dataset) -> None:
    changed = _with_status(ds, {**TOY, "length": 5}, "quarantined", "host")
    changed = _with_status(changed, {**TOY, "length": 6}, "unconverged", "steps")
    before, after = (_frame(build_report(one), "convergence").set_index("model") for one in (ds, changed))
    assert before.loc["toy", "done"] - after.loc["toy", "done"] == 2
    assert after.loc["toy", ["unconverged", "failed", "broken"]].tolist() == [1, 1, 0]
    assert after.loc["toy-additive"].equals(before.loc["toy-additive"])


def test_a_store_without_results_or_arcs_has_a_report(ds: xr.Dataset) -> None:
    nothing = ds.copy(deep=True)
    nothing["status"][:] = "pending"
    report = build_report(nothing.sel(geometry=["own"]))
    assert report.summary[0].startswith("2 models")
    assert "models" not in report.subtitle, "nothing is stated about models without numbers"
    assert build_report(ds.sel(pattern=["linear"])).leaderboard.frame.shape[0] == 2


@pytest.mark.parametrize("length", [2, 4, 6])
def test_a_store_of_one_length_has_a_report(ds: xr.Dataset, length: int) -> None:
    report = build_report(ds.sel(length=[length], model=["toy"]))
    growth = [table.frame for table in report.tables if table.anchor == "growth"]
    assert [len(frame) for frame in growth] == ([] if length == 2 else [1])
    if length == 4:
        assert growth[0]["n = 4"].item() == pytest.approx(_middle(ds, "toy", 4))


def test_models_stand_beside_the_reference_levels(chain_report: Report, ds: xr.Dataset) -> None:
    rows = _frame(chain_report, "reference-nma-so3lr").set_index("model")
    labels = {"model": "toy", "pattern": "arc", "length": 4, "capping": "none", "position": "middle"}
    energies = ds["cooperative_energy"].sel(labels).isel(rotamer=0, constraint=0)
    assert rows.loc["toy", "n = 4, middle, there"] == pytest.approx(float(energies.sel(geometry="nma-so3lr")))
    assert rows.loc["toy", "n = 4, middle, own"] == pytest.approx(float(energies.sel(geometry="own")))
    level = reference_energies()["cooperative_energy"].sel({**labels, "model": DEFAULT_REFERENCE})
    assert rows.loc[DEFAULT_REFERENCE, "n = 4, middle, there"] == pytest.approx(
        level.sel(geometry="nma-so3lr", rotamer=ds["rotamer"].values[0]).item()
    )


def test_no_model_gives_no_headline() -> None:
    assert headline(pd.DataFrame({name: [] for name in ("model", "middle, n = 4", "growth beyond n = 4")})) == ""


def _table_of_references(ds: xr.Dataset, path: Path, level: str) -> xr.Dataset:
    """Values of the model toy plus 0.5 kcal/mol as a reference level."""
    rows = "model,pattern,length,capping,position,geometry,cooperative_energy,source\n"
    energies = ds["cooperative_energy"].sel(model="toy", pattern="arc", capping="none", geometry="nma-so3lr")
    for length, position in ((3, "head"), (3, "tail"), (4, "middle")):
        value = float(energies.isel(rotamer=0, constraint=0).sel(length=length, position=position)) + 0.5
        rows += f"{level},arc,{length},none,{position},nma-so3lr,{value},a note\n"
    path.write_text(rows, encoding="utf-8")
    return read_references(path)


def test_errors_are_relative_to_the_reference_level_of_the_user(ds: xr.Dataset, tmp_path: Path) -> None:
    references = _table_of_references(ds, tmp_path / "mine.csv", "mine")
    report = build_report(ds, ReportOptions(reference="mine", references=references))
    board = report.leaderboard.frame.set_index("model")
    assert board.loc["toy", "RMSE, same geometry"] == pytest.approx(0.5)
    assert any("`mine`" in sentence and "`toy` 0.50" in sentence for sentence in report.summary)
    assert "mine" in set(_frame(report, "reference-nma-so3lr")["model"])
    assert "`mine.csv`" in report.leaderboard.caption
    assert report.warnings == ()


def test_an_unknown_reference_level_is_refused_with_a_suggestion(ds: xr.Dataset) -> None:
    with pytest.raises(ReportError, match=r"reference: expected one of .*, found rimp2:ccpvtz; near: rimp2:cc-pv"):
        build_report(ds, ReportOptions(reference="rimp2:ccpvtz"))


def test_a_reference_level_named_like_a_model_gives_a_warning(ds: xr.Dataset, tmp_path: Path) -> None:
    references = _table_of_references(ds, tmp_path / "mine.csv", "toy")
    (warning,) = build_report(ds, ReportOptions(references=references)).warnings
    assert warning.startswith("mine.csv: toy is also a model of the store")


def test_the_title_is_that_of_the_options_or_the_campaign(chain_report: Report, ds: xr.Dataset) -> None:
    assert chain_report.title == "small"
    assert build_report(ds, ReportOptions(title="Mine")).title == "Mine"
    assert build_report(ds.drop_attrs(deep=False)).title == "store"


def test_works_are_cited_once_per_model(ds: xr.Dataset) -> None:
    citations = build_report(ds.assign_coords(model=["so3lr", "unregistered"])).citations
    assert [citation for citation in citations if citation.startswith("`")] == [
        citation for citation in citations if citation.startswith("`so3lr`: ")
    ]
    assert len(set(citations)) == len(citations)
