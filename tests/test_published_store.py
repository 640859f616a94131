"""The published store: read as the README says, whole, of this schema, and every script in `analysis/` runs on it."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.analysis.tables.reference_page import yardstick_page
from hbcoop_dist.campaigns.hbond.spec import load_campaign, rotamer_label
from hbcoop_dist.cli.scripts import opened
from hbcoop_dist.report import build_report
from hbcoop_dist.store import open_systems, verify

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "store" / "nma.zarr.zip"
FREE = ROOT / "store" / "free-dimers.zarr.zip"
TWINS = ROOT / "store" / "twins.zarr.zip"
BRIDGE = ROOT / "store" / "bridge.zarr.zip"
NETWORKS = ROOT / "store" / "generalization-claims.zarr.zip"
ROTAMERS = ROOT / "store" / "rotamers.zarr.zip"
OTHERS = {
    "figure_free.py": FREE,
    "bridge.py": TWINS,
    "bridge_networks.py": BRIDGE,
    "claims.py": NETWORKS,
    "rotamers.py": ROTAMERS,
}
"""Scripts that read another one."""
WITH_MODELS = ("many_body.py", "noise.py", "free_dimers.py")
"""They run models, and have tests of their own."""
WRITERS = ("yardstick.py", "export_references.py", "headline.py")
"""They write into the repository."""
SCRIPTS = sorted(path.name for path in (ROOT / "analysis").glob("*.py") if path.name not in (*WITH_MODELS, *WRITERS))


def _python(*arguments: str | Path, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_lines_of_the_readme_read_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "ZipStore" in block]
    *first, last = filter(None, lines.splitlines())
    assert len(first) == 2
    printed = _python("-c", "\n".join([*first, f"print({last})"]), folder=ROOT)
    assert "so3lr" in printed


@pytest.mark.parametrize("path", [STORE, TWINS, ROTAMERS], ids=["nma", "twins", "rotamers"])
def test_it_is_whole_and_says_nothing_of_a_machine(path: Path) -> None:
    assert verify(path) == []
    ds = hb.open_store(path)
    assert set(ds["host"].values.ravel()) == {""}
    assert "/" not in "".join(
        str(model.get("checkpoint", ""))
        for event in json.loads(ds.attrs["history"])
        for model in json.loads(event["spec"])["models"]
    )
    assert not np.isin(ds["status"].values, ("failed", "quarantined", "stale", "unconverged")).any()


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
    energy = ds["cooperative_energy"].isel(rotamer=0)
    late = energy.sel(length=8) - energy.sel(length=6)
    for cutoff in ("4", "4.5"):
        assert abs(float(late.sel(model=f"mace-r-{cutoff}-l-0"))) < 0.05
        assert float(late.sel(model=f"maceles-r-{cutoff}-l-0")) > 0.15


def test_a_rotamer_that_both_stores_have_is_the_same_in_both() -> None:
    ours, whole = hb.open_store(ROTAMERS), hb.open_store(STORE)
    spec = load_campaign(ROOT / "store" / "rotamers.yaml")
    assert {rotamer_label(one) for one in spec.rotamer} == set(ours["rotamer"].values)
    assert not (ours["status"] == "pending").any()
    found = analysis.compare(ours.sel(rotamer=list(whole["rotamer"].values)), whole)
    found = found[found["status_first"] == "done"]
    assert len(found) == 8 * (1 + 2 + 3 + 4)
    assert found["cooperative_energy"].abs().max() < 1e-6


def test_free_dimers_are_all_there_and_each_has_one_outcome() -> None:
    systems = open_systems(FREE)
    found = analysis.free_dimers(systems)
    outcomes = ["kept", "turned", "stacked", "collapsed", "other", "reacted", "unconverged", "failed"]
    assert (found["tried"] == 5).all()
    assert (found[outcomes].sum(axis=1) == found["tried"]).all()
    assert float(systems["max_force"].max()) < 1e-5


def test_a_report_shows_marked_systems() -> None:
    report = build_report(hb.open_store(FREE), systems=open_systems(FREE))
    (table,) = [one for one in report.tables if one.anchor == "systems"]
    assert len(table.frame) == open_systems(FREE)["status"].size
    assert table.frame["interaction energy dimer"].lt(0).all()


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


@pytest.fixture
def script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run a script of `analysis/` as a command would, in a folder of its own: exit code, what it prints, and says."""
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(ROOT / "analysis" / name), run_name="__main__")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return (code, *capsys.readouterr())

    yield run
    pyplot.close("all")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_runs_on_it_and_is_short(name: str, script: Callable[..., tuple[int, str, str]]) -> None:
    assert len((ROOT / "analysis" / name).read_text(encoding="utf-8").splitlines()) < 40
    code, printed, _ = script(name, OTHERS.get(name, STORE))
    assert code == 0
    assert printed


def test_a_script_needs_nothing_but_the_package(tmp_path: Path) -> None:
    assert _python(ROOT / "analysis" / "cooperative_energy.py", STORE, folder=tmp_path)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_what_is_wrong_with_a_store(name: str, script: Callable[..., tuple[int, str, str]]) -> None:
    code, _, said = script(name, "none.zarr")
    assert code == 2
    assert "expected a store, found nothing there" in said


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "analysis").glob("*.py")))
def test_a_script_says_what_it_takes_and_does_nothing(
    name: str, script: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, words, _ = script(name, "--help")
    assert code == 0
    assert words.startswith(f"usage: {name}")
    assert ast.get_docstring(ast.parse((ROOT / "analysis" / name).read_text(encoding="utf-8"))).split(",")[0] in words
    if name in SCRIPTS and name not in OTHERS:
        assert "store/nma.zarr.zip when not given" in words
    assert not list(tmp_path.iterdir())


def test_the_tour_in_a_notebook_takes_the_published_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel's own arguments are none of the script's."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    assert opened("", "store/nma.zarr.zip").sizes["length"] == 11


def test_the_page_of_the_yardstick_is_what_its_command_writes() -> None:
    assert (ROOT / "docs" / "yardstick.md").read_text(encoding="utf-8") == yardstick_page(hb.open_store(STORE))


def test_ensembles_of_it_have_their_spread_and_nothing_else_has() -> None:
    ds = analysis.done(hb.open_store(STORE))
    assert analysis.with_spread(ds) == ["ani-1x", "ani-2x", "ani-1ccx"]
    for prefix in ("", "hbond_"):
        energies, spread = ds[f"{prefix}cooperative_energy"], ds[f"{prefix}cooperative_energy_spread"]
        of_ensembles = {"model": ["ani-1x", "ani-2x", "ani-1ccx"]}
        assert (energies.notnull() == spread.notnull()).sel(of_ensembles).all()
        assert float(spread.sel(of_ensembles).max()) > 0.5
