"""A generalization campaign from its file to its report: real labels, real networks, a real kill."""

import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hbcoop_dist.campaigns.generalization.loading import load_generalization
from hbcoop_dist.campaigns.generalization.planner import plan
from hbcoop_dist.campaigns.generalization.runner import run
from ruamel.yaml import YAML
from typer.testing import CliRunner

from hbcoop_dist.campaigns.generalization.model_files import models_path
from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.campaigns.hbond.spec import CampaignError
from hbcoop_dist.cli.command_line import app
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.execution.progress import QuietDisplay
from hbcoop_dist.store import Journal, journal_path, open_store

# not imported here: mace has torch unpickle anything, in whatever process imports it unguarded
pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("dscribe", "umap", "mace")),
    reason="needs dscribe, umap and mace",
)

SPEC = {
    "campaign": "tiny",
    "kind": "generalization",
    "datasets": {"name": "ionic", "generate": "ionic", "size": 24, "molecules": [1, 2, 2]},
    "splits": ["random", "cluster"],
    "architectures": {"name": "mace", "channels": 4, "max_ell": 1, "hidden_ell": 0},
    "schemes": ["none", "les"],
    "training": {"steps": 6, "batch_size": 4, "validate_every": 3},
}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("campaign") / "tiny.yaml"
    path.write_text(dump_yaml(SPEC))
    return path


@pytest.fixture(scope="module")
def store(campaign: Path) -> Path:
    path = campaign.with_suffix(".zarr")
    summary = run(plan(load_generalization(campaign)), path, serial=True, display=QuietDisplay())
    assert summary.statuses == {"done": 4}
    return path


def test_every_network_has_its_errors(store: Path) -> None:
    ds = xr.open_zarr(store).load()
    assert np.isfinite(ds["energy_rmse"].values).all()
    assert np.isfinite(ds["forces_rmse"].values).all()
    assert ds["step"].values.tolist() == [3, 6]
    assert (ds["part"].values >= 0).all()
    tested = ds["part"] == 2
    assert (ds["similarity"].notnull() == tested).all()
    assert (ds["n_test"].values == tested.sum("structure").values[:, :, None, None, :]).all()
    assert (ds["domain_count"].where(ds["domain_count"] > 0).sum("domain") == ds["n_test"]).all()
    # without a scheme there are no charges to compare, and no interaction beyond the cutoff to get right
    assert ds["charges_mae"].sel(scheme="none").isnull().all()
    assert ds["charges_mae"].sel(scheme="les").notnull().all()


def test_a_second_run_has_nothing_to_do_and_a_wider_one_only_the_rest(store: Path, campaign: Path) -> None:
    assert run(plan(load_generalization(campaign)), store, serial=True, display=QuietDisplay()).computed == 0
    before = xr.open_zarr(store).load()
    with Journal(journal_path(store)) as journal:
        kept = set(journal.keys())
    wider = campaign.with_name("wider.yaml")
    wider.write_text(dump_yaml({**SPEC, "schemes": ["les", "charge-embedding"], "splits": ["random"]}))
    assert run(plan(load_generalization(wider)), store, serial=True, display=QuietDisplay()).computed == 1
    with Journal(journal_path(store)) as journal:
        assert len(set(journal.keys()) - kept) == 2
    after = xr.open_zarr(store).load()
    same = after["energy_rmse"].sel({dim: before[dim] for dim in before["energy_rmse"].dims})
    np.testing.assert_array_equal(same.values, before["energy_rmse"].values)
    skipped = after["reason"].sel(scheme="charge-embedding", split="cluster").values.ravel().tolist()
    assert skipped == ["not asked for by any campaign"]


