"""`hbcoop plan`, `run`, `retry` and `status`: campaigns of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hbcoop_dist.campaigns.kind import AnyPlan
    from hbcoop_dist.clusters import ClusterProfile

NOT_DONE = 1
"""Exit code when some cells failed, are unconverged or quarantined."""
RETRYABLE = "unconverged, broken-geometry, quarantined, failed"

SpecArgument = Annotated[
    str,
    typer.Argument(metavar="SPEC", help="Campaign file, or a bundled name: quickstart, nma, generalization-quick ..."),
]
ClusterOption = Annotated[
    str | None, typer.Option("--cluster", metavar="PROFILE", help="Profile file, or a bundled name: slurm-4gpu ...")
]
JobsOption = Annotated[
    str | None, typer.Option("--jobs", metavar="N|LEAST:MOST", help="Jobs in every pool, instead of the profile's.")
]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="The campaign's Zarr store.")]


def plan(
    spec: SpecArgument,
    store: Annotated[Path | None, typer.Option(help="A store with measured times: adds a cost estimate.")] = None,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell.")] = False,
    cluster: ClusterOption = None,
) -> None:
    """Show what a campaign would run: cells, tasks, and what is skipped and why."""
    from hbcoop_dist.campaigns.kind import kind_of
    from hbcoop_dist.store import kind_of_store

    made = make_plan(spec, load_cluster(cluster, None))
    # a store that does not exist would read as one without times
    if store is not None and (stored := kind_of_store(store)) != made.spec.kind:
        raise typer.BadParameter(f"--store: expected a store of kind {made.spec.kind}, found one of kind {stored}")
    typer.echo(made)
    if cells:
        for cell in made.cells:
            reason = made.skipped.get(cell)
            typer.echo(f"  {cell}" + (f": skipped, {reason.splitlines()[0]}" if reason else ""))
    if store is not None:
        typer.echo(kind_of(made.spec).estimate(made, store))


def run_campaign(
    spec: SpecArgument,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store to create, continue or extend.")],
    serial: Annotated[bool, typer.Option("--serial", help="Everything in this process, for debugging.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Dask workers; one per core by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0.")] = "cpu",
    cluster: ClusterOption = None,
    jobs: JobsOption = None,
    retry: Annotated[
        list[str] | None, typer.Option(help=f"Compute cells of this status again: {RETRYABLE}. Repeatable.")
    ] = None,
    performance_report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write Dask's performance report (HTML).")
    ] = None,
) -> None:
    """Run a campaign into a store; nothing that is in the store already is computed again.

    The same command continues after any interruption. New models and lengths in the spec extend the store.
    """
    from hbcoop_dist.campaigns.kind import kind_of
    from hbcoop_dist.campaigns.pending_cells import RETRYABLE as STATUSES
    from hbcoop_dist.campaigns.runner import run
    from hbcoop_dist.clusters import check_device

    if unknown := sorted(set(retry or ()) - set(STATUSES)):
        raise typer.BadParameter(f"--retry: expected {', '.join(STATUSES)}, found {', '.join(unknown)}")
    profile = load_cluster(cluster, jobs, serial=serial, workers=workers, device=device)
    if profile is None:
        check_device(device)
    made = make_plan(spec, profile, device)
    typer.echo(made)
    for name, source in made.sources.items():
        typer.echo(f"  {name}: licence {source.licence}; cite {source.citation}")
    kind_of(made.spec).check(made)
    summary = run(
        made,
        store,
        serial=serial,
        workers=workers,
        device=device,
        cluster=profile,
        retry=tuple(retry or ()),
        report=performance_report,
    )
    typer.echo(f"{store}: {summary}")
    if not summary.ok:
        typer.echo(f"see why with: hbcoop status {store}", err=True)
        raise typer.Exit(NOT_DONE)


def retry(
    store: StoreArgument,
    match: Annotated[
        str, typer.Option(help="Only cells whose reason contains this, e.g. 'out of memory', 'lost worker', 'CUDA'.")
    ] = "",
    cluster: ClusterOption = None,
    jobs: JobsOption = None,
) -> None:
    """Compute again what failed, was quarantined or did not converge, by the campaigns of the store's history."""
    from hbcoop_dist.campaigns.pending_cells import RETRYABLE as STATUSES
    from hbcoop_dist.campaigns.runner import run

    profile = load_cluster(cluster, jobs)
    unfinished = False
    for made in _plans_of(store, profile):
        summary = run(made, store, cluster=profile, retry=STATUSES, match=match)
        typer.echo(f"{store}: {summary}")
        if match and not summary.computed:
            typer.echo(f"{store}: nothing to try again: no cell that failed has {match!r} in its reason")
        unfinished = unfinished or not summary.ok
    if unfinished:
        typer.echo(f"see why with: hbcoop status {store}", err=True)
        raise typer.Exit(NOT_DONE)


