"""Profiles and what they become: complaints that name the field, and job scripts as strings."""

from __future__ import annotations

import re
from pathlib import Path

import dask
import pytest

from hbcoop_dist.cli.cluster_commands import driver_script, job_scripts
from hbcoop_dist.clusters import ClusterError, ClusterProfile, JobRange, leave_out_absent, load_profile, local_profile
from hbcoop_dist.clusters.batch_system import make_batch_system
from hbcoop_dist.clusters.slurm import allocation_directives, allocation_prologue, clean_environ
from hbcoop_dist.core.files import bundled_names
from hbcoop_dist.core.yaml_source import dump_yaml

LOGS = Path("a.zarr.logs")


def job_script(pool: str, profile: ClusterProfile) -> str:
    return make_batch_system(profile, LOGS, "hbond=3").preview(pool)


def profile_file(folder: Path, pool: dict[str, object] | None = None, **fields: object) -> Path:
    base = {"profile": "mine", "kind": "slurm", "pools": {"gpu": {"jobs": "0:2", "memory": "8GB", **(pool or {})}}}
    path = folder / "mine.yaml"
    path.write_text(dump_yaml({**base, **fields}))
    return path


@pytest.mark.parametrize("name", bundled_names("cluster_profiles"))
def test_bundled_profiles_load_and_are_named_after_their_file(name: str) -> None:
    assert load_profile(name).profile == name


