"""The command line: `hbcoop plan`, `run`, `status`, `analyse`, `report`, `export`, `models`, `datasets`, `doctor`.

Exit codes: 0 every cell is done or skipped with a reason, 1 some are not, 2 bad input, 3 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hbcoop_dist.analysis import ComparisonError
from hbcoop_dist.campaigns.complexes.reading import ComplexError
from hbcoop_dist.campaigns.hbond.plan import Plan
from hbcoop_dist.campaigns.hbond.spec import CampaignError
from hbcoop_dist.campaigns.pending_cells import RETRYABLE
from hbcoop_dist.cli import cluster_commands as cluster_command
from hbcoop_dist.cli import doctor as doctor_command
from hbcoop_dist.cli import kinds
from hbcoop_dist.cli import model_commands as models_command
from hbcoop_dist.cli import store_commands as report_command
from hbcoop_dist.cli.bridge_command import bridge
from hbcoop_dist.cli.dataset_commands import datasets_app
from hbcoop_dist.cli.exchange_commands import compare, export, merge
from hbcoop_dist.cli.model_template import new_model
from hbcoop_dist.cli.output_files import check_output
from hbcoop_dist.cli.report_command import report
from hbcoop_dist.cli.terminal import wide_console
from hbcoop_dist.clusters import (
    ClusterError,
    ClusterLostError,
    ClusterProfile,
    DeviceError,
    JobRange,
    check_device,
    leave_out_absent,
    load_profile,
)
from hbcoop_dist.models.base import ModelError
from hbcoop_dist.references import ReferenceSetError, ReferenceTableError
from hbcoop_dist.store import StoreError, StoreWriteError

NOT_DONE, BAD_INPUT, INTERRUPTED = 1, 2, 3
_TYPER_INTERRUPTED = 130
FIGURES = (".png", ".pdf", ".svg")

app = typer.Typer(
    name="hbcoop",
    help=(
        "How well do machine-learning force fields reproduce hydrogen-bond cooperativity?\n\n"
        "A campaign (YAML) is planned, run on this machine's cores, and written into one Zarr store that "
        "xarray.open_zarr reads.\n\n"
        "[bold]Start with[/bold]  hbcoop run quickstart quickstart.zarr"
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(
    help="What models there are, whether they run here, and whether they keep their promises.", no_args_is_help=True
)
app.add_typer(models_app, name="models")
app.add_typer(datasets_app, name="datasets")
cluster_app = typer.Typer(help="Profiles of clusters, their job scripts, drivers as jobs.", no_args_is_help=True)
app.add_typer(cluster_app, name="cluster")

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


@app.command()
def plan(
    spec: SpecArgument,
    store: Annotated[Path | None, typer.Option(help="A store with measured times: adds a cost estimate.")] = None,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell.")] = False,
    cluster: ClusterOption = None,
) -> None:
    """Show what a campaign would run: cells, minimisations, single points, and what is skipped and why."""
    drawn = kinds.draw(spec, **_where(_profile(cluster, None)))
    typer.echo(drawn)
    if cells:
        skipped: Mapping[Any, str] = drawn.skipped
        for cell in drawn.cells:
            reason = skipped.get(cell)
            typer.echo(f"  {cell}" + (f": skipped, {reason.splitlines()[0]}" if reason else ""))
    if store is not None:
        typer.echo(kinds.estimate(drawn, store))


@app.command(name="run")
def run_campaign(
    spec: SpecArgument,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store to create, continue or extend.")],
    serial: Annotated[bool, typer.Option("--serial", help="Everything in this process, for debugging.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Dask workers; one per core by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0.")] = "cpu",
    cluster: ClusterOption = None,
    jobs: JobsOption = None,
    retry: Annotated[
        list[str] | None, typer.Option(help=f"Compute cells of this status again: {', '.join(RETRYABLE)}. Repeatable.")
    ] = None,
    performance_report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write Dask's performance report (HTML).")
    ] = None,
) -> None:
    """Run a campaign into a store; what is there already is not computed again.

    The same command continues after any interruption. New models and lengths in the spec extend the store.
    """
    if unknown := sorted(set(retry or ()) - set(RETRYABLE)):
        raise typer.BadParameter(f"--retry: expected {', '.join(RETRYABLE)}, found {', '.join(unknown)}")
    profile = _profile(cluster, jobs, serial=serial, workers=workers, device=device)
    if profile is None:
        check_device(device)
    drawn = kinds.draw(spec, **_where(profile, device))
    typer.echo(drawn)
    _licences(drawn)
    if isinstance(drawn, Plan):
        models_command.try_calculators({name: source for name, source in drawn.sources.items() if source.here})
    summary = kinds.carry_out(
        drawn,
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


def _where(profile: ClusterProfile | None, device: str = "cpu") -> dict[str, Any]:
    """What a plan has to know of where it will run."""
    if profile is None:
        return {"device": device, "elsewhere": frozenset()}
    return {"device": profile.device, "elsewhere": profile.environments_elsewhere}


def _profile(
    cluster: str | None, jobs: str | None, *, serial: bool = False, workers: int | None = None, device: str = "cpu"
) -> ClusterProfile | None:
    if cluster is None:
        if jobs is not None:
            raise typer.BadParameter("--jobs: expected a --cluster with it; --workers sets those of this machine")
        return None
    if serial or workers is not None or device != "cpu":
        raise typer.BadParameter("--cluster: expected no --serial, --workers or --device, which the profile says")
    profile, absent = leave_out_absent(load_profile(cluster))
    for line in absent:
        typer.echo(line, err=True)
    try:
        return profile if jobs is None else profile.with_jobs(JobRange.parse(jobs))
    except ValueError as error:
        raise typer.BadParameter(f"--jobs: {error}") from None


@app.command()
def retry(
    store: StoreArgument,
    match: Annotated[
        str, typer.Option(help="Only cells whose reason has this in it, e.g. 'out of memory', 'lost worker', 'CUDA'.")
    ] = "",
    cluster: ClusterOption = None,
    jobs: JobsOption = None,
) -> None:
    """Compute again what failed, was quarantined or did not converge, by the campaigns the store was made by."""
    profile = _profile(cluster, jobs)
    undone = False
    for drawn in kinds.draw_again(store, **_where(profile)):
        summary = kinds.carry_out(drawn, store, cluster=profile, retry=RETRYABLE, match=match)
        typer.echo(f"{store}: {summary}")
        if match and not summary.computed:
            typer.echo(f"{store}: nothing to try again: no cell that failed has {match!r} in its reason")
        undone = undone or not summary.ok
    if undone:
        typer.echo(f"see why with: hbcoop status {store}", err=True)
        raise typer.Exit(NOT_DONE)


def _licences(drawn: kinds.AnyPlan) -> None:
    for name, source in drawn.sources.items():
        typer.echo(f"  {name}: licence {source.licence}; cite {source.citation}")


@app.command()
def status(
    store: StoreArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Show it every few seconds until the run is over.")] = False,
) -> None:
    """Show how the cells of a store stand, why those that are not done are not, and the run that is going on."""
    if watch:
        report_command.watch(store, Console())
    if not kinds.status(store, Console()):
        raise typer.Exit(NOT_DONE)


@app.command()
def analyse(
    store: StoreArgument,
    figure: Annotated[
        Path | None,
        typer.Option(help="Also draw cooperative energy against length, or errors by split (.png, .pdf, .svg)."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Instead, all models at the geometries they share with this one."),
    ] = None,
) -> None:
    """Print cooperative energies, dimers and what is missing, or errors of trained networks; draw the figure."""
    if figure is not None and against is not None:
        raise typer.BadParameter("expected --figure or --against, found both")
    if figure is not None and figure.suffix.lower() not in FIGURES:
        raise typer.BadParameter(f"--figure: expected a file ending in {', '.join(FIGURES)}, found {figure}")
    if figure is not None:
        check_output(figure, store, "--figure")
    try:
        kinds.analyse(store, Console(), figure, against)
    except ComparisonError as error:
        raise typer.BadParameter(f"--against: {error}") from None


for _command in (report, export, compare, merge, bridge):
    app.command()(_command)


@models_app.command("list")
def models_list() -> None:
    """List every registered model and whether it can run here."""
    models_command.show_list(wide_console())


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="A model, e.g. so3lr.")]) -> None:
    """Show one model's card: licence, citation, level of theory, cutoff, float type, checkpoint."""
    models_command.show_card(name, Console())