def status(
    store: StoreArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Show it every few seconds until the run is over.")] = False,
) -> None:
    """Show how the cells of a store stand, why those that are not done are not, and the run in progress."""
    from rich.console import Console

    from hbcoop_dist.analysis.tables.cells import is_settled
    from hbcoop_dist.campaigns.kind import find_kind
    from hbcoop_dist.cli.terminal import progress_lines, watch_progress
    from hbcoop_dist.store import open_store

    console = Console()
    if watch:
        watch_progress(store, console)
    ds = open_store(store)
    kind = find_kind(ds.attrs["kind"])
    for line in progress_lines(store):
        console.print(line, highlight=False)
    ds = kind.requested_part(ds)
    for renderable in kind.status(ds):
        console.print(renderable)
    if not is_settled(ds, kind.schema):
        raise typer.Exit(NOT_DONE)


def make_plan(spec: str, profile: ClusterProfile | None, device: str = "cpu") -> AnyPlan:
    """Load a campaign and plan it for the place where it will run."""
    from hbcoop_dist.campaigns.kind import load_campaign
    from hbcoop_dist.campaigns.kind import plan as plan_campaign

    if profile is None:
        return plan_campaign(load_campaign(spec), device=device)
    return plan_campaign(load_campaign(spec), device=profile.device, elsewhere=profile.environments_elsewhere)


def _plans_of(store: Path, profile: ClusterProfile | None) -> Iterator[AnyPlan]:
    """Yield the plans of the campaigns in a store's history; those that cannot be loaded here are reported."""
    from hbcoop_dist.campaigns.kind import load_from_history, specs_in_history
    from hbcoop_dist.campaigns.kind import plan as plan_campaign
    from hbcoop_dist.campaigns.spec_fields import CampaignError
    from hbcoop_dist.store import history_of

    device = "cpu" if profile is None else profile.device
    elsewhere = frozenset() if profile is None else profile.environments_elsewhere
    for spec in specs_in_history(history_of(store)):
        try:
            yield plan_campaign(load_from_history(spec), device=device, elsewhere=elsewhere)
        except CampaignError as error:
            typer.echo(f"{store}: campaign {spec.get('campaign')} cannot be run here: {error}", err=True)


def load_cluster(
    cluster: str | None, jobs: str | None, *, serial: bool = False, workers: int | None = None, device: str = "cpu"
) -> ClusterProfile | None:
    """Load the profile of ``--cluster`` with the jobs of ``--jobs``; None for this machine."""
    from hbcoop_dist.clusters import JobRange, leave_out_absent, load_profile

    if cluster is None:
        if jobs is not None:
            raise typer.BadParameter("--jobs: expected a --cluster with it; --workers sets those of this machine")
        return None
    if serial or workers is not None or device != "cpu":
        raise typer.BadParameter(
            "--cluster: expected no --serial, --workers or --device beside it; the profile has them"
        )
    profile, absent = leave_out_absent(load_profile(cluster))
    for line in absent:
        typer.echo(line, err=True)
    try:
        return profile if jobs is None else profile.with_jobs(JobRange.parse(jobs))
    except ValueError as error:
        raise typer.BadParameter(f"--jobs: {error}") from None
