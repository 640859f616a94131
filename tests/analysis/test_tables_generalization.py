"""What commands say of stores of trained networks: finished, half finished, and with nothing in them yet."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hbcoop_dist.campaigns.generalization.loading import load_generalization
from hbcoop_dist.campaigns.generalization.planner import plan
from hbcoop_dist.campaigns.generalization.runner import run
from hbcoop_dist.campaigns.generalization.store import GeneralizationStore
from rich.console import Console
from typer.testing import CliRunner

from hbcoop_dist.analysis.generalization_errors import ERRORS
from hbcoop_dist.analysis.plots.generalization import PARTS, chemical_space, errors_by_split, learning_curves
from hbcoop_dist.analysis.tables import errors_in_terminal
from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.cli.command_line import app
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.report import build_generalization_report, write_report
from hbcoop_dist.store import StoreSchemaError, open_store

STORE = Path(__file__).resolve().parents[2] / "store" / "generalization-quick.zarr.zip"
SPEC = {
    "campaign": "test",
    "kind": "generalization",
    "datasets": {"name": "ionic", "generate": "ionic", "size": 40},
    "splits": ["random", "size"],
    "schemes": ["none", "les"],
}


@pytest.fixture(scope="module")
def published() -> xr.Dataset:
    return open_store(STORE, kind=KIND).load()


@pytest.fixture(scope="module")
def two(published: xr.Dataset) -> xr.Dataset:
    """The same with a second architecture, whose errors are twice as large."""
    other = published.assign_coords(architecture=["mace-3"]).copy(deep=True)
    for name in (*ERRORS, "atoms_forces_rmse", "domain_forces_rmse"):
        other[name] *= 2
    both: xr.Dataset = xr.concat(
        [published, other], "architecture", data_vars="minimal", coords="minimal", compat="override", join="outer"
    )
    return both


def _terminal(ds: xr.Dataset, width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(errors_in_terminal(ds))
    return capture.get()


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


def test_the_table_in_the_terminal_fits_it_and_loses_nothing(published: xr.Dataset) -> None:
    text = _terminal(published, 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split() for line in text.splitlines() if line.startswith("celli ")]
    for split, row in zip(published["split"].values, rows, strict=True):
        one = published.sel(dataset="ionic", split=split, architecture="mace", scheme="celli", seed=0)
        assert [float(word) for word in row[1:]] == pytest.approx([float(one[name]) for name in ERRORS], abs=0.051)


def test_a_narrow_terminal_has_what_does_not_fit_below(published: xr.Dataset) -> None:
    narrow, wide = _terminal(published, 50), _terminal(published, 100)
    assert max(map(len, narrow.splitlines())) <= 50
    assert len(narrow.splitlines()) > 1.5 * len(wide.splitlines())
    assert {word for word in wide.split() if "─" not in word} <= set(narrow.split())


def test_seeds_have_a_column_only_where_they_differ(published: xr.Dataset) -> None:
    assert "mean over 1 seed)" in _terminal(published, 80)
    second = published.assign_coords(seed=[1]).copy(deep=True)
    both = xr.concat([published, second], "seed", data_vars="minimal", coords="minimal", compat="override")
    assert "mean over 2 seeds)" in _terminal(both, 80)
    both["status"].loc[{"seed": 1, "scheme": "les"}] = "failed"
    assert "seeds" in _terminal(both, 100).splitlines()[1]


def test_no_network_stands_for_another(two: xr.Dataset) -> None:
    report = build_generalization_report(two)
    sentences = [one for one in report.summary if one.startswith("Interaction energies beyond")]
    first, second = (next(one for one in sentences if f"`{name}` on `ionic`" in one) for name in ("mace", "mace-3"))
    np.testing.assert_allclose(_numbers(second), 2 * np.array(_numbers(first)), atol=0.11)
    # no more is lost by twice the error everywhere
    lost = [one.partition("`ionic`")[2] for one in report.summary if one.startswith("Where the test set")]
    assert len(lost) == 2
    assert lost[0] == lost[1]
    (sizes,) = [table.frame for table in report.tables if table.anchor == "by-atoms"]
    mine, other = (sizes[sizes["network"] == name] for name in ("mace", "mace-3"))
    np.testing.assert_allclose(other["les"], 2 * mine["les"])
    for _, rows in mine.groupby("split"):
        assert rows["atoms"].is_monotonic_increasing
    found = errors_by_split(two, architecture="mace-3"), learning_curves(two, architecture="mace-3")
    assert all("mace-3" in str(figure.get_suptitle()) for figure in found)
    assert found[1].axes[0].get_ylabel() == "RMSE, meV/A"


def test_what_is_not_done_is_left_out_and_counted(published: xr.Dataset, tmp_path: Path) -> None:
    part = published.copy(deep=True)
    part["status"].loc[{"scheme": "efa"}] = "failed"
    part["reason"].loc[{"scheme": "efa"}] = "out of memory"
    part["status"].loc[{"scheme": "les", "split": "size"}] = "pending"
    report = build_generalization_report(part)
    assert report.summary[0].startswith("15 of 20 networks are done")
    beyond = next(one for one in report.summary if one.startswith("Interaction energies beyond"))
    assert "`efa`" not in beyond
    # where not every scheme has a value they are not compared
    assert "RMSE over `random`, `cluster`, `maxsep_fps`" in beyond
    shared = part["interaction_beyond_rmse"].sel(scheme="none", split=["random", "cluster", "maxsep_fps"])
    assert f"`none` {float((shared**2).mean() ** 0.5):.1f}" in beyond
    assert "efa" not in set(report.leaderboard.frame["scheme"])
    assert "15 of 20 networks are done" in _terminal(part, 80)
    for name in ("r.html", "r.md", "r.pdf"):
        assert write_report(report, tmp_path / name).stat().st_size > 1000


def test_who_made_what_is_used_is_cited_once(two: xr.Dataset) -> None:
    lines = build_generalization_report(two).citations
    assert len(lines) == len(set(lines))
    text = "\n".join(lines)
    for name in ("gfn2-xtb", "architecture `mace`", "scheme `les`", "scheme `celli`", "scheme `efa`", "SOAP"):
        assert text.count(name) == 1
    assert "scheme `none`" not in text
    assert "scheme `les`" not in "\n".join(build_generalization_report(two.sel(scheme=["none", "efa"])).citations)


def test_a_map_hides_no_part_behind_another(published: xr.Dataset) -> None:
    figure = chemical_space(published)
    (points,) = figure.axes[0].collections
    part = published["part"].sel(split="random").values.ravel()
    drawn = [tuple(colour[:3]) for colour in points.get_facecolors()]
    colours = {
        number: tuple(int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)) for number, (_, code) in PARTS.items()
    }
    np.testing.assert_allclose(drawn, [colours[number] for number in part if number >= 0])


def test_a_store_with_nothing_in_it_yet_can_be_looked_at(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    GeneralizationStore(store, GeneralizationSpec.model_validate(SPEC))
    runner = CliRunner()

    def hbcoop(*words: str) -> tuple[int, str]:
        done = runner.invoke(app, list(words))
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.output

    assert hbcoop("status", str(store))[0] == 1
    assert "0 of 4 networks are done" in hbcoop("analyse", str(store), "--figure", str(tmp_path / "f.png"))[1]
    for name in ("r.html", "r.md", "r.pdf", "e.csv"):
        command = "export" if name == "e.csv" else "report"
        assert hbcoop(command, str(store), "-o", str(tmp_path / name))[0] == 0
    words = (tmp_path / "r.md").read_text()
    assert "0 of 4 networks are done" in words
    assert "## Training" not in words
    assert "Learning curves" not in words
    code, words = hbcoop("bridge", str(store), "-o", str(tmp_path / "b.yaml"))
    assert code == 2
    assert "expected trained networks" in words
    assert not (tmp_path / "b.yaml").exists()


def test_an_archive_is_only_read(tmp_path: Path) -> None:
    packed = tmp_path / "x.zarr.zip"
    packed.write_bytes(STORE.read_bytes())
    drawn = plan(load_generalization("generalization-quick"))
    with pytest.raises(StoreSchemaError, match="expected a folder, found an archive, which is only read"):
        run(drawn, packed, serial=True, display=QuietDisplay())
    assert packed.read_bytes() == STORE.read_bytes()
    assert not (tmp_path / "x.zarr.zip.replaced").exists()
