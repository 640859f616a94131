"""Command `hbcoop datasets check`: survey files of labelled structures, and print the campaign entry to read them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hbcoop_dist.campaigns.generalization.spec import DatasetEntry
    from hbcoop_dist.learning.datasets.set_checks import SetReport

SAMPLE = 500
"""Structures that are examined by default."""

LARGE = 20_000
"""Size of a set above which the suggested entry draws that many structures."""

_MOST_COMMON = 8
_NOTHING_USABLE = 1

datasets_app = typer.Typer(help="Your own labelled sets, and the big public ones.", no_args_is_help=True)


@datasets_app.callback()
def _datasets() -> None:
    """Keep `check` a command of its own."""


@datasets_app.command("check")
def datasets_check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", exists=True, help="Files, or folders of files, of one set.")
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=NAME", help="Key of a label in the files: charges=nbo_charges. Repeatable."),
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="A label that every structure must have. Repeatable.")
    ] = None,
    energy_unit: Annotated[str, typer.Option(help="eV, Hartree, kcal/mol or kJ/mol.")] = "eV",
    length_unit: Annotated[str, typer.Option(help="Angstrom or Bohr.")] = "Angstrom",
    sample: Annotated[int, typer.Option(min=1, help="Structures to examine, drawn at random.")] = SAMPLE,
    every: Annotated[bool, typer.Option("--all", help="Examine all structures.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is recognised in files of labelled structures, and what a campaign would leave out.

    The last lines are the entry to paste into a campaign. The exit code is 1 when no structure can be used.
    """
    from hbcoop_dist.campaigns.generalization.dataset_parts import read_options
    from hbcoop_dist.cli.terminal import wide_console
    from hbcoop_dist.learning.datasets.frames import ReadError
    from hbcoop_dist.learning.datasets.set_checks import check_set

    entry = _entry(paths, labels or [], require or [], energy_unit, length_unit)
    console = wide_console(stderr=as_json)
    try:
        report = check_set(paths, read_options(entry), None if every else sample)
    except ReadError as error:
        console.print(str(error), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(_NOTHING_USABLE) from None
    text = _campaign_entry(report, entry)
    if as_json:
        typer.echo(json.dumps(_as_json(report, text), indent=2))
    else:
        _print_report(report, text, console)
    if not report.usable:
        console.print("no structure can be used", highlight=False)
        raise typer.Exit(_NOTHING_USABLE)


def _entry(paths: list[Path], labels: list[str], require: list[str], energy: str, length: str) -> DatasetEntry:
    from pydantic import ValidationError

    from hbcoop_dist.campaigns.generalization.spec import DatasetEntry

    keys: dict[str, list[str]] = {}
    for option in labels:
        label, equals, name = option.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--labels: expected LABEL=NAME, found {option!r}")
        keys.setdefault(label, []).append(name)
    content = {
        "name": paths[0].resolve().stem,
        "files": [str(path) for path in paths],
        "labels": keys,
        "require": require,
        "energy_unit": energy,
        "length_unit": length,
    }
    try:
        return DatasetEntry.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        option = str(problem["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"--{option}: {problem['msg'].removeprefix('Value error, ')}") from None


def _campaign_entry(report: SetReport, entry: DatasetEntry) -> str:
    """The entry of a campaign, as YAML below ``datasets:``."""
    from hbcoop_dist.core.yaml_source import dump_yaml

    public = report.public_set
    content: dict[str, Any] = {
        "name": public.name.lower() if public else entry.name,
        "files": [str(Path(file).resolve()) for file in entry.files],
    }
    if report.structures > LARGE:
        content["size"] = LARGE
    written = entry.model_dump(mode="json", exclude_defaults=True)
    content |= {name: value for name, value in written.items() if name not in ("name", "files")}
    if report.left_out.counts:
        content["skip_incomplete"] = True
    if public:
        content |= {
            "level_of_theory": public.level_of_theory,
            "licence": public.licence,
            "source": public.citation,
        }
    short = {field: _without_short_lists(value) for field, value in content.items()}
    return dump_yaml([short], width=120)


def _without_short_lists(value: Any) -> Any:
    """Replace lists of one value by the value, which a campaign accepts as well."""
    if isinstance(value, Mapping):
        return {key: _without_short_lists(item) for key, item in value.items()}
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _as_json(report: SetReport, text: str) -> dict[str, Any]:
    from ase.data import chemical_symbols

    public = report.public_set
    public_set = public and {
        "name": public.name,
        "licence": public.licence,
        "citation": public.citation,
        "page": public.page,
        "level_of_theory": public.level_of_theory,
        "notes": list(public.notes),
    }
    return {
        "format": report.form,
        "files": report.files,
        "bytes": report.bytes,
        "structures": report.structures,
        "examined": report.examined,
        "usable": report.usable,
        "left_out": [
            {"count": count, "reason": reason, "first": report.left_out.first[reason]}
            for reason, count in report.left_out.counts.most_common()
        ],
        "public_set": public_set,
        "elements": {chemical_symbols[z]: count for z, count in sorted(report.elements.items())},
        "charges": _sorted_counts(report.charges),
        "spins": _sorted_counts(report.spins),
        "atoms": _sorted_counts(report.sizes),
        "periodic": report.periodic,
        "labels": {
            name: {
                "names": dict(label.keys),
                "other_names": dict(label.alternatives),
                "structures": label.count,
                "unit": label.unit,
                "range": [label.least, label.largest] if label.count else None,
            }
            for name, label in report.labels.items()
        },
        "domains": dict(report.domains.most_common()),
        "parents": len(report.parents),
        "more_parents": report.more_parents,
        "other_names": dict(report.other_keys.most_common()),
        "entry": text,
    }


def _sorted_counts(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(key): counts[key] for key in sorted(counts)}


def _print_report(report: SetReport, text: str, console: Console) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _summary(report):
        table.add_row(name, value)
    console.print(table, highlight=False, markup=False)
    if report.usable:
        console.print(_label_table(report), highlight=False, markup=False)
    for line in (*report.left_out.lines, *_warnings(report)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if report.usable:
        console.print("\nfor a campaign, below datasets:", highlight=False)
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _warnings(report: SetReport) -> list[str]:
    keys = report.labels["charges"].keys
    if len(keys) < 2:
        return []
    return [
        f"a campaign does not mix partial charges of several names: choose, as in --labels charges={next(iter(keys))}"
    ]


def _summary(report: SetReport) -> list[tuple[str, str]]:
    from ase.data import chemical_symbols

    examined = "all" if report.examined == report.structures else f"{report.examined:,}, drawn at random,"
    lines = [
        ("format", f"{report.form or 'none'}, {report.files:,} file(s), {_bytes(report.bytes)}"),
        ("structures", f"{report.structures:,}; {examined} examined, {report.usable:,} usable"),
    ]
    if public := report.public_set:
        lines += [
            ("set", f"{public.name}, {public.level_of_theory}"),
            ("licence", f"{public.licence}; its terms: {public.page}"),
            ("cite", public.citation),
            *(("note", note) for note in public.notes),
        ]
    else:
        lines.append(("licence", "unknown: see the page that the set came from"))
    if not report.usable:
        return lines
    sizes = list(Counter(dict(sorted(report.sizes.items()))).elements())
    periodic = {0: "no", report.usable: "yes"}.get(report.periodic, f"{report.periodic:,} of them; the others are not")
    spins = _common(report.spins) or "not given"
    lines += [
        ("elements", ", ".join(chemical_symbols[z] for z in sorted(report.elements))),
        ("atoms", f"{sizes[0]} to {sizes[-1]}, median {sizes[len(sizes) // 2]}"),
        ("periodic", periodic),
        ("charge", _common(report.charges)),
        ("spin", spins + ("; networks ignore the spin" if len(report.spins) > 1 else "")),
        ("domains", _common(report.domains)),
        ("parents", f"{'more than ' if report.more_parents else ''}{len(report.parents):,}"),
        ("other names", ", ".join(name for name, _ in report.other_keys.most_common()) or "none"),
    ]
    return lines


def _common(counts: Counter[Any]) -> str:
    entries = [f"{key} ({count:,})" for key, count in counts.most_common(_MOST_COMMON)]
    more = len(counts) - len(entries)
    return ", ".join(entries) + (f" and {more:,} more" if more > 0 else "")


def _label_table(report: SetReport) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("label", "name in the files", "structures", "from", "to", "unit", "other names"):
        table.add_column(heading, overflow="fold")
    for label in report.labels.values():
        if not label.count:
            table.add_row(label.label, "-", "0", "-", "-", label.unit, "-")
            continue
        keys = _common(label.keys) if len(label.keys) > 1 else next(iter(label.keys))
        alternatives = _common(label.alternatives) or "-"
        least, largest = f"{label.least:.6g}", f"{label.largest:.6g}"
        table.add_row(label.label, keys, f"{label.count:,}", least, largest, label.unit, alternatives)
    return table


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count, 1000) / 1e6:.3g} MB"
