"""Tables show numbers for results and words for other statuses; reasons are grouped and counted."""

from __future__ import annotations

import io

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from hbcoop_dist import analysis
from hbcoop_dist.analysis import tables
from hbcoop_dist.core.results import STATUSES


def printed(*renderables: object, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        for renderable in renderables:
            console.print(renderable)
    return capture.get()


def rows(text: str, *words: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.split()[: len(words)] == list(words)]


def test_reasons_that_differ_in_numbers_only_are_one_group(ds: xr.Dataset) -> None:
    groups = {(g.kind, g.status, g.reason): g for g in analysis.not_done(ds)}
    assert {key[1:]: g.count for key, g in groups.items() if key[0] == "cell"} == {
        ("unconverged", "max force 3.2e-04 eV/A after 500 force calls"): 2,
        ("skipped", "not asked for"): 6 + 4,
        ("skipped", "package not installed"): 16,
        ("failed", "H-bond 1 at 1.2 A is none"): 8,
    }
    failed = groups["cell", "failed", "H-bond 1 at 1.2 A is none"]
    assert not failed.alike
    assert failed.values("model") == ["ani-2x"]
    assert failed.values("length") == [2, 3, 4, 5]
    assert groups["cell", "skipped", "not asked for"].alike


def test_names_with_digits_are_not_numbers(ds: xr.Dataset) -> None:
    for model, name in (("so3lr", "ani-1x"), ("ani-2x", "ani-2x")):
        ds["status"].loc[{"model": model}] = "skipped"
        ds["reason"].loc[{"model": model}] = f"no checkpoint of {name}"
    assert {"no checkpoint of ani-1x", "no checkpoint of ani-2x"} <= {g.reason for g in analysis.not_done(ds)}


def test_dimers_that_nobody_needs_are_not_missing(ds: xr.Dataset) -> None:
    # those of a model that was skipped
    assert [(g.status, g.count) for g in analysis.not_done(ds) if g.kind == "dimer"] == [("failed", 1)]
    ds["dimer_status"][:] = "pending"
    arc = ds.sel(pattern=["arc"])
    needed = [g for g in analysis.not_done(arc) if g.kind == "dimer"]
    assert [g.values("conformer") for g in needed] == [["syn"]]
    assert needed[0].values("model") == ["so3lr", "ani-2x"]


def test_a_table_of_all_that_is_missing(ds: xr.Dataset) -> None:
    text = printed(tables.not_done_table(ds), width=120)
    done = int((ds.status == "done").sum())
    assert f"{done} of {ds.status.size} cells are done" in text
    assert "2 cells" in text
    assert "max force 3.2e-04 eV/A after 500 force calls" in text
    assert "e.g. H-bond 1 at 1.2 A is none" in text
    assert "n=2-5" in text
    assert "1 dimer " in text


def test_a_cell_that_is_not_done_is_a_word_never_a_number(ds: xr.Dataset) -> None:
    text = printed(tables.cooperative_energy_table(ds))
    head, middle, tail = rows(text, "so3lr", "arc", "none")
    energies = ds.cooperative_energy.sel(model="so3lr", pattern="arc", capping="none").squeeze()
    for found, position in ((head, "head"), (middle, "middle"), (tail, "tail")):
        expected = [f"{value:.2f}" for value in energies.sel(position=position).values]
        assert found[3:] == [expected[0], expected[1], "unconv", f"{expected[3]}*o"]
    assert [row[3:] for row in rows(text, "my-model", "linear", "water")] == [["skip"] * 4] * 3
    assert [row[3:] for row in rows(text, "ani-2x", "linear", "none")] == [["fail"] * 4] * 3
    assert "* saddle   o near-ring" in text
    assert "unconv = unconverged" in text
    assert "pend" not in text


def test_rows_of_unrequested_cells_are_left_out_and_counted(ds: xr.Dataset) -> None:
    every = printed(tables.cooperative_energy_table(ds))
    place = {"model": "my-model", "pattern": "linear", "capping": "water"}
    ds["reason"].loc[place] = "not asked for by campaign other"
    text = printed(tables.cooperative_energy_table(ds))
    assert len(rows(every, "my-model", "linear", "water")) == 3
    assert rows(text, "my-model", "linear", "water") == []
    assert len(rows(text, "my-model", "linear", "none")) == 3
    assert "1 row left out, of cells that no campaign requests" in " ".join(text.split())
    assert "left out" not in every


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "done"])
def test_every_status_has_a_short_word(ds: xr.Dataset, status: str) -> None:
    ds["status"][:] = status
    ds["dimer_status"][:] = status
    text = printed(tables.cooperative_energy_table(ds), tables.dimer_table(ds))
    assert not any(character in text for character in ("1.", "7."))
    for row in rows(text, "so3lr"):
        assert len(set(row[3:])) <= 1


