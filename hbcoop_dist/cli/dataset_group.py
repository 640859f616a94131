"""`hbcoop datasets`: the command of the group; its body is in `dataset_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SAMPLE = 500
"""Structures that `check` looks at by default."""

app = typer.Typer(help="Your own labelled sets, and the big public ones.", no_args_is_help=True)


@app.callback()
def _datasets() -> None:
    """Keep `check` a command of its own."""


@app.command("check")
def datasets_check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", exists=True, help="Files, or folders of files, of one set.")
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=NAME", help="Name of a label in the files: charges=nbo_charges. Repeatable."),
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="A label that every structure has to have. Repeatable.")
    ] = None,
    energy_unit: Annotated[str, typer.Option(help="eV, Hartree, kcal/mol or kJ/mol.")] = "eV",
    length_unit: Annotated[str, typer.Option(help="Angstrom or Bohr.")] = "Angstrom",
    sample: Annotated[int, typer.Option(min=1, help="Structures to look at, drawn at random.")] = SAMPLE,
    every: Annotated[bool, typer.Option("--all", help="Look at all structures.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what is recognised in files of labelled structures, and what a campaign would leave out.

    The last lines are the entry to paste into a campaign. Exit code 1 when there is nothing that can be used.
    """
    from hbcoop_dist.cli import dataset_commands

    dataset_commands.check(
        paths, labels or [], require or [], energy_unit, length_unit, None if every else sample, as_json
    )
