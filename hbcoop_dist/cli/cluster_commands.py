"""`hbcoop cluster`: bundled profiles, their job scripts, and drivers that run as a job."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hbcoop_dist.clusters import ClusterError, ClusterProfile, load_profile
from hbcoop_dist.clusters.batch_system import make_batch_system
from hbcoop_dist.core.files import bundled_names
from hbcoop_dist.store.paths import logs_path

DRIVER_WALLTIME = "2-00:00:00"
EXAMPLE_LOGS = Path("STORE.logs")
EXAMPLE_PROTOCOL = "KIND=VERSION"


def show_list(console: Console) -> None:
    """Print a table of the bundled profiles and their pools.

    Parameters
    ----------
    console : rich.console.Console
    """
    table = Table("profile", "kind", "pool", "environments", "device", "jobs", "workers per job", box=None)
    for name in bundled_names("cluster_profiles"):
        profile = load_profile(name)
        for label, pool in profile.pools.items():
            jobs = "auto" if pool.jobs.auto else f"{pool.jobs.least}:{pool.jobs.most}"
            environments = ", ".join(pool.environments)
            table.add_row(name, profile.kind, label, environments, pool.device, jobs, str(pool.workers_per_job))
    console.print(table)


def job_scripts(profile: ClusterProfile) -> str:
    """Return the scripts or commands that start the first job of every pool.

    Parameters
    ----------
    profile : ClusterProfile

    Returns
    -------
    str
        For an allocation, the script of the job and the command of one step per pool.

    Raises
    ------
    ClusterError
        When the profile lacks a setting that the batch system requires.
    """
    system = make_batch_system(profile, EXAMPLE_LOGS, EXAMPLE_PROTOCOL)
    if profile.kind == "allocation":
        script = driver_script("SPEC", Path("STORE"), profile.profile, profile, None, [], [])
        return script + "".join(f"# step of pool {name}: {system.preview(name)}\n" for name in profile.pools)
    previews = {name: system.preview(name) for name in profile.pools}
    headed = len(previews) > 1
    return "\n".join((f"# pool {name}\n" if headed else "") + f"{text}\n" for name, text in previews.items())


def driver_script(
    spec: str,
    store: Path,
    cluster: str,
    profile: ClusterProfile,
    walltime: str | None,
    extra: Sequence[str],
    directives: Sequence[str],
) -> str:
    """Return the script of a Slurm job that runs the driver.

    Parameters
    ----------
    spec : str
        Path or name of the campaign.
    store : Path
    cluster : str
        Path or name of the profile.
    profile : ClusterProfile
        For kind ``slurm`` the job has one core and submits the workers' jobs; for kind ``allocation`` it holds driver
        and workers.
    walltime : str or None
        Of the job; two days, or the walltime of the allocation's profile, by default.
    extra : sequence of str
        Further options of ``hbcoop run``.
    directives : sequence of str
        Further ``#SBATCH`` options.

    Returns
    -------
    str

    Raises
    ------
    ClusterError
        When the pools of an allocation cannot share one job.
    """
    logs = logs_path(store)
    command = [sys.executable, "-m", "hbcoop_dist", "run", spec, str(store), "--cluster", cluster, *extra]
    prologue: list[str] = []
    if profile.kind == "allocation":
        from hbcoop_dist.clusters.slurm import allocation_directives, allocation_prologue

        options, prologue = allocation_directives(profile), allocation_prologue(profile)
        options += [f"--time={walltime}"] if walltime else []
    else:
        options = ["-n 1", "--cpus-per-task=1", "--mem=4G", f"-t {walltime or DRIVER_WALLTIME}"]
        # the account of the workers also pays for the driver; its partition is the site's default, or --directive's
        options += [f"--account={pool.account}" for pool in profile.pools.values() if pool.account][:1]
    lines = [
        "#!/usr/bin/env bash",
        "#SBATCH -J hbcoop-driver",
        f"#SBATCH -o {logs}/driver-%j.out",
        # the same command continues a campaign, so Slurm may restart the job after a node failure
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        *(f"#SBATCH {text}" for text in (*options, *directives)),
        *prologue,
        "exec " + shlex.join(command),
    ]
    return "\n".join(lines) + "\n"


def submit(script: str, store: Path) -> str:
    """Submit the script of a driver.

    Parameters
    ----------
    script : str
    store : Path
        The folder of its logs is created.

    Returns
    -------
    str
        Id of the job.

    Raises
    ------
    ClusterError
        When sbatch does not exist, or refuses the script.
    """
    from hbcoop_dist.clusters.slurm import clean_environ

    logs_path(store).mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            ["sbatch"], input=script, capture_output=True, text=True, check=False, env=clean_environ()
        )
    except FileNotFoundError:
        raise ClusterError("sbatch: expected Slurm's commands on this machine, found none") from None
    match = re.search(r"(\d+)", done.stdout)
    if done.returncode != 0 or match is None:
        raise ClusterError(f"sbatch refused the driver's job: {done.stderr.strip() or done.stdout.strip()}")
    return match[1]
