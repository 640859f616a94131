"""Networks whose packages cannot be installed together, in one campaign: each pool of workers has its own Python."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hbcoop_dist.campaigns.generalization.planner import plan
from ruamel.yaml import YAML

from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.store import journal_path, open_store

ALLEGRO = Path(__file__).resolve().parents[2] / ".venv-allegro" / "bin" / "python"
SPEC = {
    "campaign": "two environments",
    "kind": "generalization",
    "datasets": {"name": "ionic", "generate": "ionic", "size": 20, "molecules": [1, 2]},
    "architectures": [
        {"name": "mace", "channels": 4, "max_ell": 1, "hidden_ell": 0},
        {
            "name": "small-allegro",
            "architecture": "allegro",
            "channels": 4,
            "max_ell": 1,
            "options": {"tensor_channels": 2, "latent_width": 8},
        },
    ],
    "schemes": ["none", "celli"],
    "training": {"steps": 6, "batch_size": 4, "validate_every": 3},
}


def pools_file(folder: Path, python: Path = ALLEGRO) -> Path:
    one = {"jobs": 1, "threads": 1}
    pools = {"main": one, "allegro": {**one, "environments": ["allegro"], "python": str(python)}}
    path = folder / "pools.yaml"
    path.write_text(dump_yaml({"profile": "two", "kind": "local", "pools": pools}))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hbcoop_dist", *map(str, arguments)]


def hbcoop(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=900)


def written(folder: Path, **changes: object) -> Path:
    path = folder / "spec.yaml"
    path.write_text(dump_yaml({**SPEC, **changes}))
    return path


@pytest.mark.skipif(find_spec("allegro") is not None, reason="nequip-allegro is installed in this Python")
def test_without_its_environment_only_its_networks_are_skipped(tmp_path: Path) -> None:
    spec = GeneralizationSpec.model_validate(SPEC)
    alone = plan(spec)
    assert {cell.architecture for cell in alone.skipped} == {"small-allegro"}
    reason = next(iter(alone.skipped.values()))
    assert "environments/allegro.txt (make environment-allegro)" in reason
    assert not plan(spec, elsewhere={"allegro"}).skipped
    # a profile whose Python is not there is as good as none, and is named
    absent = hbcoop("plan", written(tmp_path), "--cluster", pools_file(tmp_path, tmp_path / "no" / "python"))
    assert absent.returncode == 0, absent.stderr
    assert (
        f"pool allegro: expected a Python with environment allegro, found none at {tmp_path}/no/python" in absent.stderr
    )
    assert "make environment-allegro" in absent.stdout


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not ALLEGRO.exists(), reason="no .venv-allegro: make environment-allegro")
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("dscribe", "umap", "mace", "tblite")),
    reason="needs dscribe, umap, mace and tblite",
)
def test_a_campaign_of_two_environments_from_its_plan_to_its_bridge(tmp_path: Path) -> None:
    spec, pools, store = written(tmp_path), pools_file(tmp_path), tmp_path / "two.zarr"
    planned = hbcoop("plan", spec, "--cluster", pools)
    assert planned.returncode == 0, planned.stderr
    assert "4 trainings" in planned.stdout
    assert "skipped" not in planned.stdout

    _run_and_kill(spec, store, pools, results=4)
    assert hbcoop("status", store).returncode == 1
    again = hbcoop("run", spec, store, "--cluster", pools)
    assert again.returncode == 0, again.stderr
    assert hbcoop("status", store).returncode == 0
    assert _lines(store) == len(plan(GeneralizationSpec.model_validate(SPEC), elsewhere={"allegro"}).tasks)
    ds = open_store(store, kind=KIND).load()
    assert set(ds["status"].values.ravel()) == {"done"}
    assert np.isfinite(ds["forces_rmse"].values).all()
    for name, e3nn in (("mace", "0.4"), ("small-allegro", "0.6")):
        here = ds["versions"].sel(architecture=name).values.ravel()
        assert all(json.loads(one)["e3nn"].startswith(e3nn) for one in here)
    other = tmp_path / "undisturbed.zarr"
    assert hbcoop("run", spec, other, "--cluster", pools).returncode == 0
    _same(ds, open_store(other, kind=KIND).load())

    retried = hbcoop("retry", store, "--cluster", pools)
    assert retried.returncode == 0, retried.stderr
    assert _lines(store) == len(plan(GeneralizationSpec.model_validate(SPEC), elsewhere={"allegro"}).tasks)
    _bridge(store, pools, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not ALLEGRO.exists(), reason="no .venv-allegro: make environment-allegro")
def test_networks_that_failed_are_tried_again_where_they_can_be(tmp_path: Path) -> None:
    wild = {**SPEC["training"], "learning_rate": 1e30, "largest_gradient": 1e30}  # type: ignore[dict-item]
    spec, pools, store = written(tmp_path, training=wild, schemes=["none"]), pools_file(tmp_path), tmp_path / "w.zarr"
    assert hbcoop("run", spec, store, "--cluster", pools).returncode == 1
    before = _lines(store)
    again = hbcoop("retry", store, "--match", "learning_rate", "--cluster", pools)
    assert again.returncode == 1, again.stderr
    # each of the two trainings, and its test
    assert _lines(store) == before + 4
    assert set(open_store(store, kind=KIND)["status"].values.ravel()) == {"failed"}


def _run_and_kill(spec: Path, store: Path, pools: Path, results: int) -> None:
    """The driver is killed as soon as so many results are in its journal."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command("run", spec, store, "--cluster", pools), **quiet) as process:
        deadline = time.monotonic() + 600
        while _lines(store) < results and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert _lines(store) >= results


def _bridge(store: Path, pools: Path, folder: Path) -> None:
    """Its trained networks are models of their environment: their card finds the pool."""
    path = folder / "bridge.yaml"
    made = hbcoop("bridge", store, "-o", path, "--architecture", "small-allegro", "--lengths", "2")
    assert made.returncode == 0, made.stderr
    content = YAML(typ="safe", pure=True).load(path.read_text())
    # not what bonds they make, but that they are asked at all
    content |= {"models": content["models"][1:], "minimize": {"max_calls": 3}}
    path.write_text(dump_yaml(content))
    lone = hbcoop("plan", path)
    assert lone.returncode == 0, lone.stderr
    assert "2 cells, 0 tasks" in lone.stdout
    assert "make environment-allegro" in lone.stdout
    ran = hbcoop("run", path, folder / "bridge.zarr", "--cluster", pools)
    assert ran.returncode == 1, ran.stderr
    bonds = open_store(folder / "bridge.zarr").load().squeeze()
    assert not set(bonds["status"].values.ravel()) & {"skipped", "failed", "pending", "quarantined"}
    assert all("nequip" in json.loads(str(one)) for one in bonds["versions"].values.ravel())


def _same(mine: xr.Dataset, theirs: xr.Dataset) -> None:
    for name in ("parameter_hash", "energy_rmse", "part"):
        np.testing.assert_array_equal(mine[name].values, theirs[name].values)


def _lines(store: Path) -> int:
    path = journal_path(store)
    return path.read_bytes().count(b"\n") if path.exists() else 0
