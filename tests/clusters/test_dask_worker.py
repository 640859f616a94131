"""Options, environment, protocol check and log of the worker process."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from hbcoop_dist.clusters.dask_worker import (
    PROTOCOL_VARIABLE,
    BatchLog,
    JsonLines,
    QuietFileHandler,
    worker_arguments,
)

OPTIONS = ["tcp://driver:1", "--name", "gpu-1", "--nthreads", "4", "--memory-limit", "8GiB"]


def value(options: list[str], name: str) -> str:
    return options[options.index(name) + 1]


def test_threads_are_for_the_model_and_not_for_dask() -> None:
    environ: dict[str, str] = {}
    options = worker_arguments(OPTIONS, environ)
    assert value(options, "--nthreads") == "1"
    assert value(options, "--name") == "gpu-1"
    assert environ["OMP_NUM_THREADS"] == environ["MKL_NUM_THREADS"] == "4"


def test_every_process_of_a_step_has_its_own_name() -> None:
    names = set()
    for rank in range(4):
        environ = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        names.add(value(worker_arguments(OPTIONS, environ), "--name"))
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
        worker_arguments(OPTIONS, environ)
        seen.append(environ["CUDA_VISIBLE_DEVICES"])
    assert seen == ["4", "5", "6", "7"]


def test_where_srun_binds_gpus_its_choice_stands() -> None:
    environ = {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "2",
        "CUDA_VISIBLE_DEVICES": "3",
    }
    worker_arguments(OPTIONS, environ)
    assert environ["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.fixture
def kinds(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python with the campaign kinds `toy`, of protocol version 4, and `broken`."""
    info = tmp_path / "toy_kind-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-kind\nVersion: 0\n")
    lines = "[hbcoop_dist.campaign_kinds]\ntoy = toy_kind:kind\nbroken = no_such_module:kind\n"
    (info / "entry_points.txt").write_text(lines)
    (tmp_path / "toy_kind.py").write_text("class kind:\n    protocol_version = 4\n")
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("protocol", "expected", "found"),
    [
        ("toy=3", "expected campaign kind toy with the driver's protocol version 3", "found version 4"),
        ("absent=4", "expected campaign kind absent with the driver's protocol version 4", "toy"),
        ("broken=4", "expected campaign kind broken", "found version none (No module named 'no_such_module')"),
    ],
)
def test_a_worker_without_the_drivers_kind_and_version_refuses(
    kinds: dict[str, str], protocol: str, expected: str, found: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hbcoop_dist.clusters.dask_worker", *OPTIONS],
        env={**kinds, PROTOCOL_VARIABLE: protocol},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    for part in (sys.executable, expected, found, f"(hbcoop_dist {version('hbcoop_dist')})"):
        assert part in done.stderr


def test_a_worker_with_the_drivers_kind_and_version_starts(kinds: dict[str, str]) -> None:
    code = "from hbcoop_dist.clusters.dask_worker import check_protocol; check_protocol('toy=4')"
    done = subprocess.run([sys.executable, "-c", code], env=kinds, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_log_lines_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HBCOOP_WORKER_NAME", "gpu-1-2")
    record = logging.LogRecord("hbcoop_dist", logging.INFO, __file__, 1, "done", None, None)
    record.data = {"batch": "so3lr 4 units 1", "seconds": 1.5}
    line = json.loads(JsonLines().format(record))
    assert line["worker"] == "gpu-1-2"
    assert line["event"] == "done"
    assert line["batch"] == "so3lr 4 units 1"


def test_the_log_of_a_batch_has_its_begin_its_end_and_its_failure(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hbcoop_dist"), BatchLog("a 1", 3):
        pass
    with caplog.at_level(logging.INFO, "hbcoop_dist"), BatchLog("a 2", 1) as log:
        try:
            raise ValueError("boom")
        except ValueError:
            log.failed("code: boom")
    records = [(record.getMessage(), record.data) for record in caplog.records]  # type: ignore[attr-defined]
    assert [event for event, _ in records] == ["begun", "done", "begun", "failed"]
    assert records[1][1].keys() == {"batch", "tasks", "seconds"}
    assert records[3][1] == {"batch": "a 2", "tasks": 1, "reason": "code: boom"}
    assert json.loads(JsonLines().format(caplog.records[3]))["traceback"].endswith("ValueError: boom")


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    handler = QuietFileHandler("/dev/full")
    handler.handle(logging.LogRecord("x", logging.INFO, __file__, 1, "text", None, None))
    with contextlib.suppress(OSError):
        handler.close()
