"""`hbcoop report`: what a store says, as one file for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hbcoop_dist.campaigns.generalization.schema import KIND as GENERALIZATION
from hbcoop_dist.cli.output_files import check_output, size_of
from hbcoop_dist.references import read_references, reference_energies
from hbcoop_dist.report import (
    FORMATS,
    REFERENCE,
    Report,
    ReportError,
    build_generalization_report,
    build_report,
    write_report,
)
from hbcoop_dist.store import has_systems, kind_of_store, open_store, open_systems


def report(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The campaign's Zarr store, a folder or a .zip.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File ending in .html, .md or .pdf.")] = Path(
        "report.html"
    ),
    format: Annotated[
        str | None, typer.Option("--format", help=f"{', '.join(FORMATS)}; by the file's ending when not given.")
    ] = None,
    reference: Annotated[str, typer.Option(help="Level of theory that models are compared with.")] = REFERENCE,
    references: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Reference energies of your own, beside the bundled ones.")
    ] = None,
    title: Annotated[str, typer.Option(help="What the report is called; the campaign's name when not given.")] = "",
) -> None:
    """Write a report: one HTML file that opens offline, Markdown, or the figures as PDF.

    Words with their numbers, a leaderboard, figures that answer to the reader, any geometry in 3-D, what failed, and
    where the numbers come from.
    """
    if format is not None and format not in FORMATS:
        raise typer.BadParameter(f"--format: expected {', '.join(FORMATS)}, found {format}")
    check_output(output, store)
    if kind_of_store(store) == GENERALIZATION:
        if references is not None or reference != REFERENCE:
            raise typer.BadParameter(f"{store}: expected no references beside a store of trained networks, found some")
        made = build_generalization_report(open_store(store, kind=GENERALIZATION), title)
    else:
        made = _hbond_report(store, title, reference, references)
    try:
        write_report(made, output, format)
    except ReportError as error:
        raise typer.BadParameter(f"--output: {error}") from None
    typer.echo(f"{output}: {size_of(output)}")


def _hbond_report(store: Path, title: str, reference: str, references: Path | None) -> Report:
    known = None if references is None else read_references(references)
    ds = open_store(store)
    if known is not None:
        # allowed, and easily taken for the model's own result
        models = set(map(str, ds["model"].values)) - set(map(str, reference_energies()["model"].values))
        for name in sorted(models & set(map(str, known["model"].values))):
            typer.echo(f"{references}: {name} is also a model of the store; its rows here are a reference", err=True)
    try:
        return build_report(ds, title, reference, known, open_systems(store) if has_systems(store) else None)
    except ReportError as error:
        raise typer.BadParameter(f"--{error}") from None
