"""The command line: `hbcoop plan`, `run`, `status`, `analyse`, `models`, `doctor`.

Exit codes: 0 every cell is done or skipped with a reason, 1 some are not, 2 bad input, 3 interrupted.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hbcoop_dist.clusters import DeviceError, check_device
from hbcoop_dist.commands import doctor as doctor_command
from hbcoop_dist.commands import models as models_command
from hbcoop_dist.commands import report as report_command
from hbcoop_dist.load_campaign import CampaignError, load_campaign
from hbcoop_dist.models.base import ModelError
from hbcoop_dist.plan import Plan
from hbcoop_dist.plan import plan as make_plan
from hbcoop_dist.reference import ReferenceSetError
from hbcoop_dist.run import run
from hbcoop_dist.store import StoreError, open_store
from hbcoop_dist.survey import RETRYABLE

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

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="Campaign file, or a bundled name: quickstart, nma.")]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="The campaign's Zarr store.")]


@app.command()
def plan(
    spec: SpecArgument,
    store: Annotated[Path | None, typer.Option(help="A store with measured times: adds a cost estimate.")] = None,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell.")] = False,
) -> None:
    """Show what a campaign would run: cells, minimisations, single points, and what is skipped and why."""
    drawn = make_plan(load_campaign(spec))
    typer.echo(drawn)
    if cells:
        for cell in drawn.cells:
            reason = drawn.skipped.get(cell)
            typer.echo(f"  {cell}" + (f": skipped, {reason.splitlines()[0]}" if reason else ""))
    if store is not None:
        open_store(store)
        typer.echo(report_command.estimate(drawn, store))


@app.command(name="run")
def run_campaign(
    spec: SpecArgument,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store to create, continue or extend.")],
    serial: Annotated[bool, typer.Option("--serial", help="Everything in this process, for debugging.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Dask workers; one per core by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0.")] = "cpu",
    retry: Annotated[
        list[str] | None, typer.Option(help=f"Compute cells of this status again: {', '.join(RETRYABLE)}. Repeatable.")
    ] = None,
) -> None:
    """Run a campaign into a store; what is there already is not computed again.

    The same command continues after any interruption. New models and lengths in the spec extend the store.
    """
    if unknown := sorted(set(retry or ()) - set(RETRYABLE)):
        raise typer.BadParameter(f"--retry: expected {', '.join(RETRYABLE)}, found {', '.join(unknown)}")
    check_device(device)
    drawn = make_plan(load_campaign(spec), device=device)
    typer.echo(drawn)
    _licences(drawn)
    models_command.try_calculators(drawn.sources)
    summary = run(drawn, store, serial=serial, workers=workers, device=device, retry=tuple(retry or ()))
    typer.echo(f"{store}: {summary}")
    if not summary.ok:
        typer.echo(f"see why with: hbcoop status {store}", err=True)
        raise typer.Exit(NOT_DONE)


def _licences(drawn: Plan) -> None:
    for name, source in drawn.sources.items():
        typer.echo(f"  {name}: licence {source.card.licence}; cite {source.card.citation}")


@app.command()
def status(store: StoreArgument) -> None:
    """Show how the cells of a store stand, and why those that are not done are not."""
    if not report_command.status(open_store(store), Console()):
        raise typer.Exit(NOT_DONE)


@app.command()
def analyse(
    store: StoreArgument,
    figure: Annotated[Path | None, typer.Option(help="Also draw cooperative energy against length (PNG, PDF).")] = None,
) -> None:
    """Print cooperative energies, dimers and what is missing; draw the figure."""
    if figure is not None and figure.suffix.lower() not in FIGURES:
        raise typer.BadParameter(f"--figure: expected a file ending in {', '.join(FIGURES)}, found {figure}")
    if figure is not None and not figure.absolute().parent.is_dir():
        raise typer.BadParameter(f"--figure: expected an existing folder, found {figure.absolute().parent}")
    report_command.analyse(open_store(store), Console(), figure)


@models_app.command("list")
def models_list() -> None:
    """List every registered model and whether it can run here."""
    models_command.show_list(Console())


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="A model, e.g. so3lr.")]) -> None:
    """Show one model's card: licence, citation, level of theory, cutoff, float type, checkpoint."""
    models_command.show_card(name, Console())


@models_app.command("check")
def models_check(
    name: Annotated[str, typer.Argument(help="A model, e.g. so3lr.")],
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0.")] = "cpu",
) -> None:
    """Run the contract suite on one model on this machine and print what was measured."""
    check_device(device)
    if not models_command.check(name, device, Console()):
        raise typer.Exit(NOT_DONE)


@app.command()
def doctor() -> None:
    """Show what is installed, which models can run here, and which devices and threads there are."""
    doctor_command.show(Console())


def main() -> None:
    """Run the command line with the documented exit codes."""
    # what `kill`, `timeout` and batch systems send ends a run as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(standalone_mode=False)
    except (CampaignError, ModelError, StoreError, ReferenceSetError, DeviceError) as error:
        typer.echo(str(error), err=True)
        sys.exit(BAD_INPUT)
    except typer.TyperException as error:
        error.show()  # type: ignore[attr-defined]  # every usage error has it; the public base class does not say so
        sys.exit(BAD_INPUT)
    except OSError as error:
        typer.echo(f"{error}; what was computed is kept, the same command continues from here", err=True)
        sys.exit(NOT_DONE)
    # typer turns Ctrl-C into exit code 130 and hands it back like any other
    if code == _TYPER_INTERRUPTED:
        typer.echo("interrupted; the same command continues from here", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code or 0)
