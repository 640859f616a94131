"""`hbcoop analyse`, `export`, `compare`, `merge`, `report` and `plot`: stores of any kind."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import xarray as xr

    from hbcoop_dist.store.schema import Schema


FIGURES = (".png", ".pdf", ".svg")
_DIFFERENT = 1
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="The campaign's Zarr store.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="DIM=LABEL,...", help="Only these, e.g. model=so3lr,ani-2x; may be repeated."),
]


def check_output(path: Path, store: Path | None = None, option: str = "--output") -> None:
    """Check that a file can be written.

    Parameters
    ----------
    path : Path
        File to write.
    store : Path, optional
        Store that the file is made from; the file must not replace it or lie in it.
    option : str
        Name of the option in messages.

    Raises
    ------
    typer.BadParameter
        When it cannot; the message names the option, what was expected and what was found.
    """
    target = path.expanduser().resolve()
    source = None if store is None else store.expanduser().resolve()
    if source is not None and (target == source or source in target.parents):
        raise typer.BadParameter(f"{option}: expected a file outside the store that it is made from, found {path}")
    if target.is_dir():
        raise typer.BadParameter(f"{option}: expected a file, found the folder {path}")
    if not target.parent.is_dir():
        raise typer.BadParameter(f"{option}: expected an existing folder, found {target.parent}")
    try:
        # file modes do not show a read-only or full file system, and do not restrict root
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise typer.BadParameter(
            f"{option}: expected a folder to write into, found {target.parent} ({error.strerror})"
        ) from None


def size_of(path: Path) -> str:
    """Return the size of a file as text, e.g. 3.1 MB or 12 kB.

    Parameters
    ----------
    path : Path
    """
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 1):.0f} kB"


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
    """Print the results of a store, and what is missing; draw the figure."""
    from rich.console import Console

    from hbcoop_dist.analysis.reference_levels import ComparisonError
    from hbcoop_dist.campaigns.kind import find_kind
    from hbcoop_dist.store import kind_of_store, open_store

    if figure is not None and against is not None:
        raise typer.BadParameter("expected --figure or --against, found both")
    if figure is not None and figure.suffix.lower() not in FIGURES:
        raise typer.BadParameter(f"--figure: expected a file ending in {', '.join(FIGURES)}, found {figure}")
    if figure is not None:
        check_output(figure, store, "--figure")
    kind, console = find_kind(kind_of_store(store)), Console()
    ds = open_store(store)
    try:
        for renderable in kind.analyse(ds if against is not None else kind.requested_part(ds), against):
            console.print(renderable)
    except ComparisonError as error:
        raise typer.BadParameter(f"--against: {error}") from None
    if figure is not None:
        from hbcoop_dist.analysis.plots.chains import save_figure

        try:
            save_figure(kind.figure(kind.requested_part(ds)), figure)
        except ComparisonError as error:
            raise typer.BadParameter(f"--figure: {error}") from None
        console.print(f"figure: {figure}", highlight=False, markup=False)


def export(
    store: StoreArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File ending in .csv, .parquet, .json, .xyz, .extxyz, .zip.")
    ],
    where: WhereOption = None,
) -> None:
    """Write a store, or part of it, as a table (csv, parquet), leaderboard (json), geometries (xyz) or archive (zip).

    Which formats there are depends on the kind of campaign; zip holds everything. A zipped store is read in place by
    every command that reads one, and by xarray; it has no names of hosts and folders.
    """
    from hbcoop_dist.campaigns.kind import find_kind
    from hbcoop_dist.store import is_archive, kind_of_store, open_store, write_archive

    kind = find_kind(kind_of_store(store))
    exporters = kind.exporters()
    if not is_archive(output) and output.suffix.lower() not in exporters:
        formats = ", ".join((*exporters, ".zip"))
        raise typer.BadParameter(f"--output: expected a file ending in {formats} for kind {kind.name}, found {output}")
    check_output(output, store)
    ds = _selected(open_store(store), kind.schema, where)
    if is_archive(output):
        write_archive(ds, output)
        written = size_of(output)
    else:
        try:
            written = exporters[output.suffix.lower()].write(ds, output)
        except ValueError as error:
            raise typer.BadParameter(f"--output: {error}") from None
    statuses = ds[kind.schema.cells.status]
    # a file without numbers is no mistake, but nobody should find that out from the file
    nothing = "" if (statuses == "done").any() else f"; 0 done of {statuses.size} cells"
    typer.echo(f"{output}: {written}{nothing}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A store.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another of the same kind.")],
    where: WhereOption = None,
    pair: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NAME", help="A model of A and the one of B it is compared with.")
    ] = None,
    fail_above: Annotated[
        float | None, typer.Option(min=0.0, help="Exit with 1 when the main quantity differs by more.")
    ] = None,
) -> None:
    """Compare two stores: by how much B differs from A, where most, and what only one of them has."""
    import math

    from hbcoop_dist.campaigns.kind import find_kind
    from hbcoop_dist.store import kind_of_store, open_store

    kinds = kind_of_store(first), kind_of_store(second)
    if kinds[0] != kinds[1]:
        raise typer.BadParameter(f"expected two stores of one kind, found {kinds[0]} and {kinds[1]}")
    kind = find_kind(kinds[0])
    stores = open_store(first), open_store(second)
    pairs = dict(_split(text, "--pair", "NAME=NAME") for text in pair or ())
    for ds, names in zip(stores, (pairs, pairs.values()), strict=True):
        if unknown := set(names) - set(map(str, ds[kind.schema.partition].values)):
            raise typer.BadParameter(
                f"--pair: expected a {kind.schema.partition} of the store, found {', '.join(sorted(unknown))}"
            )
    selected = _selected(stores[0], kind.schema, where), _matching(stores[1], kind.schema, where, pairs)
    comparison = kind.compare(*selected, pairs)
    for line in comparison.lines:
        typer.echo(line)
    worst = comparison.largest
    if fail_above is not None and (math.isnan(worst) or worst > fail_above):
        words = "nothing is done in both" if math.isnan(worst) else f"largest difference {worst:.3g} {comparison.unit}"
        typer.echo(f"{words}, allowed {fail_above:g}", err=True)
        raise typer.Exit(_DIFFERENT)


def merge(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Two stores or more, of one protocol.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The store to make, zipped or not; must not exist.")],
) -> None:
    """Make one store of several: cells and journals; what is done in two must agree.

    Zipped stores have no journal: what is done in them stays done, what is asked for beyond that starts from nothing.
    """
    from tempfile import TemporaryDirectory

    from hbcoop_dist.campaigns.kind import find_kind
    from hbcoop_dist.store import is_archive, kind_of_store, merge_stores, open_store, write_archive

    if len(stores) < 2:
        raise typer.BadParameter(f"expected two stores or more, found {len(stores)}")
    kinds = list(dict.fromkeys(kind_of_store(store) for store in stores))
    if len(kinds) > 1:
        raise typer.BadParameter(f"expected stores of one kind, found {' and '.join(kinds)}")
    schema = find_kind(kinds[0]).schema
    if not is_archive(output):
        typer.echo(f"{output}: {merge_stores(stores, output, schema)}")
        return
    check_output(output)
    if output.exists():
        raise typer.BadParameter(f"--output: expected nothing there, found {output}")
    with TemporaryDirectory(dir=output.parent, prefix=f"{output.name}.") as folder:
        merged = Path(folder) / "merged.zarr"
        words = merge_stores(stores, merged, schema)
        write_archive(open_store(merged), output)
    typer.echo(f"{output}: {words}, {size_of(output)}")


def _split(text: str, option: str, form: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise typer.BadParameter(f"{option}: expected {form}, found {text!r}")
    return name, value


def _labels(where: Sequence[str] | None) -> dict[str, list[str]]:
    """Parse ``--where``; labels of rotamers contain commas, so semicolons separate those."""
    labels: dict[str, list[str]] = {}
    for text in where or ():
        dim, values = _split(text, "--where", "DIM=LABEL,...")
        labels[dim] = [label.strip() for label in values.split(";" if dim == "rotamer" else ",")]
    return labels


def _selected(ds: xr.Dataset, schema: Schema, where: Sequence[str] | None) -> xr.Dataset:
    from hbcoop_dist.analysis.tables.cells import select_labels

    try:
        return select_labels(ds, schema, _labels(where))
    except ValueError as error:
        raise typer.BadParameter(f"--where: {error}") from None


def _matching(ds: xr.Dataset, schema: Schema, where: Sequence[str] | None, pairs: Mapping[str, str]) -> xr.Dataset:
    """Select from the second store what ``--where`` selects from the first; labels that it lacks are left out."""
    from hbcoop_dist.analysis.tables.cells import select_labels

    labels = _labels(where)
    if schema.partition in labels:
        labels[schema.partition] = [pairs.get(label, label) for label in labels[schema.partition]]
    in_store = {dim: set(map(str, ds[dim].values)) for dim in labels}
    return select_labels(
        ds, schema, {dim: [label for label in wanted if label in in_store[dim]] for dim, wanted in labels.items()}
    )


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
    if path.suffix.lower() not in FIGURES:
        raise typer.BadParameter(f"--output: expected a file ending in {', '.join(FIGURES)}, found {path}")
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
