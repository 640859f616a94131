"""`hbcoop plot NAME STORE`: draw one figure of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FORMATS = (".png", ".pdf", ".svg")


def plot(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A figure; without it, figures are listed.")
    ] = None,
    store: Annotated[Path | None, typer.Argument(metavar="STORE", help="The campaign's Zarr store.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (.png, .pdf, .svg); NAME.png by default.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to draw, for figures of one model.")] = None,
) -> None:
    """Draw a figure of a store and print its numbers where it has a table; list the figures without a NAME."""
    from hbcoop_dist.analysis.plot_registry import PLOTS
    from hbcoop_dist.cli.output_files import check_output
    from hbcoop_dist.store import open_store

    if name is None:
        typer.echo(_listing())
        return
    if name not in PLOTS:
        raise typer.BadParameter(f"NAME: expected one of {', '.join(PLOTS)}, found {name}")
    figure = PLOTS[name]
    if store is None:
        raise typer.BadParameter(f"STORE: expected a store of kind {figure.kind} after {name}, found none")
    path = Path(f"{name}.png") if output is None else output
    if path.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"--output: expected a file ending in {', '.join(FORMATS)}, found {path}")
    if model is not None and figure.function != "molecule_map":
        raise typer.BadParameter(f"--model: expected none for {name}, found {model}")
    check_output(path, store)
    ds = open_store(store, kind=figure.kind)
    try:
        table, drawn = figure.tabulate(ds), figure.draw(ds, **({} if model is None else {"model": model}))
    except ValueError as error:
        raise typer.BadParameter(f"{store}: {error}") from None
    if table is not None:
        typer.echo(table.dropna(axis="columns", how="all").round(2).to_string())
    from hbcoop_dist.analysis.plots import save_figure

    typer.echo(f"{save_figure(drawn, path)}")


def _listing() -> str:
    from hbcoop_dist.analysis.plot_registry import PLOTS

    width = max(map(len, PLOTS))
    lines = []
    for kind in dict.fromkeys(figure.kind for figure in PLOTS.values()):
        lines.append(f"of a store of kind {kind}:")
        lines += [f"  {name:{width}}  {figure.description}" for name, figure in PLOTS.items() if figure.kind == kind]
    return "\n".join(lines)
