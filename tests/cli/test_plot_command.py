"""`hbcoop plot`: every figure of a chain store is drawn, names are listed, mistakes are named."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hbcoop_dist.analysis.plot_registry import PLOTS
from hbcoop_dist.cli.command_line import app

STORES = Path(__file__).resolve().parents[2] / "store"
OTHER_STORES = {
    "rotamers": "rotamers.zarr.zip",
    "twins": "twins.zarr.zip",
    "schemes": "bridge.zarr.zip",
    "free-dimers": "free-dimers.zarr.zip",
    "errors": "generalization-quick.zarr.zip",
    "learning-curves": "generalization-quick.zarr.zip",
    "chemical-space": "generalization-quick.zarr.zip",
}


def hbcoop(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plot", *map(str, arguments)], env={"COLUMNS": "300"})


@pytest.mark.parametrize("name", PLOTS)
def test_every_figure_is_drawn_from_a_published_store(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.svg"
    drawn = hbcoop(name, STORES / OTHER_STORES.get(name, "nma.zarr.zip"), "-o", path)
    assert drawn.exit_code == 0, drawn.output
    text = path.read_text(encoding="utf-8")
    assert text.count("<path") > 20
    assert "no results" not in text
    assert drawn.output.splitlines()[-1] == str(path)
    assert bool(PLOTS[name].table) == (len(drawn.output.splitlines()) > 1)


def test_names_are_listed_by_kind_of_store() -> None:
    lines = hbcoop().output.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(PLOTS)
    assert sum(line.startswith("of a store of kind") for line in lines) == 3


def test_functions_of_the_registry_exist() -> None:
    plots, numbers = import_module("hbcoop_dist.analysis.plots"), import_module("hbcoop_dist.analysis")
    for plot in PLOTS.values():
        assert callable(getattr(plots, plot.function))
        assert not plot.table or callable(getattr(numbers, plot.table))


def test_listing_and_numbers_do_not_import_matplotlib() -> None:
    code = (
        "import sys; from hbcoop_dist import analysis; from hbcoop_dist.analysis import tables;"
        "from hbcoop_dist.cli.store_commands import plot; plot();"
        "print([name for name in ('matplotlib', 'torch', 'bokeh') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("figure-9", "nma.zarr"), "NAME: expected one of cooperative-energy, bare-chains"),
        (("growth",), "STORE: expected a store of kind hbond after growth, found none"),
        (("growth", "nma.zarr", "-o", "x.txt"), "--output: expected a file ending in .png, .pdf, .svg, found x.txt"),
        (("growth", "nma.zarr", "--model", "so3lr"), "--model: expected none for growth, found so3lr"),
        (("rotamers", STORES / "nma.zarr.zip"), "rotamer: expected two or more to compare, found cis-N, trans-C"),
        (("molecules", STORES / "nma.zarr.zip", "--model", "nobody"), "model: expected one of so3lr"),
    ],
)
def test_mistakes_are_named(arguments: tuple[object, ...], words: str, tmp_path: Path) -> None:
    if "-o" not in arguments:
        arguments = (*arguments, "-o", tmp_path / "x.png")
    refused = hbcoop(*arguments)
    assert refused.exit_code == 2
    assert words in refused.output
    assert not list(tmp_path.iterdir())