@pytest.mark.parametrize(
    ("pool", "complaint"),
    [
        ({"jobs": "20:0"}, "field pools.gpu.jobs: expected a range of at least one job, found '20:0'"),
        ({"jobs": "many"}, "field pools.gpu.jobs: expected a number, a range like 0:20, or auto, found 'many'"),
        ({"partitoin": "gpu"}, "field pools.gpu.partitoin: unknown field"),
        ({"walltime": "4h"}, "field pools.gpu.walltime: expected hours:minutes:seconds"),
        ({"device": "gpu"}, "field pools.gpu.device"),
        ({"workers_per_job": 0}, "field pools.gpu.workers_per_job"),
        ({"memory": "lots"}, "field pools.gpu.memory: expected a size like 16GB, found 'lots'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, pool: dict[str, object], complaint: str) -> None:
    path = profile_file(tmp_path, pool)
    with pytest.raises(ClusterError) as found:
        load_profile(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(found.value))
    assert complaint in str(found.value)


def test_a_slurm_pool_says_how_many_jobs_it_may_have(tmp_path: Path) -> None:
    path = profile_file(tmp_path, pools={"gpu": {"memory": "8GB"}})
    with pytest.raises(ClusterError, match=r"pools\.gpu\.jobs: expected a number or a range like 0:20"):
        load_profile(path)


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(ClusterError, match=r"slurm-9gpu: expected a file.*slurm-4gpu"):
        load_profile("slurm-9gpu")


@pytest.mark.parametrize("walltime", ["12:30:00", "04:30:00", "1-00:00:00", "00:05"])
def test_a_walltime_needs_no_quotes(tmp_path: Path, walltime: str) -> None:
    """YAML 1.1 reads 12:30:00, but not 04:30:00, as a number in base 60."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"profile: mine\nkind: slurm\npools: {{gpu: {{jobs: 1, memory: 8GB, walltime: {walltime}}}}}\n")
    assert load_profile(path).pools["gpu"].walltime == walltime


def test_a_python_with_a_folder_is_relative_to_the_profile(tmp_path: Path) -> None:
    assert load_profile(profile_file(tmp_path, {"python": "env/bin/python"})).pools["gpu"].python == str(
        tmp_path / "env/bin/python"
    )
    assert load_profile(profile_file(tmp_path, {"python": "python3.11"})).pools["gpu"].python == "python3.11"


def test_a_pool_of_this_machine_without_its_python_is_left_out_by_name(tmp_path: Path) -> None:
    pools = {"main": {}, "other": {"environments": ["x"], "python": "no/python"}, "plain": {"python": "python3"}}
    profile, lines = leave_out_absent(load_profile(profile_file(tmp_path, kind="local", pools=pools)))
    assert set(profile.pools) == {"main", "plain"}
    assert profile.environments_elsewhere == {"main"}
    (line,) = lines
    expected = f"pool other: expected a Python with environment x, found none at {tmp_path}/no/python"
    assert expected in line
    # only the nodes know what is there
    slurm = load_profile(profile_file(tmp_path, {"python": "no/python"}))
    assert leave_out_absent(slurm) == (slurm, ())
    with pytest.raises(ClusterError, match="pool other: expected a Python with environment x, found none at"):
        leave_out_absent(load_profile(profile_file(tmp_path, kind="local", pools={"other": pools["other"]})))


def test_a_job_with_four_gpus_starts_four_workers_with_one_each() -> None:
    script = job_script("gpu", load_profile("slurm-4gpu"))
    lines = script.splitlines()
    assert "#SBATCH --gres=gpu:4" in lines
    assert "#SBATCH --nodes=1 --ntasks=4 --cpus-per-task=4" in lines
    assert "#SBATCH --no-requeue" in lines
    assert "#SBATCH -p gpu" in lines
    assert "#SBATCH -t 04:00:00" in lines
    assert "#SBATCH -n 1" not in lines
    assert "#SBATCH -e a.zarr.logs/hbcoop-gpu-1-%J.err" in lines
    last = lines[-1]
    assert last.startswith("srun --ntasks=4 --cpus-per-task=4 --gpus-per-task=1 --kill-on-bad-exit=0 ")
    assert "-m hbcoop_dist.clusters.dask_worker tcp://DRIVER:PORT --name gpu-1 --nthreads 4" in last


def test_a_job_with_one_worker_needs_no_srun(tmp_path: Path) -> None:
    script = job_script("gpu", load_profile(profile_file(tmp_path, {"prologue": ["module load x"]})))
    assert "srun" not in script
    assert "gres" not in script
    assert "export HBCOOP_WORKER_LOGS=a.zarr.logs HBCOOP_WORKER_PROTOCOL=hbond=3\nmodule load x\n" in script


def test_the_users_own_settings_of_dask_jobqueue_are_honoured(tmp_path: Path) -> None:
    own = {
        "jobqueue.slurm.account": "chem",
        "jobqueue.slurm.walltime": "01:00:00",
        "jobqueue.slurm.job-extra-directives": ["--qos=long"],
        "jobqueue.slurm.job-script-prologue": ["source ~/env.sh"],
    }
    with dask.config.set(own):
        script = job_script("gpu", load_profile(profile_file(tmp_path)))
    for line in ("#SBATCH -A chem", "#SBATCH -t 01:00:00", "#SBATCH --qos=long", "source ~/env.sh"):
        assert line in script.splitlines()


def test_memory_that_nobody_names_is_asked_for(tmp_path: Path) -> None:
    profile = load_profile(profile_file(tmp_path, pools={"gpu": {"jobs": 1}}))
    with pytest.raises(ClusterError, match=r"profile mine, pool gpu: memory: expected e\.g\. 16GB"):
        job_script("gpu", profile)


def test_a_driver_in_a_job_hands_nothing_of_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SBATCH_EXCLUSIVE", "SRUN_CPUS_PER_TASK", "SLURMD_NODENAME", "SLURM_CONF"):
        monkeypatch.setenv(name, "1")
    left = [name for name in clean_environ() if name.startswith(("SLURM", "SBATCH", "SRUN"))]
    assert left == ["SLURM_CONF"]


def test_jobs_on_the_command_line_replace_those_of_every_pool() -> None:
    profile = load_profile("slurm-mixed").with_jobs(JobRange.parse("0:7"))
    assert {pool.jobs.most for pool in profile.pools.values()} == {7}


def test_the_local_profile_is_one_worker_per_core_unless_said() -> None:
    assert local_profile().pools["local"].jobs.auto
    assert local_profile(3).pools["local"].jobs == JobRange(least=3, most=3)


def test_an_allocation_asks_for_all_its_nodes_and_steps_for_one_each() -> None:
    profile = load_profile("slurm-allocation")
    script = driver_script("nma", Path("a.zarr"), "slurm-allocation", profile, None, [], ["--qos=long"])
    wanted = ("--nodes=2", "--ntasks-per-node=4", "--cpus-per-task=4", "--gres=gpu:4", "--mem=60G", "--time=12:00:00")
    for line in (*wanted, "--no-kill", "--qos=long"):
        assert f"#SBATCH {line}\n" in script
    step = make_batch_system(profile.model_copy(update={"interface": "ib0"}), LOGS, "hbond=1").preview("gpu").split()
    assert step[:7] == [
        "srun",
        "--nodes=1",
        "--ntasks=4",
        "--cpus-per-task=4",
        "--exact",
        "--gpus-per-task=1",
        "--mem=60G",
    ]
    assert step[step.index("--interface") + 1] == "ib0"
    assert step[step.index("--memory-limit") + 1] == str(16 * 10**9), "each of four workers has a quarter"


def test_pools_of_one_allocation_have_the_same_shape(tmp_path: Path) -> None:
    pools = {"one": {"jobs": 1, "threads": 4}, "two": {"jobs": 1, "threads": 8}}
    profile = load_profile(profile_file(tmp_path, kind="allocation", pools=pools))
    with pytest.raises(ClusterError, match=r"pools\.two\.threads: expected 4 as in pool one.*found 8"):
        allocation_directives(profile)


def test_an_allocation_does_not_grow(tmp_path: Path) -> None:
    path = profile_file(tmp_path, kind="allocation", pools={"one": {"jobs": "0:2"}})
    with pytest.raises(ClusterError, match=r"pools\.one\.jobs: expected a number of nodes"):
        load_profile(path)
    with pytest.raises(ValueError, match=r"^pools\.gpu\.jobs: expected a number of nodes"):
        load_profile("slurm-allocation").with_jobs(JobRange.parse("0:2"))


def test_the_prologue_of_an_allocation_has_every_line_once(tmp_path: Path) -> None:
    pools = {
        "one": {"jobs": 1, "prologue": ["module load a", "module load b"]},
        "two": {"jobs": 1, "prologue": ["module load b"]},
    }
    profile = load_profile(profile_file(tmp_path, kind="allocation", pools=pools))
    assert allocation_prologue(profile) == ["module load a", "module load b"]


@pytest.mark.parametrize("name", bundled_names("cluster_profiles"))
def test_every_bundled_profile_shows_the_jobs_of_all_its_pools(name: str) -> None:
    profile = load_profile(name)
    text = job_scripts(profile)
    assert text.count("clusters.dask_worker") + text.count("clusters/dask_worker.py") == len(profile.pools)
    for pool in profile.pools:
        assert f"--name {pool}-1 " in text