def test_what_is_asked_for_and_not_done_is_marked(ds: xr.Dataset) -> None:
    text = printed(tables.cooperative_energy_table(ds, statuses=("done", "unconverged")))
    value = ds.cooperative_energy.sel(model="so3lr", pattern="arc", length=4, capping="none", position="head").item()
    assert rows(text, "so3lr", "arc", "none")[0][5] == f"{value:.2f}?"


def test_no_value_in_a_done_cell_is_said_and_minus_zero_is_zero(ds: xr.Dataset) -> None:
    place = {"model": "so3lr", "pattern": "arc", "capping": "none"}
    ds["cooperative_energy"].loc[dict(place, length=2)] = -0.0
    ds["cooperative_energy"].loc[dict(place, length=3)] = np.nan
    for row in rows(printed(tables.cooperative_energy_table(ds)), "so3lr", "arc", "none"):
        assert row[3:5] == ["0.00", "n/a"]


def test_a_label_that_all_share_is_no_column(ds: xr.Dataset) -> None:
    text = printed(tables.cooperative_energy_table(ds.sel(pattern=["arc"])))
    assert rows(text, "so3lr", "none")
    assert "pattern arc; geometry own; rotamer cis-N, trans-C" in text


def test_dimers_by_conformer(ds: xr.Dataset) -> None:
    text = printed(tables.dimer_table(ds))
    energy, distance = (ds[f"dimer_{name}"].squeeze() for name in ("interaction_energy", "distance_on"))
    (row,) = rows(text, "so3lr")
    assert row[1:3] == [f"{energy[0, 0]:.2f}", f"{distance[0, 0]:.3f}"]
    assert row[3:5] == [f"{energy[0, 1]:.2f}*", f"{distance[0, 1]:.3f}*"]
    assert rows(text, "ani-2x")[0][3:] == ["fail", "fail"]
    assert rows(text, "my-model")[0][1:] == ["pend"] * 4


def test_columns_that_do_not_fit_go_on_below(ds: xr.Dataset) -> None:
    wide, narrow = (printed(tables.cooperative_energy_table(ds), width=width) for width in (100, 44))
    assert len(rows(wide, "so3lr", "arc", "none")) == 3
    assert len(rows(narrow, "so3lr", "arc", "none")) > 3
    cells = [sorted(word for row in rows(text, "so3lr", "arc", "none") for word in row[3:]) for text in (wide, narrow)]
    assert cells[0] == cells[1]
    assert max(map(len, narrow.splitlines())) <= 44


@pytest.mark.parametrize("width", [80, 120])
def test_rendered_text_keeps_its_width(ds: xr.Dataset, width: int) -> None:
    text = tables.render(ds, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    for heading in ("Cooperative energy, kcal/mol", "Isolated dimer", "Not done"):
        assert heading in text


def test_nothing_missing_is_no_table(ds: xr.Dataset) -> None:
    ds["status"][:] = "done"
    ds["dimer_status"][:] = "done"
    assert "Not done" not in tables.render(ds)


def test_counts_by_model_and_status(ds: xr.Dataset) -> None:
    text = printed(*tables.status_tables(ds))
    assert rows(text, "model")[0] == ["model", "done", "unconverged", "skipped", "failed", "cells"]
    assert rows(text, "so3lr")[0] == ["so3lr", "8", "2", "6", "16"]
    assert rows(text, "my-model")[0] == ["my-model", "16", "16"]
