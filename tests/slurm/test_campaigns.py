"""Campaigns on a real Slurm: GPUs, pools, kills, growth, refusals; each ends in the store of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mini_slurm import MiniSlurm
from stores import differences

import hbcoop_dist as hb
from campaigns import HBCOOP, Campaign, profile_file, until

pytestmark = pytest.mark.slurm

LONG = {"lengths": "2..8", "patterns": ["arc", "linear"], "capping": ["none", "water"]}


@pytest.fixture(autouse=True)
def _clean(slurm: MiniSlurm):
    yield
    for job in slurm.jobs():
        slurm.run("scancel", job.id, check=False)
    until(lambda: not slurm.jobs(), 30)


def test_every_worker_of_a_campaign_has_a_gpu_of_its_own(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path, **LONG)
    profile = profile_file(
        tmp_path,
        gpu={"device": "cuda", "workers_per_job": 4, "jobs": 2, "memory": "8GB", "directives": ["-N1"]},
    )
    assert campaign.run(profile) == 0
    workers = campaign.started()
    assert sorted((worker["node"], worker["gpu"]) for worker in workers) == [
        (node, str(gpu)) for node in ("n0", "n1") for gpu in range(4)
    ]
    assert {worker["threads"] for worker in workers} == {"1"}
    assert differences(campaign.store, campaign.serial()) == []
    until(lambda: not slurm.jobs(), 20)


def test_a_job_that_is_cancelled_is_replaced_and_costs_nothing_but_time(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path, **LONG)
    driver = campaign.start(profile_file(tmp_path, cpu={"jobs": 2}))
    victim = until(lambda: campaign.results() > 3 and campaign.workers())[0]
    slurm.run("scancel", victim["job"])
    assert driver.wait(timeout=180) == 0
    assert f"job {victim['job']} ({victim['name']}) is gone: cancelled" in campaign.output
    names = {worker["worker"] for worker in campaign.started()}
    assert victim["name"] in names
    assert len(names) == 3, "the name of a dead job was used again, or it was not replaced"
    assert differences(campaign.store, campaign.serial()) == []


def test_a_node_that_dies_is_survived(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path, **LONG)
    driver = campaign.start(profile_file(tmp_path, cpu={"jobs": 2, "directives": ["--exclusive"]}))
    victim = until(lambda: campaign.results() > 3 and campaign.workers())[0]
    slurm.node_down(victim["node"])
    try:
        assert driver.wait(timeout=180) == 0
    finally:
        slurm.node_up(victim["node"])
    assert f"({victim['name']}) is gone: node_fail" in campaign.output
    assert differences(campaign.store, campaign.serial()) == []


def test_a_killed_driver_continues_where_it_was(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path, **LONG)
    profile = profile_file(tmp_path, cpu={"jobs": 2})
    driver = campaign.start(profile)
    until(lambda: campaign.results() > 5)
    other = subprocess.run(
        [HBCOOP, "run", str(campaign.spec), str(campaign.store), "--cluster", str(profile)],
        env=campaign.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert other.returncode == 2
    assert f"pid {driver.pid} on" in other.stderr
    left = {job["job"] for job in campaign.workers()}
    driver.kill()
    driver.wait()
    before = campaign.results()
    again = campaign.start(profile)
    until(lambda: not left & {job.id for job in slurm.jobs()}, 45)
    assert again.wait(timeout=180) == 0
    assert campaign.results() > before
    assert differences(campaign.store, campaign.serial()) == []


def test_a_pool_grows_with_what_waits_and_shrinks_again(slurm: MiniSlurm, tmp_path: Path) -> None:
    """Two models at once, then one of them alone for a while: the second job idles and is given back."""
    campaign = Campaign(slurm, tmp_path, lengths=[2, 3, 4, 5, 6, 7, 8, 9], models=["slow-a", "slow-b"])
    seen = []
    driver = campaign.start(profile_file(tmp_path, cpu={"jobs": "0:3", "idle_seconds": 1}))
    while driver.poll() is None:
        seen.append(len(slurm.jobs()))
        time.sleep(0.3)
    assert driver.returncode == 0
    assert max(seen) > 1, "never more than one job"
    until(lambda: not slurm.jobs(), 20)
    assert differences(campaign.store, campaign.serial()) == []


def test_two_campaigns_run_side_by_side(slurm: MiniSlurm, tmp_path: Path) -> None:
    profile = profile_file(tmp_path, cpu={"jobs": 1})
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = Campaign(slurm, tmp_path / "one", lengths="2..5"), Campaign(slurm, tmp_path / "two", lengths="2..5")
    drivers = [one.start(profile), two.start(profile)]
    assert [driver.wait(timeout=180) for driver in drivers] == [0, 0]
    assert differences(one.store, two.store) == []


SEVENNET = Path(__file__).resolve().parents[2] / ".venv-sevennet" / "bin" / "python"


@pytest.mark.skipif(not SEVENNET.exists(), reason="no .venv-sevennet: make environment-sevennet")
def test_two_families_that_cannot_live_together_run_in_one_campaign(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path, models=["so3lr", "sevennet-0"], lengths=[2])
    pools = {
        "main": {"jobs": "0:1", "memory": "4GB"},
        "sevennet": {"environments": ["sevennet"], "python": str(SEVENNET), "jobs": "0:1", "memory": "4GB"},
    }
    assert campaign.run(profile_file(tmp_path, **pools), timeout=400) == 0
    pythons = {worker["worker"].rpartition("-")[0]: worker["python"] for worker in campaign.started()}
    assert pythons["sevennet"] == str(SEVENNET)
    assert pythons["main"] != pythons["sevennet"]
    ds = hb.open_store(campaign.store).squeeze()
    assert set(ds.status.values) == {"done"}
    assert "e3nn" in json.loads(str(ds.versions.sel(model="sevennet-0").values))


def test_a_model_whose_environment_no_pool_has_is_refused_before_anything_runs(
    slurm: MiniSlurm, tmp_path: Path
) -> None:
    campaign = Campaign(slurm, tmp_path, models=["sevennet-0"], lengths=[2])
    profile = profile_file(tmp_path, cpu={"environments": ["other"], "python": "python3"})
    campaign.run(profile, timeout=60)
    assert "environment 'sevennet' has it, from environments/sevennet.txt" in " ".join(campaign.output.split())
    assert not slurm.jobs()


def test_a_refused_job_is_said_at_once_and_ends_the_run(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path)
    assert campaign.run(profile_file(tmp_path, cpu={"partition": "nowhere"}), timeout=90) == 2
    assert "pool cpu: a job was refused, next try in 1 s" in campaign.output
    assert "invalid partition specified: nowhere" in campaign.output
    assert "no job could be started" in campaign.output


def test_a_python_that_is_not_there_ends_the_run_with_its_last_words(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path)
    assert campaign.run(profile_file(tmp_path, cpu={"python": "/no/such/python", "jobs": 1}), timeout=90) == 2
    assert "3 jobs in a row ended before a worker came" in campaign.output
    assert "/no/such/python: No such file or directory" in campaign.output


def test_the_driver_itself_can_be_a_job(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path, lengths="2..5")
    campaign.env["SLOW_SECONDS"] = "0.4"
    profile = profile_file(tmp_path, cpu={"jobs": 1})
    job = campaign.submit(profile)
    until(lambda: campaign.results() > 1)
    status = subprocess.run(
        [HBCOOP, "status", str(campaign.store)],
        env=campaign.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "running: pid" in status.stdout
    assert "(cpu-1): running on n" in " ".join(status.stdout.split())
    until(lambda: job not in [found.id for found in slurm.jobs()])
    assert "JobState=COMPLETED" in slurm.run("scontrol", "show", "job", job)
    assert differences(campaign.store, campaign.serial()) == []


def test_a_driver_that_slurm_requeues_goes_on(slurm: MiniSlurm, tmp_path: Path) -> None:
    """What happens to it when its node fails, or somebody with more rights needs it."""
    campaign = Campaign(slurm, tmp_path, lengths="2..6", patterns=["arc", "linear"])
    campaign.env["SLOW_SECONDS"] = "0.4"
    job = campaign.submit(profile_file(tmp_path, cpu={"jobs": 1}))
    until(lambda: campaign.results() > 1)
    before = {found.id for found in slurm.jobs()} - {job}
    slurm.run("scontrol", "requeue", job)
    until(lambda: job in [found.id for found in slurm.jobs()] and before.isdisjoint(f.id for f in slurm.jobs()))
    # a requeued job waits for two minutes unless somebody says otherwise
    slurm.run("scontrol", "update", f"jobid={job}", "starttime=now")
    until(lambda: job not in [found.id for found in slurm.jobs()], 180)
    shown = slurm.run("scontrol", "show", "job", job)
    assert "JobState=COMPLETED" in shown
    assert "Restarts=1" in shown
    assert differences(campaign.store, campaign.serial()) == []


def test_driver_and_workers_share_one_job(slurm: MiniSlurm, tmp_path: Path) -> None:
    campaign = Campaign(slurm, tmp_path, lengths="2..6", patterns=["arc", "linear"])
    campaign.env["SLOW_SECONDS"] = "0.3"
    gpu = {"device": "cuda", "workers_per_job": 4, "jobs": 2, "memory": "4GB"}
    job = campaign.submit(profile_file(tmp_path, kind="allocation", gpu=gpu))
    victim = until(lambda: campaign.results() > 3 and campaign.started())[0]
    os.kill(victim["pid"], signal.SIGKILL)
    assert [found.id for found in slurm.jobs()] == [job]
    until(lambda: not slurm.jobs(), 180)
    assert "JobState=COMPLETED" in slurm.run("scontrol", "show", "job", job)
    places = {(worker["node"], worker["gpu"]) for worker in campaign.started()}
    assert places == {(node, str(gpu)) for node in ("n0", "n1") for gpu in range(4)}
    assert differences(campaign.store, campaign.serial()) == []


@pytest.mark.slow
def test_a_worker_is_given_nothing_that_its_walltime_has_no_room_for(slurm: MiniSlurm, tmp_path: Path) -> None:
    """Jobs of one minute, which Slurm ends at any moment up to half a minute later: work goes on in the next ones."""
    campaign = Campaign(slurm, tmp_path, lengths="2..9", patterns=["arc", "linear"])
    campaign.env["SLOW_SECONDS"] = "1.5"
    assert campaign.run(profile_file(tmp_path, cpu={"walltime": "00:01:00", "jobs": 2}), timeout=400) == 0
    assert len(campaign.started()) > 2
    assert differences(campaign.store, campaign.serial()) == []


@pytest.mark.parametrize("victim", ["worker", "nanny"])
def test_a_process_that_dies_in_a_job_is_survived(slurm: MiniSlurm, tmp_path: Path, victim: str) -> None:
    campaign = Campaign(slurm, tmp_path, **LONG)
    driver = campaign.start(profile_file(tmp_path, cpu={"jobs": 1, "workers_per_job": 2, "memory": "4GB"}))
    until(lambda: campaign.results() > 3)
    pid = campaign.started()[0]["pid"]
    if victim == "nanny":
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)
    assert driver.wait(timeout=180) == 0
    assert differences(campaign.store, campaign.serial()) == []
