"""What a worker's process makes of its job's options and environment."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from hbcoop_dist.clusters.dask_worker import PROTOCOL, JsonLines, arguments

OPTIONS = ["tcp://driver:1", "--name", "gpu-1", "--nthreads", "4", "--memory-limit", "8GiB"]


def value(options: list[str], name: str) -> str:
    return options[options.index(name) + 1]


def test_threads_are_for_the_model_and_not_for_dask() -> None:
    environ: dict[str, str] = {}
    options = arguments(OPTIONS, environ)
    assert value(options, "--nthreads") == "1"
    assert value(options, "--name") == "gpu-1"
    assert environ["OMP_NUM_THREADS"] == environ["MKL_NUM_THREADS"] == "4"


def test_every_process_of_a_step_has_its_own_name() -> None:
    names = set()
    for rank in range(4):
        environ = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        names.add(value(arguments(OPTIONS, environ), "--name"))
    assert names == {"gpu-1-0", "gpu-1-1", "gpu-1-2", "gpu-1-3"}


def test_where_srun_binds_no_gpus_each_process_takes_one() -> None:
    seen = []
    for rank in range(4):
        environ = {
            "SLURM_STEP_NUM_TASKS": "4",
            "SLURM_PROCID": str(4 + rank),
            "SLURM_LOCALID": str(rank),
            "CUDA_VISIBLE_DEVICES": "4,5,6,7",
        }
        arguments(OPTIONS, environ)
        seen.append(environ["CUDA_VISIBLE_DEVICES"])
    assert seen == ["4", "5", "6", "7"]


def test_where_srun_binds_gpus_its_choice_stands() -> None:
    environ = {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "2",
        "CUDA_VISIBLE_DEVICES": "3",
    }
    arguments(OPTIONS, environ)
    assert environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_worker_of_another_protocol_refuses() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hbcoop_dist.clusters.dask_worker", *OPTIONS],
        env={PROTOCOL: "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "expected hbcoop_dist of the driver's protocol 0, found " in done.stderr


def test_log_lines_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HBCOOP_WORKER_NAME", "gpu-1-2")
    record = logging.LogRecord("hbcoop_dist", logging.INFO, __file__, 1, "done", None, None)
    record.data = {"batch": "so3lr 4 units 1", "seconds": 1.5}
    line = json.loads(JsonLines().format(record))
    assert line["worker"] == "gpu-1-2"
    assert line["event"] == "done"
    assert line["batch"] == "so3lr 4 units 1"
