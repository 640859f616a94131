"""`hbcoop cluster`: profiles and their job scripts, and drivers that run as a job themselves."""

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
from hbcoop_dist.clusters.local_job import local_command
from hbcoop_dist.clusters.step_job import allocation_directives, prologue, step_command
from hbcoop_dist.core.resources import bundled_names
from hbcoop_dist.core.tasks import PROTOCOL_VERSION
from hbcoop_dist.store.paths import logs_path

DRIVER_WALLTIME = "2-00:00:00"
EXAMPLE_LOGS = Path("STORE.logs")


def show_list(console: Console) -> None:
    """The bundled profiles."""
    table = Table("profile", "kind", "pool", "environments", "device", "jobs", "workers per job", box=None)
    for name in bundled_names("cluster_profiles"):
        profile = load_profile(name)
        for label, pool in profile.pools.items():
            jobs = "auto" if pool.jobs.auto else f"{pool.jobs.least}:{pool.jobs.most}"
            environments = ", ".join(pool.environments)
            table.add_row(name, profile.kind, label, environments, pool.device, jobs, str(pool.workers_per_job))
    console.print(table)


def scripts(profile: ClusterProfile) -> str:
    """What would be handed to sbatch (or started, on this machine): the first job of every pool, or the one for all."""
    if profile.kind == "allocation":
        script = driver_script("SPEC", Path("STORE"), profile.profile, profile, None, [], [])
        for name, pool in profile.pools.items():
            step = step_command("tcp://DRIVER:PORT", f"{name}-1", pool, profile.interface)
            script += f"# step of pool {name}: {shlex.join(step)}\n"
        return script
    parts = []
    for name, pool in profile.pools.items():
        if profile.kind == "local":
            text = shlex.join(local_command("tcp://DRIVER:PORT", f"{name}-1", pool))
        else:
            from hbcoop_dist.clusters.slurm_job import job_script

            text = job_script(name, profile, EXAMPLE_LOGS, PROTOCOL_VERSION).strip()
        parts.append(f"# pool {name}\n{text}\n" if len(profile.pools) > 1 else f"{text}\n")
    return "\n".join(parts)


def driver_script(
    spec: str,
    store: Path,
    cluster: str,
    profile: ClusterProfile,
    walltime: str | None,
    extra: Sequence[str],
    directives: Sequence[str],
) -> str:
    """A job that runs the driver, on one core; it submits the workers' jobs from there, or holds them all itself.

    Raises
    ------
    ClusterError
        When the profile's pools cannot share one job, though it says that they do.
    """
    logs = logs_path(store)
    command = [sys.executable, "-m", "hbcoop_dist", "run", spec, str(store), "--cluster", cluster, *extra]
    before: list[str] = []
    if profile.kind == "allocation":
        asked, before = allocation_directives(profile), prologue(profile)
        asked += [f"--time={walltime}"] if walltime else []
    else:
        asked = ["-n 1", "--cpus-per-task=1", "--mem=4G", f"-t {walltime or DRIVER_WALLTIME}"]
        # whoever pays for the workers pays for the driver; its partition is the site's default, or --directive's
        asked += list(dict.fromkeys(f"--account={pool.account}" for pool in profile.pools.values() if pool.account))[:1]
    lines = [
        "#!/usr/bin/env bash",
        "#SBATCH -J hbcoop-driver",
        f"#SBATCH -o {logs}/driver-%j.out",
        # the same command continues, so Slurm may start it again after a node failed
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        *(f"#SBATCH {text}" for text in (*asked, *directives)),
        *before,
        "exec " + shlex.join(command),
    ]
    return "\n".join(lines) + "\n"


def submit(script: str, store: Path) -> str:
    """Hand a driver's script to sbatch; the job's id.

    Raises
    ------
    ClusterError
        When sbatch is not there, or refuses it.
    """
    from hbcoop_dist.clusters.slurm_job import clean_environ

    logs_path(store).mkdir(parents=True, exist_ok=True)
    try:
        found = subprocess.run(
            ["sbatch"], input=script, capture_output=True, text=True, check=False, env=clean_environ()
        )
    except FileNotFoundError:
        raise ClusterError("sbatch: expected Slurm's commands on this machine, found none") from None
    match = re.search(r"(\d+)", found.stdout)
    if found.returncode != 0 or match is None:
        raise ClusterError(f"sbatch refused the driver's job: {found.stderr.strip() or found.stdout.strip()}")
    return match[1]
