"""Terminal table and map of trained networks, and commands on stores that are empty or archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from typer.testing import CliRunner

import hbcoop_dist as hb
from hbcoop_dist.analysis.claim_tests import ERRORS
from hbcoop_dist.analysis.plots.generalization import PARTS, chemical_space
from hbcoop_dist.analysis.tables import errors_in_terminal
from hbcoop_dist.campaigns.generalization.kind import KIND
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.cli.command_line import app
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.store import StoreSchemaError, open_store, prepare_store

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
    return open_store(STORE, kind="generalization").load()


def _terminal(ds: xr.Dataset, width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(errors_in_terminal(ds))
    return capture.get()


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
    drawn = hb.plan(GeneralizationSpec.model_validate(SPEC))
    prepare_store(
        store,
        KIND.schema,
        KIND.axis_labels(drawn),
        protocol=drawn.spec.protocol,
        spec=drawn.spec.to_json(),
        definitions=KIND.definitions(drawn),
    )
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
    drawn = hb.plan(hb.load_campaign("generalization-quick"))
    with pytest.raises(StoreSchemaError, match="expected a folder, found an archive, which is only read"):
        hb.run(drawn, packed, serial=True, display=QuietDisplay())
    assert packed.read_bytes() == STORE.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [packed.name]


def test_networks_that_are_not_done_are_counted(published: xr.Dataset) -> None:
    part = published.copy(deep=True)
    part["status"].loc[{"scheme": "efa"}] = "failed"
    part["status"].loc[{"scheme": "les", "split": "size"}] = "pending"
    assert "15 of 20 networks are done" in _terminal(part, 80)
    assert not [line for line in _terminal(part, 80).splitlines() if line.startswith("efa ")]
    assert "networks are done" not in _terminal(published, 80)
