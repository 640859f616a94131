"""Body of `hbcoop datasets check`: what files of labelled structures hold, and the campaign entry that reads them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from ase.data import chemical_symbols
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from hbcoop_dist.campaigns.generalization.dataset_parts import reading_of
from hbcoop_dist.campaigns.generalization.spec import DatasetEntry
from hbcoop_dist.cli.terminal import wide_console
from hbcoop_dist.core.yaml_source import dump_yaml
from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.learning.datasets.set_checks import SetReport, check_set

LARGE = 20_000
_SHOWN = 8
_NOTHING = 1


def check(
    paths: list[Path],
    labels: list[str],
    require: list[str],
    energy_unit: str,
    length_unit: str,
    sample: int | None,
    as_json: bool,
) -> None:
    """Print a report on files of labelled structures, and the entry of a campaign that reads them.

    Parameters
    ----------
    paths : list of Path
    labels : list of str
        Names of labels in the files, as ``LABEL=NAME``.
    require : list of str
        Labels that every structure has to have.
    energy_unit, length_unit : str
    sample : int or None
        Structures to look at, drawn at random; None looks at all.
    as_json : bool

    Raises
    ------
    typer.Exit
        With code 1 when there is nothing that can be used.
    """
    entry = _entry(paths, labels, require, energy_unit, length_unit)
    console = wide_console(stderr=as_json)
    try:
        report = check_set(paths, reading_of(entry), sample)
    except ReadError as error:
        console.print(str(error), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(_NOTHING) from None
    text = _yaml(report, entry)
    if as_json:
        typer.echo(json.dumps(_plain(report, text), indent=2))
    else:
        _show(report, text, console)
    if not report.usable:
        console.print("nothing here can be used", highlight=False)
        raise typer.Exit(_NOTHING)


def _entry(paths: list[Path], labels: list[str], require: list[str], energy: str, length: str) -> DatasetEntry:
    named: dict[str, list[str]] = {}
    for one in labels:
        label, equals, name = one.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--labels: expected LABEL=NAME, found {one!r}")
        named.setdefault(label, []).append(name)
    content = {
        "name": paths[0].resolve().stem,
        "files": [str(path) for path in paths],
        "labels": named,
        "require": require,
        "energy_unit": energy,
        "length_unit": length,
    }
    try:
        return DatasetEntry.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from None


def _yaml(report: SetReport, entry: DatasetEntry) -> str:
    """The entry of a campaign, as it stands below ``datasets:``."""
    content: dict[str, Any] = {
        "name": report.known.name.lower() if report.known else entry.name,
        "files": [str(Path(file).resolve()) for file in entry.files],
    }
    if report.structures > LARGE:
        content["size"] = LARGE
    content |= {name: value for name, value in entry.model_dump(mode="json", exclude_defaults=True).items()
                if name not in ("name", "files")}  # fmt: skip
    if report.left_out.counts:
        content["skip_incomplete"] = True
    if report.known:
        content |= {
            "level_of_theory": report.known.level_of_theory,
            "licence": report.known.licence,
            "source": report.known.citation,
        }
    for field, value in content.items():
        content[field] = _short(value)
    return dump_yaml([content], width=120)


def _short(value: Any) -> Any:
    """A list of one as that one, which a campaign takes as well."""
    if isinstance(value, Mapping):
        return {key: _short(one) for key, one in value.items()}
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _plain(report: SetReport, text: str) -> dict[str, Any]:
    known = report.known
    return {
        "format": report.form,
        "files": report.files,
        "bytes": report.bytes,
        "structures": report.structures,
        "looked_at": report.looked_at,
        "usable": report.usable,
        "left_out": [
            {"count": count, "reason": reason, "first": report.left_out.first[reason]}
            for reason, count in report.left_out.counts.most_common()
        ],
        "known_set": known and {
            "name": known.name,
            "licence": known.licence,
            "citation": known.citation,
            "page": known.page,
            "level_of_theory": known.level_of_theory,
            "notes": list(known.notes),
        },
        "elements": {chemical_symbols[z]: count for z, count in sorted(report.elements.items())},
        "charges": _sorted(report.charges),
        "spins": _sorted(report.spins),
        "atoms": _sorted(report.sizes),
        "periodic": report.periodic,
        "labels": {
            label: {
                "names": dict(one.keys),
                "other_names": dict(one.others),
                "structures": one.count,
                "unit": one.unit,
                "range": [one.least, one.largest] if one.count else None,
            }
            for label, one in report.labels.items()
        },
        "domains": dict(report.domains.most_common()),
        "parents": len(report.parents),
        "more_parents": report.more_parents,
        "other_names": dict(report.other_keys.most_common()),
        "entry": text,
    }  # fmt: skip


def _sorted(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(key): counts[key] for key in sorted(counts)}


def _show(report: SetReport, text: str, console: Console) -> None:
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(report):
        table.add_row(name, value)
    console.print(table, highlight=False, markup=False)
    if report.usable:
        console.print(_labels(report), highlight=False, markup=False)
    for line in (*report.left_out.lines, *_warnings(report)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if report.usable:
        console.print("\nfor a campaign, below datasets:", highlight=False)
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _warnings(report: SetReport) -> list[str]:
    names = report.labels["charges"].keys
    if len(names) < 2:
        return []
    return [
        f"a campaign does not mix partial charges of several names: choose, as in --labels charges={next(iter(names))}"
    ]


def _lines(report: SetReport) -> list[tuple[str, str]]:
    looked = "all" if report.looked_at == report.structures else f"{report.looked_at:,}, drawn at random,"
    lines = [
        ("format", f"{report.form or 'none'}, {report.files:,} file(s), {_bytes(report.bytes)}"),
        ("structures", f"{report.structures:,}; {looked} looked at, {report.usable:,} can be used"),
    ]
    if known := report.known:
        lines += [
            ("set", f"{known.name}, {known.level_of_theory}"),
            ("licence", f"{known.licence}; its terms: {known.page}"),
            ("cite", known.citation),
            *(("note", note) for note in known.notes),
        ]
    else:
        lines.append(("licence", "not known here: see the page that the set came from"))
    if not report.usable:
        return lines
    sizes = _each(report.sizes)
    periodic = {0: "no", report.usable: "yes"}.get(report.periodic, f"{report.periodic:,} of them; the others are not")
    spins = _common(report.spins) or "not said"
    lines += [
        ("elements", ", ".join(chemical_symbols[z] for z in sorted(report.elements))),
        ("atoms", f"{sizes[0]} to {sizes[-1]}, half have up to {sizes[len(sizes) // 2]}"),
        ("periodic", periodic),
        ("charge", _common(report.charges)),
        ("spin", spins + ("; networks are not told the spin" if len(report.spins) > 1 else "")),
        ("domains", _common(report.domains)),
        ("parents", f"{'more than ' if report.more_parents else ''}{len(report.parents):,}"),
        ("other names", ", ".join(name for name, _ in report.other_keys.most_common()) or "none"),
    ]
    return lines


def _each(counts: Mapping[int, int]) -> list[int]:
    """Every value as often as it was counted, ascending."""
    return [value for value in sorted(counts) for _ in range(counts[value])]


def _common(counts: Counter[Any]) -> str:
    shown = [f"{key} ({count:,})" for key, count in counts.most_common(_SHOWN)]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _labels(report: SetReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("label", "name in the files", "structures", "from", "to", "unit", "other names"):
        table.add_column(heading, overflow="fold")
    for one in report.labels.values():
        if not one.count:
            table.add_row(one.label, "-", "0", "-", "-", one.unit, "-")
            continue
        names, others = _common(one.keys) if len(one.keys) > 1 else next(iter(one.keys)), _common(one.others)
        table.add_row(
            one.label, names, f"{one.count:,}", f"{one.least:.6g}", f"{one.largest:.6g}", one.unit, others or "-"
        )
    return table


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count, 1000) / 1e6:.3g} MB"