@models_app.command("fetch")
def models_fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models, e.g. mace-off23-small.")],
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Accept their licences unasked.")] = False,
) -> None:
    """Download checkpoints into the user cache, verified; run it where there is internet, workers never download."""
    models_command.fetch(names, accept_licence, Console(), typer.confirm)


@models_app.command("verify")
def models_verify() -> None:
    """Hash every checkpoint that is here; say which are missing, and which are not what they should be."""
    if not models_command.verify(wide_console()):
        raise typer.Exit(NOT_DONE)


@models_app.command("check")
def models_check(
    name: Annotated[str, typer.Argument(help="A model, e.g. so3lr.")],
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0.")] = "cpu",
    spec: Annotated[
        str | None, typer.Option(metavar="SPEC", help="A campaign whose model NAME is: a checkpoint or calculator.")
    ] = None,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Also measure atoms/s and memory.")] = True,
) -> None:
    """Run the contract suite on one model on this machine and print what was measured, then how fast it is."""
    check_device(device)
    if not models_command.check(name, device, Console(), spec=spec, speed=speed):
        raise typer.Exit(NOT_DONE)


@models_app.command("new")
def models_new(
    name: Annotated[str, typer.Argument(help="What the model is to be called, e.g. my-model.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where; a folder of that name, here, unless given.")
    ] = None,
) -> None:
    """Make a distribution of your own that adds a model: it runs as it is, and says what to replace."""
    typer.echo(new_model(name, folder))


