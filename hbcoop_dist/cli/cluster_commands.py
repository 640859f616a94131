"""`hbcoop cluster`: bundled profiles, their job scripts, and drivers that run as a job."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hbcoop_dist.cli.campaign_commands import JobsOption, SpecArgument, load_cluster, make_plan

if TYPE_CHECKING:
    from rich.console import Console

    from hbcoop_dist.clusters import ClusterProfile

app = typer.Typer(help="Cluster profiles, their job scripts, and drivers that run as jobs.", no_args_is_help=True)
DRIVER_WALLTIME = "2-00:00:00"
EXAMPLE_LOGS = Path("STORE.logs")
EXAMPLE_PROTOCOL = "KIND=VERSION"


@app.command("list")
def cluster_list() -> None:
    """List the bundled profiles and their pools."""
    from hbcoop_dist.cli.terminal import wide_console

    show_list(wide_console())


@app.command("script")
def cluster_script(profile: Annotated[str, typer.Argument(metavar="PROFILE")]) -> None:
    """Print the job script of the first job of every pool."""
    from hbcoop_dist.clusters import load_profile

    typer.echo(job_scripts(load_profile(profile)), nl=False)


@app.command("submit")
def cluster_submit(
    spec: SpecArgument,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store to create, continue or extend.")],
    cluster: Annotated[str, typer.Option("--cluster", metavar="PROFILE", help="Cluster profile of the workers.")],
    jobs: JobsOption = None,
    walltime: Annotated[
        str | None,
        typer.Option(help="Walltime of the driver's job; by default two days, or that of the allocation."),
    ] = None,
    directive: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Further #SBATCH line of the driver's job. Repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script and submit nothing.")] = False,
) -> None:
    """Submit the driver as a job and return, for sites that forbid long processes on login nodes."""

    profile = load_cluster(cluster, jobs)
    assert profile is not None
    # reports errors in the campaign now instead of in the log of a job that starts later
    make_plan(spec, profile)
    extra = [] if jobs is None else ["--jobs", jobs]
    script = driver_script(spec, store, cluster, profile, walltime, extra, directive or [])
    if dry_run:
        typer.echo(script, nl=False)
        return
    job = submit_driver(script, store)
    typer.echo(f"job {job} runs the driver; once it has begun, see how it stands with: hbcoop status {store}")


def show_list(console: Console) -> None:
    """Print a table of the bundled profiles and their pools.

    Parameters
    ----------
    console : rich.console.Console
    """
    from rich.table import Table

    from hbcoop_dist.clusters import load_profile
    from hbcoop_dist.core.files import bundled_names

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
    from hbcoop_dist.clusters.batch_system import make_batch_system

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
    from hbcoop_dist.store import logs_path

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


def submit_driver(script: str, store: Path) -> str:
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
    from hbcoop_dist.clusters import ClusterError
    from hbcoop_dist.clusters.slurm import clean_environ
    from hbcoop_dist.store import logs_path

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
