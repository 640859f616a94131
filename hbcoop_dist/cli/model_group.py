"""`hbcoop models`: the commands of the group; their bodies are in `model_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hbcoop_dist.cli.campaign_commands import NOT_DONE

app = typer.Typer(
    help="List models, download and verify their checkpoints, and test them against the contract.", no_args_is_help=True
)


@app.command("list")
def models_list() -> None:
    """List every registered model and whether it can run here."""
    from hbcoop_dist.cli import model_commands
    from hbcoop_dist.cli.terminal import wide_console

    model_commands.show_list(wide_console())


@app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="A model, e.g. so3lr.")]) -> None:
    """Show one model's card: licence, citation, level of theory, cutoff, float type, checkpoint."""
    from rich.console import Console

    from hbcoop_dist.cli import model_commands

    model_commands.show_card(name, Console())


@app.command("fetch")
def models_fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models, e.g. mace-off23-small.")],
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Accept the licences.")] = False,
) -> None:
    """Download checkpoints into the user cache, verified; run it where there is internet, workers never download."""
    from rich.console import Console

    from hbcoop_dist.cli import model_commands

    model_commands.fetch(names, accept_licence, Console(), typer.confirm)


@app.command("verify")
def models_verify() -> None:
    """Compare the hash of every checkpoint with its card; list those that are missing or differ."""
    from hbcoop_dist.cli import model_commands
    from hbcoop_dist.cli.terminal import wide_console

    if not model_commands.verify(wide_console()):
        raise typer.Exit(NOT_DONE)


@app.command("check")
def models_check(
    name: Annotated[str, typer.Argument(help="A model, e.g. so3lr.")],
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0.")] = "cpu",
    spec: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Campaign that defines NAME by a checkpoint or calculator."),
    ] = None,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Also measure atoms/s and memory.")] = True,
) -> None:
    """Run the contract suite on one model on this machine, and measure its speed and memory."""
    from rich.console import Console

    from hbcoop_dist.cli import model_commands
    from hbcoop_dist.clusters import check_device

    check_device(device)
    if not model_commands.check(name, device, Console(), spec=spec, speed=speed):
        raise typer.Exit(NOT_DONE)


@app.command("new")
def models_new(
    name: Annotated[str, typer.Argument(help="Name of the model, e.g. my-model.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Folder to create; by default NAME."),
    ] = None,
) -> None:
    """Create a Python distribution that adds a model; it runs as it is, and its comments mark what to replace."""
    from hbcoop_dist.cli.model_commands import new_model

    typer.echo(new_model(name, folder))
