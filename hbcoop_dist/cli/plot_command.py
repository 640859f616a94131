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

    if name is None:
        typer.echo(_listing())
        return
    if name not in PLOTS:
        raise typer.BadParameter(f"NAME: expected one of {', '.join(PLOTS)}, found {name}")
    if store is None:
        raise typer.BadParameter(f"STORE: expected a store of kind {PLOTS[name].kind} after {name}, found none")
    figure = PLOTS[name]
    path = Path(figure.default_file) if output is None else output
    if path.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"--output: expected a file ending in {', '.join(FORMATS)}, found {path}")
    options = {} if model is None else {"model": model}
    if options and figure.function != "molecule_map":
        raise typer.BadParameter(f"--model: expected none for {name}, found {model}")
    _draw(figure.name, store, path, options)


def _listing() -> str:
    from hbcoop_dist.analysis.plot_registry import PLOTS

    width = max(map(len, PLOTS))
    lines = []
    for kind in dict.fromkeys(figure.kind for figure in PLOTS.values()):
        lines.append(f"of a store of kind {kind}:")
        lines += [f"  {name:{width}}  {figure.description}" for name, figure in PLOTS.items() if figure.kind == kind]
    return "\n".join(lines)


def _draw(name: str, store: Path, path: Path, options: dict[str, str]) -> None:
    from hbcoop_dist.analysis.plot_registry import PLOTS
    from hbcoop_dist.analysis.plots import save_figure
    from hbcoop_dist.cli.output_files import check_output
    from hbcoop_dist.store import open_store

    check_output(path, store)
    ds = open_store(store, kind=PLOTS[name].kind)
    try:
        table, figure = PLOTS[name].tabulate(ds), PLOTS[name].draw(ds, **options)
    except ValueError as error:
        raise typer.BadParameter(f"{store}: {error}") from None
    if table is not None:
        typer.echo(table.dropna(axis="columns", how="all").round(2).to_string())
    typer.echo(f"{save_figure(figure, path)}")