def test_networks_go_through_a_campaign_of_hydrogen_bonds(store: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    written = tmp_path / "bridge.yaml"
    for option, words in (
        ("--lengths=2-8", "\"2..12\", found '2-8'"),
        ("--pattern=ring", "expected 'arc' or 'linear'"),
    ):
        refused = runner.invoke(app, ["bridge", str(store), "-o", str(written), option])
        assert refused.exit_code == 2
        assert words in " ".join(refused.output.replace("│", " ").split())
        assert not written.exists()
    done = runner.invoke(app, ["bridge", str(store), "-o", str(written), "--split", "random", "--lengths", "2"])
    assert done.exit_code == 0, done.output
    content = YAML(typ="safe", pure=True).load(written.read_text())
    assert content["models"][0] == "gfn2-xtb"
    names = [entry["name"] for entry in content["models"][1:]]
    assert "ionic-random-mace-none-0" in names
    assert all(Path(entry["checkpoint"]).parent == models_path(store) for entry in content["models"][1:])
    drawn = runner.invoke(app, ["plan", str(written)])
    assert drawn.exit_code == 0, drawn.output
    assert "skipped" not in drawn.output


def test_what_the_store_says_is_shown(store: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    assert "done" in runner.invoke(app, ["status", str(store)]).output
    figure = tmp_path / "errors.png"
    analysed = runner.invoke(app, ["analyse", str(store), "--figure", str(figure)])
    assert analysed.exit_code == 0, analysed.output
    assert figure.stat().st_size > 1000
    for name in ("r.html", "r.md", "r.pdf"):
        made = runner.invoke(app, ["report", str(store), "-o", str(tmp_path / name)])
        assert made.exit_code == 0, made.output
    assert "UMAP" in (tmp_path / "r.md").read_text()
    refused = runner.invoke(app, ["analyse", str(store), "--against", "so3lr"])
    assert refused.exit_code != 0


def test_it_can_be_given_away_as_one_file(store: Path, tmp_path: Path) -> None:
    runner, packed, table = CliRunner(), tmp_path / "x.zarr.zip", tmp_path / "x.csv"
    for output in (packed, table):
        done = runner.invoke(app, ["export", str(store), "-o", str(output)])
        assert done.exit_code == 0, done.output
    mine, theirs = (open_store(path, kind=KIND).load() for path in (store, packed))
    xr.testing.assert_equal(mine.drop_vars("host"), theirs.drop_vars("host"))
    assert set(theirs["host"].values.ravel().tolist()) == {""}
    assert len(pd.read_csv(table)) == int((mine["status"] == "done").any("seed").sum())
    assert runner.invoke(app, ["report", str(packed), "-o", str(tmp_path / "x.md")]).exit_code == 0


def test_a_killed_run_goes_on(campaign: Path, store: Path, tmp_path: Path) -> None:
    other = tmp_path / "killed.zarr"
    command = [sys.executable, "-m", "hbcoop_dist", "run", str(campaign), str(other), "--serial"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        # labels and splits are kept, the trainings are not all over
        while _lines(other) < 5 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    kept = _lines(other)
    assert kept >= 5
    summary = run(plan(load_generalization(campaign)), other, serial=True, display=QuietDisplay())
    assert summary.statuses == {"done": 4}
    assert _lines(other) == len(plan(load_generalization(campaign)).tasks)
    mine, undisturbed = (open_store(path, kind=KIND).load() for path in (other, store))
    for name in ("parameter_hash", "energy_rmse", "part"):
        at = {dim: mine[dim] for dim in mine[name].dims}
        np.testing.assert_array_equal(mine[name].values, undisturbed[name].sel(at).values)


DECLARATION = """
from hbcoop_dist.learning.networks.options import ComponentOptions
from hbcoop_dist.learning.networks.registry import SchemeDeclaration

class ShiftOptions(ComponentOptions):
    start: float = 0.0

SHIFT = SchemeDeclaration("their_torch:Shift", ShiftOptions)
"""

SCHEME = """
import torch
from hbcoop_dist.learning.networks.schemes.base import LongRange, Scheme

class Shift(Scheme):
    name = "shift"

    def __init__(self, shape, options):
        super().__init__(shape, options)
        self.shift = torch.nn.Parameter(torch.full((shape.n_species,), options.start))

    def energy(self, features, batch, memory):
        return LongRange(self.shift[batch.species])
"""


def test_a_scheme_of_another_distribution_is_a_scheme_like_any(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.py").write_text(DECLARATION)
    (tmp_path / "their_torch.py").write_text(SCHEME)
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[hbcoop_dist.schemes]\nshift = theirs:SHIFT\n")
    path = tmp_path / "theirs.yaml"
    path.write_text(dump_yaml({**SPEC, "splits": ["random"], "schemes": ["shift"]}))
    with pytest.raises(CampaignError, match="expected one of none, charge-embedding, les, celli, efa, or"):
        load_generalization(path)
    monkeypatch.syspath_prepend(str(tmp_path))
    summary = run(plan(load_generalization(path)), tmp_path / "t.zarr", serial=True, display=QuietDisplay())
    assert summary.statuses == {"done": 1}
    mine = open_store(tmp_path / "t.zarr", kind=KIND)["parameters"].item()
    none = open_store(store, kind=KIND)["parameters"].sel(split="random", scheme="none").item()
    # H, C, N, O
    assert mine == none + 4


def test_a_failure_is_a_row(campaign: Path, tmp_path: Path) -> None:
    wild = {**SPEC["training"], "learning_rate": 1e30, "largest_gradient": 1e30}  # type: ignore[dict-item]
    path = tmp_path / "wild.yaml"
    path.write_text(dump_yaml({**SPEC, "splits": ["random"], "schemes": ["none"], "training": wild}))
    summary = run(plan(load_generalization(path)), tmp_path / "w.zarr", serial=True, display=QuietDisplay())
    assert summary.statuses == {"failed": 1}
    reason = str(open_store(tmp_path / "w.zarr", kind=KIND)["reason"].item())
    assert "expected a finite" in reason
    assert "learning_rate" in reason


def _lines(store: Path) -> int:
    path = journal_path(store)
    return path.read_bytes().count(b"\n") if path.exists() else 0
