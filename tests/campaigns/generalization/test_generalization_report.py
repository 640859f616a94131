"""Reports on trained networks, from the published store and changed copies of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hbcoop_dist.analysis.claim_tests import ERRORS
from hbcoop_dist.analysis.plots.generalization import errors_by_split, learning_curves
from hbcoop_dist.analysis.report_content import ReportError, ReportOptions
from hbcoop_dist.campaigns.generalization.report_pages import build_report
from hbcoop_dist.references import reference_energies
from hbcoop_dist.report import write_report
from hbcoop_dist.store import open_store

STORE = Path(__file__).resolve().parents[3] / "store" / "generalization-quick.zarr.zip"


@pytest.fixture(scope="module")
def published() -> xr.Dataset:
    return open_store(STORE, kind="generalization").load()


@pytest.fixture(scope="module")
def two(published: xr.Dataset) -> xr.Dataset:
    """The published store with a second architecture, whose errors are twice as large."""
    other = published.assign_coords(architecture=["mace-3"]).copy(deep=True)
    for name in (*ERRORS, "atoms_forces_rmse", "domain_forces_rmse"):
        other[name] *= 2
    both: xr.Dataset = xr.concat(
        [published, other], "architecture", data_vars="minimal", coords="minimal", compat="override", join="outer"
    )
    return both


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


def test_architectures_are_reported_one_by_one(two: xr.Dataset) -> None:
    report = build_report(two)
    sentences = [sentence for sentence in report.summary if sentence.startswith("Interaction energies beyond")]
    first, second = (next(text for text in sentences if f"`{name}` on `ionic`" in text) for name in ("mace", "mace-3"))
    np.testing.assert_allclose(_numbers(second), 2 * np.array(_numbers(first)), atol=0.11)
    # twice the error everywhere gives the same ratios
    ratios = [text.partition("`ionic`")[2] for text in report.summary if text.startswith("Force errors relative")]
    assert len(ratios) == 2
    assert ratios[0] == ratios[1]
    (sizes,) = [table.frame for table in report.tables if table.anchor == "by-atoms"]
    mace, other = (sizes[sizes["network"] == name] for name in ("mace", "mace-3"))
    np.testing.assert_allclose(other["les"], 2 * mace["les"])
    for _, rows in mace.groupby("split"):
        assert rows["atoms"].is_monotonic_increasing
    figures = errors_by_split(two, architecture="mace-3"), learning_curves(two, architecture="mace-3")
    assert all("mace-3" in str(figure.get_suptitle()) for figure in figures)
    assert figures[1].axes[0].get_ylabel() == "RMSE, meV/A"


def test_networks_that_are_not_done_are_left_out_and_counted(published: xr.Dataset, tmp_path: Path) -> None:
    part = published.copy(deep=True)
    part["status"].loc[{"scheme": "efa"}] = "failed"
    part["reason"].loc[{"scheme": "efa"}] = "out of memory"
    part["status"].loc[{"scheme": "les", "split": "size"}] = "pending"
    report = build_report(part)
    assert report.summary[0].startswith("15 of 20 networks are done")
    beyond = next(sentence for sentence in report.summary if sentence.startswith("Interaction energies beyond"))
    assert "`efa`" not in beyond
    # schemes are compared over the splits that all of them have
    assert "RMSE over `random`, `cluster`, `maxsep_fps`" in beyond
    shared = part["interaction_beyond_rmse"].sel(scheme="none", split=["random", "cluster", "maxsep_fps"])
    assert f"`none` {float((shared**2).mean() ** 0.5):.1f}" in beyond
    assert "efa" not in set(report.leaderboard.frame["scheme"])
    (failures,) = [table.frame for table in report.tables if table.anchor == "failures"]
    assert failures.values.tolist() == [["failed", "out of memory", published.sizes["split"]]]
    for name in ("r.html", "r.md", "r.pdf"):
        assert write_report(report, tmp_path / name).stat().st_size > 1000


def test_the_degradation_is_the_ratio_to_the_random_split(published: xr.Dataset) -> None:
    (frame,) = [table.frame for table in build_report(published).tables if table.anchor == "degradation"]
    rows = frame.set_index(["split", "scheme"])
    errors = published["forces_rmse"].squeeze(["dataset", "architecture", "seed"])
    for split in published["split"].values[1:]:
        expected = errors.sel(split=split, scheme="les") / errors.sel(split="random", scheme="les")
        assert rows.loc[(split, "les"), "forces"] == pytest.approx(expected.item())


def test_the_parts_of_a_split_are_counted(published: xr.Dataset) -> None:
    (frame,) = [table.frame for table in build_report(published).tables if table.anchor == "splits"]
    part = published["part"].squeeze(["dataset", "seed"])
    for _, row in frame.iterrows():
        counts = [int((part.sel(split=row["split"]) == number).sum()) for number in range(3)]
        assert row[["training", "validation", "test"]].tolist() == counts


def test_works_are_cited_once(two: xr.Dataset) -> None:
    citations = build_report(two).citations
    assert len(citations) == len(set(citations))
    text = "\n".join(citations)
    for name in ("gfn2-xtb", "architecture `mace`", "scheme `les`", "scheme `celli`", "scheme `efa`", "SOAP"):
        assert text.count(name) == 1
    assert "scheme `none`" not in text
    assert "scheme `les`" not in "\n".join(build_report(two.sel(scheme=["none", "efa"])).citations)


def test_schemes_and_architectures_that_are_not_installed_are_reported(published: xr.Dataset) -> None:
    old = published.copy(deep=True)
    for dim in ("scheme", "architecture"):
        definitions = old[f"{dim}_definition"].values
        definitions[-1] = re.sub(rf'"{dim}": *"[^"]*"', f'"{dim}": "gone"', str(definitions[-1]))
        assert '"gone"' in definitions[-1]
    report = build_report(old)
    assert report.leaderboard.frame.equals(build_report(published).leaderboard.frame)
    assert "gone" not in "\n".join(report.citations)


@pytest.mark.parametrize("options", [ReportOptions(reference="x"), ReportOptions(references=reference_energies())])
def test_references_are_refused(published: xr.Dataset, options: ReportOptions) -> None:
    with pytest.raises(ReportError, match="expected none for a store of kind generalization"):
        build_report(published, options)
