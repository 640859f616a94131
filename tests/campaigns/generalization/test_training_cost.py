"""What a campaign would cost, from the times of a store: as much as networks like it took there."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from hbcoop_dist.campaigns.generalization.loading import load_generalization
from hbcoop_dist.campaigns.generalization.planner import plan
from hbcoop_dist.cli.generalization_commands import estimate

from hbcoop_dist.campaigns.generalization.schema import KIND
from hbcoop_dist.store import open_store

STORE = Path(__file__).parents[2] / "store" / "generalization-quick.zarr.zip"


def hours(words: str) -> float:
    found = re.search(r"about (\S+) core-hours", words)
    assert found
    return float(found[1])


def test_another_seed_costs_what_the_first_took_and_what_is_there_costs_nothing() -> None:
    spent = float(open_store(STORE, kind=KIND)["seconds"].sum()) / 3600
    spec = load_generalization("generalization-quick")
    assert hours(estimate(plan(spec.model_copy(update={"seeds": (1,)})), STORE)) == pytest.approx(spent, rel=5e-3)
    assert hours(estimate(plan(spec.model_copy(update={"seeds": (0, 1)})), STORE)) == pytest.approx(spent, rel=5e-3)
    assert estimate(plan(spec), STORE) == f"nothing left to do: {STORE} has all 20 networks"


def test_the_large_campaign_is_planned_from_files_in_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every set in a folder; what no time was measured of is named."""
    monkeypatch.setenv("HBCOOP_DATA", str(tmp_path))
    for folder in ("qmof_database", "odac25", "omol25"):
        (tmp_path / folder).mkdir()
        atoms = Atoms("OH2", np.eye(3))
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((3, 3)))
        write(tmp_path / folder / "small.xyz", [atoms] * 4, format="extxyz")
    drawn = plan(load_generalization("generalization"), elsewhere=["allegro"])
    assert len(drawn.cells) == (2 * 16 + 19) * 5 * 3
    assert not drawn.skipped
    words = estimate(drawn, STORE)
    assert "allegro with none" in words
    assert hours(words) > 100
    assert os.environ["HBCOOP_DATA"] not in words
