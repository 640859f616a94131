"""`hbcoop cluster`: the commands of the group; their bodies are in `cluster_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hbcoop_dist.cli.campaign_commands import JobsOption, SpecArgument, load_cluster, make_plan

app = typer.Typer(help="Cluster profiles, their job scripts, and drivers that run as jobs.", no_args_is_help=True)


@app.command("list")
def cluster_list() -> None:
    """List the bundled profiles and their pools."""
    from hbcoop_dist.cli import cluster_commands
    from hbcoop_dist.cli.terminal import wide_console

    cluster_commands.show_list(wide_console())


@app.command("script")
def cluster_script(profile: Annotated[str, typer.Argument(metavar="PROFILE")]) -> None:
    """Print the job script of the first job of every pool."""
    from hbcoop_dist.cli import cluster_commands
    from hbcoop_dist.clusters import load_profile

    typer.echo(cluster_commands.job_scripts(load_profile(profile)), nl=False)


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
    from hbcoop_dist.cli import cluster_commands

    profile = load_cluster(cluster, jobs)
    assert profile is not None
    # reports errors in the campaign now instead of in the log of a job that starts later
    make_plan(spec, profile)
    extra = [] if jobs is None else ["--jobs", jobs]
    script = cluster_commands.driver_script(spec, store, cluster, profile, walltime, extra, directive or [])
    if dry_run:
        typer.echo(script, nl=False)
        return
    job = cluster_commands.submit(script, store)
    typer.echo(f"job {job} runs the driver; once it has begun, see how it stands with: hbcoop status {store}")
