"""The command line ``hbcoop``: registers the commands, and turns errors into exit codes.

Exit codes: 0 every cell is done or skipped with a reason, 1 some are not, 2 bad input, 3 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import typer

from hbcoop_dist.cli import campaign_commands, cluster_commands, dataset_commands, model_group, store_commands
from hbcoop_dist.cli.bridge_command import bridge
from hbcoop_dist.cli.store_commands import plot, report

NOT_DONE, BAD_INPUT, INTERRUPTED = 1, 2, 3
_TYPER_INTERRUPTED = 130
_CONTINUES = "what was computed is kept, the same command continues from here"

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
app.command()(campaign_commands.plan)
app.command(name="run")(campaign_commands.run_campaign)
app.command()(campaign_commands.retry)
app.command()(campaign_commands.status)
app.command()(store_commands.analyse)
app.command()(store_commands.export)
app.command()(store_commands.compare)
app.command()(store_commands.merge)
app.command()(report)
app.command()(plot)
app.command()(bridge)
app.add_typer(model_group.app, name="models")
app.add_typer(dataset_commands.datasets_app, name="datasets")
app.add_typer(cluster_commands.app, name="cluster")


@app.command()
def doctor() -> None:
    """Show what is installed, which models can run here, and which devices and threads there are."""
    from rich.console import Console

    from hbcoop_dist.cli import doctor as doctor_report

    doctor_report.show(Console())


def main() -> None:
    """Run the command line with the documented exit codes."""
    # signals of `kill`, `timeout` and batch systems end a run as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.argv[1:2] == ["status"]:
        _hide_array_libraries()
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        error.show()  # type: ignore[attr-defined]  # every usage error has it; the public base class does not declare it
        sys.exit(BAD_INPUT)
    except Exception as error:  # noqa: BLE001  unexpected ones are raised again
        sys.exit(_report_error(error))
    # typer turns Ctrl-C into exit code 130 and returns it like any other
    if code == _TYPER_INTERRUPTED:
        typer.echo("interrupted; the same command continues from here", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code or 0)


def _hide_array_libraries() -> None:
    """Keep xarray from importing the array libraries that it compares types with, 0.6 s for a store of NumPy arrays."""
    for name in ("dask", "sparse"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None makes `import` raise ImportError


def _report_error(error: Exception) -> int:
    """Print an expected error in one line and return the exit code; raise any other."""
    from hbcoop_dist.campaigns.spec_fields import CampaignError
    from hbcoop_dist.clusters import ClusterError, ClusterLostError, DeviceError
    from hbcoop_dist.models.base import ModelError
    from hbcoop_dist.references import ReferenceSetError, ReferenceTableError
    from hbcoop_dist.store import StoreError, StoreWriteError

    bad_input = CampaignError, ModelError, StoreError, ReferenceSetError, ReferenceTableError, DeviceError, ClusterError
    if isinstance(error, ClusterLostError | StoreWriteError):
        typer.echo(f"{error}; {_CONTINUES}", err=True)
        return NOT_DONE
    if isinstance(error, bad_input):
        typer.echo(str(error), err=True)
        return BAD_INPUT
    if isinstance(error, OSError):
        # other commands keep nothing of a file that they could not write
        typer.echo(f"{error}; {_CONTINUES}" if _is_run(sys.argv) else str(error), err=True)
        return NOT_DONE
    raise error


def _is_run(words: Sequence[str]) -> bool:
    return len(words) > 1 and words[1] in ("run", "retry")
