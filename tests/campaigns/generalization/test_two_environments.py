"""Campaigns of networks whose packages cannot be installed together: each pool of workers has its own Python."""

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
from ruamel.yaml import YAML
from small_networks import count_results, needs_packages

from hbcoop_dist.campaigns.generalization.plan import make_plan
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.store import open_store

ALLEGRO = Path(__file__).resolve().parents[3] / ".venv-allegro" / "bin" / "python"
SPEC = {
    "campaign": "two environments",
    "kind": "generalization",
    "datasets": {"name": "ionic", "generate": "ionic", "size": 16, "molecules": [1, 2]},
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


def write_profile(folder: Path, python: Path = ALLEGRO) -> Path:
    pool = {"jobs": 1, "threads": 1}
    pools = {"main": pool, "allegro": {**pool, "environments": ["allegro"], "python": str(python)}}
    path = folder / "pools.yaml"
    path.write_text(dump_yaml({"profile": "two", "kind": "local", "pools": pools}))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hbcoop_dist", *map(str, arguments)]


def hbcoop(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=900)


def write_spec(folder: Path, **changes: object) -> Path:
    path = folder / "spec.yaml"
    path.write_text(dump_yaml({**SPEC, **changes}))
    return path


@pytest.mark.skipif(find_spec("allegro") is not None, reason="nequip-allegro is installed in this Python")
def test_only_networks_whose_environment_is_absent_are_skipped(tmp_path: Path) -> None:
    spec = GeneralizationSpec.model_validate(SPEC)
    alone = make_plan(spec)
    assert {cell.architecture for cell in alone.skipped} == {"small-allegro"}
    reason = next(iter(alone.skipped.values()))
    assert "environments/allegro.txt (make environment-allegro)" in reason
    assert not make_plan(spec, elsewhere={"allegro"}).skipped
    # a profile whose Python does not exist is named, and changes nothing
    absent = hbcoop("plan", write_spec(tmp_path), "--cluster", write_profile(tmp_path, tmp_path / "no" / "python"))
    assert absent.returncode == 0, absent.stderr
    assert (
        f"pool allegro: expected a Python with environment allegro, found none at {tmp_path}/no/python" in absent.stderr
    )
    assert "make environment-allegro" in absent.stdout


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not ALLEGRO.exists(), reason="no .venv-allegro: make environment-allegro")
@needs_packages
@pytest.mark.skipif(find_spec("tblite") is None, reason="needs tblite")
def test_a_campaign_of_two_environments_from_plan_to_bridge(tmp_path: Path) -> None:
    spec, pools, store = write_spec(tmp_path), write_profile(tmp_path), tmp_path / "two.zarr"
    planned = hbcoop("plan", spec, "--cluster", pools)
    assert planned.returncode == 0, planned.stderr
    assert "4 trainings" in planned.stdout
    assert "skipped" not in planned.stdout

    _run_and_kill(spec, store, pools, results=4)
    assert hbcoop("status", store).returncode == 1
    again = hbcoop("run", spec, store, "--cluster", pools)
    assert again.returncode == 0, again.stderr
    assert hbcoop("status", store).returncode == 0
    assert count_results(store) == len(make_plan(GeneralizationSpec.model_validate(SPEC), elsewhere={"allegro"}).tasks)
    ds = open_store(store).load()
    assert set(ds["status"].values.ravel()) == {"done"}
    assert np.isfinite(ds["forces_rmse"].values).all()
    for name, e3nn in (("mace", "0.4"), ("small-allegro", "0.6")):
        versions = ds["versions"].sel(architecture=name).values.ravel()
        assert all(json.loads(text)["e3nn"].startswith(e3nn) for text in versions)
    other = tmp_path / "undisturbed.zarr"
    assert hbcoop("run", spec, other, "--cluster", pools).returncode == 0
    _assert_same(ds, open_store(other).load())

    retried = hbcoop("retry", store, "--cluster", pools)
    assert retried.returncode == 0, retried.stderr
    assert count_results(store) == len(make_plan(GeneralizationSpec.model_validate(SPEC), elsewhere={"allegro"}).tasks)
    _bridge(store, pools, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not ALLEGRO.exists(), reason="no .venv-allegro: make environment-allegro")
def test_failed_networks_are_retried_in_their_environments(tmp_path: Path) -> None:
    wild = {**SPEC["training"], "learning_rate": 1e30, "largest_gradient": 1e30}  # type: ignore[dict-item]
    spec = write_spec(tmp_path, training=wild, schemes=["none"])
    pools, store = write_profile(tmp_path), tmp_path / "w.zarr"
    assert hbcoop("run", spec, store, "--cluster", pools).returncode == 1
    before = count_results(store)
    again = hbcoop("retry", store, "--match", "learning_rate", "--cluster", pools)
    assert again.returncode == 1, again.stderr
    # two trainings and two evaluations
    assert count_results(store) == before + 4
    assert set(open_store(store)["status"].values.ravel()) == {"failed"}


def _run_and_kill(spec: Path, store: Path, pools: Path, results: int) -> None:
    """Kill the driver as soon as its journal has this number of results."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command("run", spec, store, "--cluster", pools), **quiet) as process:
        deadline = time.monotonic() + 600
        while count_results(store) < results and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert count_results(store) >= results


def _bridge(store: Path, pools: Path, folder: Path) -> None:
    """Run the trained networks as models; their cards name the environment."""
    path = folder / "bridge.yaml"
    made = hbcoop("bridge", store, "-o", path, "--architecture", "small-allegro", "--lengths", "2")
    assert made.returncode == 0, made.stderr
    content = YAML(typ="safe", pure=True).load(path.read_text())
    # a few force calls show that the networks are evaluated
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


def _assert_same(first: xr.Dataset, second: xr.Dataset) -> None:
    for name in ("parameter_hash", "energy_rmse", "part"):
        np.testing.assert_array_equal(first[name].values, second[name].values)
