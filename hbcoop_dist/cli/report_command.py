"""`hbcoop report`: write a store as one file for readers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The campaign's Zarr store, a folder or a .zip.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File ending in .html, .md or .pdf.")] = Path(
        "report.html"
    ),
    format: Annotated[
        str | None, typer.Option("--format", help="html, md or pdf-figures; given by the file's ending when omitted.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL", help="Reference level that models are compared with [rimp2:cc-pvtz:frozen-core]."
        ),
    ] = None,
    references: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Your own reference energies, beside the bundled ones.")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the report; the campaign's name when omitted.")] = "",
) -> None:
    """Write a report: one HTML file that opens offline, Markdown, or the figures as PDF.

    It has a summary, a leaderboard, interactive figures, structures in 3-D, failures and the provenance of the numbers.
    """
    from hbcoop_dist.analysis.report_content import ReportError, ReportOptions
    from hbcoop_dist.campaigns.kind import find_kind
    from hbcoop_dist.cli.output_files import check_output, size_of
    from hbcoop_dist.references import read_references
    from hbcoop_dist.report import FORMATS, write_report
    from hbcoop_dist.store import kind_of_store, open_store

    if format is not None and format not in FORMATS:
        raise typer.BadParameter(f"--format: expected {', '.join(FORMATS)}, found {format}")
    check_output(output, store)
    kind = kind_of_store(store)
    ds = open_store(store, kind=kind)
    energies = None if references is None else read_references(references)
    try:
        content = find_kind(kind).report(ds, ReportOptions(title, reference, energies))
        for warning in content.warnings:
            typer.echo(warning, err=True)
        write_report(content, output, format)
    except ReportError as error:
        raise typer.BadParameter(f"--{error}") from None
    typer.echo(f"{output}: {size_of(output)}")
