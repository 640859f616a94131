"""The temporary Slurm cluster behaves like a real one in everything that the tests of campaigns rely on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mini_slurm
import psutil
import pytest
from mini_slurm import MiniSlurm

pytestmark = pytest.mark.slurm


@pytest.fixture(autouse=True)
def empty_queue(slurm: MiniSlurm) -> Iterator[None]:
    """No job of one test reaches the next."""
    yield
    for job in slurm.jobs():
        slurm.run("scancel", job.id, check=False)
    wait(lambda: not slurm.jobs())


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unlike tmp_path without the test's name: sockets need short paths."""
    return tmp_path_factory.mktemp("s")


def wait(done: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


def submit(slurm: MiniSlurm, script: str, *options: str) -> str:
    return slurm.run("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", script)


def states(slurm: MiniSlurm) -> dict[str, str]:
    return {job.id: job.state for job in slurm.jobs()}


def processes_of(folder: Path) -> list[list[str]]:
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [words for words in found if str(folder) in " ".join(words)]


def test_a_batch_job_writes_its_host_and_gpu(slurm: MiniSlurm, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text(f'#!/bin/sh\necho "$(hostname) $CUDA_VISIBLE_DEVICES" > {tmp_path}/partial\nmv partial out\n')
    slurm.run("sbatch", "--gpus=1", f"--chdir={tmp_path}", "--output=/dev/null", str(script))
    wait((tmp_path / "out").exists)
    host, gpu = (tmp_path / "out").read_text().split()
    assert host == slurm.run("hostname")
    assert gpu in {"0", "1", "2", "3"}


def test_two_jobs_on_one_node_get_different_gpus(slurm: MiniSlurm, tmp_path: Path) -> None:
    for name in ("a", "b"):
        submit(slurm, f"printenv CUDA_VISIBLE_DEVICES > {tmp_path}/{name}; sleep 60", "--gpus=1", "--nodelist=n1")
    wait(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in ("a", "b")))
    assert {(job.state, job.node) for job in slurm.jobs()} == {("RUNNING", "n1")}
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_srun_gives_each_task_its_own_gpu(slurm: MiniSlurm, tmp_path: Path) -> None:
    step = f"srun --ntasks=4 --gpus-per-task=1 sh -c 'echo $CUDA_VISIBLE_DEVICES > {tmp_path}/$SLURM_PROCID'"
    submit(slurm, f"{step}; touch {tmp_path}/done", "--nodes=1", "--ntasks=4", "--gpus=4")
    wait((tmp_path / "done").exists)
    assert sorted((tmp_path / str(task)).read_text().strip() for task in range(4)) == ["0", "1", "2", "3"]


def test_jobs_are_listed_with_their_names_and_cancelled(slurm: MiniSlurm) -> None:
    running = submit(slurm, "sleep 60", "--job-name=a|b")
    waiting = submit(slurm, "sleep 60", f"--dependency=afterok:{running}")
    wait(lambda: states(slurm) == {running: "RUNNING", waiting: "PENDING"})
    assert {(job.name, job.node) for job in slurm.jobs()} == {("a|b", "n0"), ("wrap", "")}
    slurm.run("scancel", running, waiting)
    wait(lambda: not slurm.jobs())


def test_an_unknown_partition_is_refused(slurm: MiniSlurm) -> None:
    with pytest.raises(RuntimeError, match="invalid partition"):
        submit(slurm, "true", "--partition=nowhere")


def test_the_callers_own_slurm_is_left_out(slurm: MiniSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "nowhere")
    monkeypatch.setenv("SLURM_CONF", "/nowhere")
    assert submit(slurm, "true").isdigit()


def test_a_node_dies_with_its_job_and_comes_back(slurm: MiniSlurm, tmp_path: Path) -> None:
    job = submit(slurm, f"echo $$ > {tmp_path}/pid; sleep 300", "--no-requeue", "--nodelist=n1")
    elsewhere = submit(slurm, "sleep 300", "--nodelist=n0")
    wait(lambda: states(slurm).get(job) == "RUNNING" and (tmp_path / "pid").exists())
    slurm.node_down("n1")
    wait(lambda: states(slurm).get(job) != "RUNNING")
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert states(slurm)[elsewhere] == "RUNNING"
    slurm.node_up("n1")
    assert slurm.run("sinfo", "-h", "-N", "-n", "n1", "-o", "%T") == "idle"
    again = submit(slurm, "sleep 300", "--nodelist=n1")
    wait(lambda: states(slurm).get(again) == "RUNNING")


def test_another_cluster_runs_beside_it_and_leaves_no_process(slurm: MiniSlurm, short_path: Path) -> None:
    detached = f"setsid sh -c 'touch {short_path}/started; sleep 300' & sleep 300"
    with MiniSlurm(short_path / "other", nodes=1, gpus=1) as other:
        job = submit(other, detached, "--gpus=1")
        submit(other, "sleep 300", "--gpus=1")
        wait((short_path / "started").exists)
        assert sorted(states(other).values()) == ["PENDING", "RUNNING"]
        assert job == "1"
        assert states(slurm) == {}
        assert processes_of(short_path)
    assert processes_of(short_path) == []
    assert slurm.run("sinfo", "-h", "-o", "%T") == "idle"
    other.stop()


def test_a_cluster_started_from_the_command_line_stays(short_path: Path) -> None:
    command = [sys.executable, mini_slurm.__file__]
    folder = str(short_path / "cli")
    started = subprocess.run([*command, "start", folder, "--nodes=1"], capture_output=True, text=True)
    try:
        assert started.stdout == f"export SLURM_CONF={folder}/slurm.conf\n", started.stderr
        shown = subprocess.run(f"{started.stdout} sinfo -h -o '%D %T %G'", shell=True, capture_output=True, text=True)
        assert shown.stdout == "1 idle gpu:4\n", shown.stderr
    finally:
        stopped = subprocess.run([*command, "stop", folder], capture_output=True, text=True)
    assert stopped.returncode == 0, stopped.stderr
    assert processes_of(short_path) == []


def test_what_is_missing_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_slurm, "SEARCH", "/nowhere")
    assert "slurmctld" in mini_slurm.available()
    assert "apt-get install" in mini_slurm.available()


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too long"):
        MiniSlurm(tmp_path / ("x" * 100))