@cluster_app.command("list")
def cluster_list() -> None:
    """List the bundled profiles and their pools."""
    cluster_command.show_list(wide_console())


@cluster_app.command("script")
def cluster_script(profile: Annotated[str, typer.Argument(metavar="PROFILE")]) -> None:
    """Print what would be submitted for the first job of every pool."""
    typer.echo(cluster_command.scripts(load_profile(profile)), nl=False)


@cluster_app.command("submit")
def cluster_submit(
    spec: SpecArgument,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store to create, continue or extend.")],
    cluster: Annotated[str, typer.Option("--cluster", metavar="PROFILE", help="Where the workers run.")],
    jobs: JobsOption = None,
    walltime: Annotated[
        str | None, typer.Option(help="Of the driver's job: two days, or what an allocation's profile says.")
    ] = None,
    directive: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Another #SBATCH line for the driver's job. Repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script and submit nothing.")] = False,
) -> None:
    """Run the driver as a job of its own, for sites that forbid long processes on login nodes; returns at once."""
    profile = _profile(cluster, jobs)
    assert profile is not None
    # what is wrong with the campaign is said now, and not in a log tomorrow
    kinds.draw(spec, **_where(profile))
    extra = [] if jobs is None else ["--jobs", jobs]
    script = cluster_command.driver_script(spec, store, cluster, profile, walltime, extra, directive or [])
    if dry_run:
        typer.echo(script, nl=False)
        return
    job = cluster_command.submit(script, store)
    typer.echo(f"job {job} runs the driver; once it has begun, see how it stands with: hbcoop status {store}")


@app.command()
def doctor() -> None:
    """Show what is installed, which models can run here, and which devices and threads there are."""
    doctor_command.show(Console())


_MISTAKES = (
    CampaignError,
    ModelError,
    StoreError,
    ReferenceSetError,
    ReferenceTableError,
    ComplexError,
    DeviceError,
    ClusterError,
)
"""What is wrong with what was asked for: exit code 2."""


def _keeps(words: Sequence[str]) -> bool:
    return len(words) > 1 and words[1] in ("run", "retry")


def main() -> None:
    """Run the command line with the documented exit codes."""
    # what `kill`, `timeout` and batch systems send ends a run as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(standalone_mode=False)
    except (ClusterLostError, StoreWriteError) as error:
        typer.echo(f"{error}; what was computed is kept, the same command continues from here", err=True)
        sys.exit(NOT_DONE)
    except _MISTAKES as error:
        typer.echo(str(error), err=True)
        sys.exit(BAD_INPUT)
    except typer.TyperException as error:
        error.show()  # type: ignore[attr-defined]  # every usage error has it; the public base class does not say so
        sys.exit(BAD_INPUT)
    except OSError as error:
        # of a file that a command makes from a store nothing is kept
        kept = "; what was computed is kept, the same command continues from here" if _keeps(sys.argv) else ""
        typer.echo(f"{error}{kept}", err=True)
        sys.exit(NOT_DONE)
    # typer turns Ctrl-C into exit code 130 and hands it back like any other
    if code == _TYPER_INTERRUPTED:
        typer.echo("interrupted; the same command continues from here", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code or 0)
