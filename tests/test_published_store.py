"""The published stores: complete, valid, and in agreement with physical laws."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.analysis.free_dimer_outcomes import OUTCOMES
from hbcoop_dist.analysis.reference_levels import PLACES, by_level
from hbcoop_dist.campaigns.kind import find_kind, load_campaign
from hbcoop_dist.store import kind_of_store, open_store, verify
from hbcoop_dist.structures.chains import rotamer_label

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "store" / "nma.zarr.zip"
FREE = ROOT / "store" / "free-dimers.zarr.zip"
TWINS = ROOT / "store" / "twins.zarr.zip"
ROTAMERS = ROOT / "store" / "rotamers.zarr.zip"


def _python(*arguments: str | Path, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_lines_of_the_readme_read_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "ZipStore" in block]
    *first, last = filter(None, lines.splitlines())
    assert len(first) == 2
    printed = _python("-c", "\n".join([*first, f"print({last})"]), folder=ROOT)
    assert "so3lr" in printed


@pytest.mark.parametrize("path", sorted((ROOT / "store").glob("*.zarr.zip")), ids=lambda path: path.name)
def test_it_is_whole_and_names_no_machine(path: Path) -> None:
    assert verify(path, find_kind(kind_of_store(path)).schema) == []
    ds = hb.open_store(path)
    assert set(ds["host"].values.ravel()) == {""}
    specs = [json.loads(event["spec"]) for event in json.loads(ds.attrs["history"])]
    assert specs
    assert not [text for spec in specs for text in _texts(spec) if text.startswith(("/", "~"))]
    assert not np.isin(ds["status"].values, ("failed", "quarantined", "stale", "unconverged")).any()


def _texts(value: object) -> Iterator[str]:
    """Yield every text of plain JSON data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def test_it_holds_what_its_campaigns_ask_for() -> None:
    ds = hb.open_store(STORE)
    for name in ("nma", "slow"):
        text = (ROOT / "store" / f"{name}.yaml").read_text(encoding="utf-8")
        # the checkpoint itself is not needed to know what was asked for
        spec = load_campaign(ROOT / "store" / f"{name}.yaml")
        for entry in spec.models:
            assert entry.name in text
            asked = ds["status"].sel(model=entry.name, length=list(spec.lengths))
            assert not (asked == "pending").any(), entry.name


def test_twins_hold_what_their_campaign_asks_for_of_the_checkpoints_that_cards_name() -> None:
    ds, spec = hb.open_store(TWINS), load_campaign("twins")
    asked = ds.sel(model=[entry.name for entry in spec.models], pattern=list(spec.patterns), length=list(spec.lengths))
    assert not (asked["status"] == "pending").any()
    for entry in spec.models:
        hashes = asked["checkpoint_sha256"].where(asked["status"] == "done", "").sel(model=entry.name)
        assert set(hashes.values.ravel()) - {""} == {entry.card().checkpoint.sha256}


def test_twins_with_charges_go_on_where_those_without_stop() -> None:
    """A law of short range: beyond two units, a middle bond does not change by more than its relaxation."""
    ds = analysis.done(hb.open_store(TWINS)).sel(pattern="arc", capping="none", geometry="own", position="middle")
    energy = ds["cooperative_energy"].isel(rotamer=0, constraint=0)
    late = energy.sel(length=8) - energy.sel(length=6)
    for cutoff in ("4", "4.5"):
        assert abs(float(late.sel(model=f"mace-r-{cutoff}-l-0"))) < 0.05
        assert float(late.sel(model=f"maceles-r-{cutoff}-l-0")) > 0.15


def test_a_rotamer_that_both_stores_have_is_the_same_in_both() -> None:
    ours, whole = hb.open_store(ROTAMERS), hb.open_store(STORE)
    spec = load_campaign(ROOT / "store" / "rotamers.yaml")
    assert {rotamer_label(rule) for rule in spec.rotamer} == set(ours["rotamer"].values)
    assert not (ours["status"] == "pending").any()
    found = analysis.compare(ours.sel(rotamer=list(whole["rotamer"].values)), whole)
    found = found[found["status_first"] == "done"]
    assert len(found) == 8 * (1 + 2 + 3 + 4)
    assert found["cooperative_energy"].abs().max() < 1e-6


def test_every_free_dimer_was_run_and_has_one_outcome() -> None:
    ds = open_store(FREE, kind="complexes")
    counts = analysis.free_dimers(ds)
    assert (counts["tried"] == 5).all()
    assert (counts[list(OUTCOMES)].sum(axis=1) == counts["tried"]).all()
    assert float(ds["max_force"].max()) < 1e-5


def test_the_laws_hold_in_it() -> None:
    ds = analysis.done(hb.open_store(STORE))
    for model in ("amber14", "charmm36"):
        electronic = ds["cooperative_energy_electronic"].sel(model=model).values
        assert np.nanmax(np.abs(electronic)) < 1e-8
    atoms = ds["atomic_cooperative_energy"].sum("atom", min_count=1)
    difference = (atoms - ds["hbond_cooperative_energy"]).values
    assert np.nanmax(np.abs(difference)) < 1e-6
    parts = ds["cooperative_energy_electronic"] + ds["cooperative_energy_geometric"] - ds["cooperative_energy"]
    assert np.nanmax(np.abs(parts.values)) < 1e-9


def test_the_page_of_reference_levels_has_the_bundled_values() -> None:
    """Every row of the first table of a geometry holds the rounded energies of its level of theory."""
    text = (ROOT / "docs" / "reference-levels.md").read_text(encoding="utf-8")
    table = by_level().loc[("nma-so3lr", "cis-N, trans-C")]
    section = text.split("### nma-so3lr, rotamer cis-N, trans-C: total\n")[1].split("###")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    assert rows[0] == ["model", *PLACES, "dimer V"]
    page = {name: cells for name, *cells in rows[2:]}
    assert set(page) == set(table.index)
    for level, values in table.iterrows():
        assert page[str(level)] == ["" if np.isnan(value) else f"{value:.2f}" for value in values]


def test_ensembles_of_it_have_their_spread_and_nothing_else_has() -> None:
    ds = analysis.done(hb.open_store(STORE))
    assert analysis.with_spread(ds) == ["ani-1x", "ani-2x", "ani-1ccx"]
    for prefix in ("", "hbond_"):
        energies, spread = ds[f"{prefix}cooperative_energy"], ds[f"{prefix}cooperative_energy_spread"]
        of_ensembles = {"model": ["ani-1x", "ani-2x", "ani-1ccx"]}
        assert (energies.notnull() == spread.notnull()).sel(of_ensembles).all()
        assert float(spread.sel(of_ensembles).max()) > 0.5
