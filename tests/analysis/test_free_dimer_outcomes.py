"""Outcomes of free dimers depend on geometry alone, not on orientation or on which molecule donates."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.spatial.transform import Rotation

import hbcoop_dist as hb
from hbcoop_dist import analysis
from hbcoop_dist.analysis import plots
from hbcoop_dist.analysis.free_dimer_outcomes import OUTCOMES, dimer_outcomes
from hbcoop_dist.campaigns.complexes.spec import ComplexesSpec
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, monomer
from hbcoop_dist.structures.monomers import build
from hbcoop_dist.structures.structure import MOLECULE_NUMBERS

NMA = monomer().positions
UP = np.array([0.0, 0.0, 1.0])
SCRIPT = Path(__file__).resolve().parents[2] / "analysis" / "free_dimers.py"


def dimer(conformer: Any) -> np.ndarray:
    return build(Chain((conformer,), (DEFAULT_ROTAMER,) * 2)).positions


def over(height: float, tilt: float = 0.0) -> np.ndarray:
    """One NMA above another, tilted about its C-N bond."""
    second = Rotation.from_euler("x", tilt, degrees=True).apply(NMA - NMA[[1, 2, 3]].mean(axis=0))
    return np.vstack([NMA, second + NMA[[1, 2, 3]].mean(axis=0) + height * UP])


def made(dimers: Mapping[str, np.ndarray], **changed: Any) -> xr.Dataset:
    """Store of complexes computed with one model; interaction energies are -1, -2, ..."""
    names, count = list(dimers), len(dimers)
    coords = {"model": ["m"], "complex": names, "xyz": ["x", "y", "z"]}
    ds = xr.Dataset(
        {
            "status": (("model", "complex"), np.full((1, count), "done", dtype=object)),
            "reason": (("model", "complex"), np.full((1, count), "", dtype=object)),
            "interaction_energy": (("model", "complex"), -np.arange(1.0, count + 1)[None]),
            "positions": (("model", "complex", "atom", "xyz"), np.array([*dimers.values()])[None]),
            "part": (("complex", "atom"), np.array([["A"] * 12 + ["B"] * 12] * count, dtype=object)),
            "atomic_number": (("complex", "atom"), np.array([MOLECULE_NUMBERS["nma"] * 2] * count)),
        },
        coords=coords,
    )
    for name, values in changed.items():
        ds[name] = (ds[name].dims, np.array(values).reshape(ds[name].shape))
    return ds


def outcome(x: np.ndarray, start: str = "syn") -> pd.Series:
    return dimer_outcomes(made({f"{start}-1": x})).iloc[0]


@pytest.mark.parametrize("conformer", ["syn", "anti"])
def test_a_built_dimer_keeps_its_bond_and_under_the_other_name_has_turned(conformer: str) -> None:
    x = dimer(conformer)
    other = {"syn": "anti", "anti": "syn"}[conformer]
    for start, expected in ((conformer, "kept"), (other, "turned")):
        one = outcome(x, start)
        assert (one["outcome"], one["conformer"], one["donor"]) == (expected, conformer, "B")


@pytest.mark.parametrize("x", [dimer("syn"), dimer("anti"), over(3.5), over(3.5, 60.0), over(9.0)])
def test_neither_rotation_nor_who_is_called_a_changes_what_is_found(x: np.ndarray) -> None:
    before = outcome(x)
    turned = outcome(Rotation.from_rotvec([0.3, 1.1, -0.7]).apply(x) + [5.0, -3.0, 1.0])
    swapped = outcome(np.vstack([x[12:], x[:12]]))
    for after in (turned, swapped):
        same = ["outcome", "conformer"]
        assert before[same].tolist() == after[same].tolist()
        numbers = ["distance_oh", "angle", "tilt", "centres"]
        np.testing.assert_allclose(before[numbers].astype(float), after[numbers].astype(float), atol=1e-4)
    assert turned["donor"] == before["donor"]
    assert swapped["donor"] == {"B": "A", "": ""}[before["donor"]]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (over(3.5), "stacked"),
        (over(3.5) * [1.0, 1.0, -1.0], "stacked"),
        (over(3.9, 25.0), "stacked"),
        (over(3.9, 35.0), "tilted"),
        (over(4.1), "other"),
    ],
)
def test_stacked_is_parallel_and_near_and_tilted_is_near(x: np.ndarray, expected: str) -> None:
    assert outcome(x)["outcome"] == expected


def test_a_methyl_that_points_at_oxygen_is_no_bond() -> None:
    o, carbon, h = (NMA[i] for i in (2, 0, 6))
    # the second molecule's C-H on the line of the first one's C=O, H 2.0 A from O
    along = (NMA[2] - NMA[1]) / np.linalg.norm(NMA[2] - NMA[1])
    turn, _ = Rotation.align_vectors([-along], [h - carbon])
    second = turn.apply(NMA - h) + o + 2.0 * along
    one = outcome(np.vstack([NMA, second]))
    assert (one["outcome"], one["donor"]) == ("other", "")


def test_a_molecule_that_fell_apart_has_reacted_whatever_else_it_kept() -> None:
    x = dimer("syn")
    x[11] -= UP
    one = outcome(x)
    assert one["outcome"] == "reacted"
    assert "CN-HN3" in one["reason"]


def test_every_start_that_was_tried_is_one_outcome() -> None:
    starts = {
        "syn-1": dimer("syn"),
        "syn-2": dimer("anti"),
        "syn-3": over(3.5),
        "syn-4": dimer("syn"),
        "syn-5": dimer("syn"),
        "anti-1": np.vstack([dimer("anti")[12:], dimer("anti")[:12]]),
        "anti-2": dimer("anti"),
        "elsewhere": dimer("anti"),
    }
    statuses = ["done", "done", "done", "unconverged", "done", "done", "skipped", "done"]
    table = analysis.free_dimers(made(starts, status=statuses))
    syn, anti = table.loc["m", "syn"], table.loc["m", "anti"]
    assert (syn["tried"], anti["tried"]) == (5, 1)
    assert (table[list(OUTCOMES)].sum(axis=1) == table["tried"]).all()
    assert syn[["kept", "turned", "stacked", "unconverged"]].tolist() == [2, 1, 1, 1]
    # complexes have -1, -2, ... kcal/mol in their order
    assert syn[["energy_syn", "energy_anti", "energy_stacked"]].tolist() == [-5.0, -2.0, -3.0]
    assert np.isnan(syn["energy_other"])
    assert (anti["kept"], anti["swapped"], anti["energy_anti"]) == (1, 1, -6.0)


def test_what_is_not_done_has_no_numbers() -> None:
    ds = made({"syn-1": dimer("syn"), "anti-1": dimer("anti")}, status=["unconverged", "failed"])
    each = dimer_outcomes(ds)
    assert each["outcome"].tolist() == ["unconverged", "failed"]
    assert each[["distance_oh", "interaction_energy"]].isna().all(axis=None)
    assert analysis.free_dimers(made({"syn-1": dimer("syn")}, status=["skipped"])).loc["m", "syn"]["tried"] == 0


def test_what_is_no_dimer_of_nma_is_refused() -> None:
    with pytest.raises(ValueError, match="complexes: expected names like syn-1 and anti-1, found none"):
        analysis.free_dimers(made({"complex": dimer("syn")}))
    with pytest.raises(ValueError, match="complex syn-1: expected B to be NMA in the package's order"):
        analysis.free_dimers(made({"syn-1": dimer("syn")}, part=[["A"] * 12 + ["C"] * 12]))


def test_bars_are_as_long_as_the_counts() -> None:
    starts = {"syn-1": dimer("syn"), "syn-2": dimer("anti"), "syn-3": over(3.5), "anti-1": dimer("anti")}
    ds = made(starts)
    more = ds.assign_coords(model=["skipped"])
    more["status"] = xr.full_like(more["status"], "skipped")
    both = xr.concat([ds, more], "model", data_vars="minimal", coords="minimal", compat="override", join="outer")
    figure = plots.free_dimer_outcomes(both)
    for panel, start in zip(figure.get_axes(), ("syn", "anti"), strict=True):
        expected = analysis.free_dimers(both).xs(start, level="start")
        for bars in panel.containers:
            lengths = [bar.get_width() for bar in bars]
            assert lengths == expected[bars.get_label()].tolist()
        assert [text.get_text().strip() for text in panel.texts] == ["not run"]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["H-bond kept", "H-bond, other conformer", "stacked"]


def test_the_script_s_campaign_runs_and_is_counted(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        command = [sys.executable, str(SCRIPT), str(tmp_path / folder), "--seeds", "1", "--kick", "0.05"]
        asked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert asked.stdout.split()[:2] == ["hbcoop", "run"]
    for name in ("syn-1.xyz", "anti-1.xyz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    spec = hb.load_campaign(asked.stdout.split()[2])
    assert isinstance(spec, ComplexesSpec)
    assert {entry.geometry for entry in spec.complexes} == {"free"}
    fast = spec.model_copy(update={"models": tuple(entry for entry in spec.models if entry.name == "amber14")})
    hb.run(hb.plan(fast), tmp_path / "test.zarr", serial=True)
    table = analysis.free_dimers(hb.open_store(tmp_path / "test.zarr"))
    assert (table["tried"] == 1).all()
    assert (table[list(OUTCOMES)].sum(axis=1) == 1).all()
    # one well without a barrier: Amber's planar anti dimer runs into the syn one, and so does the free one
    assert table[["energy_syn", "energy_anti"]].min(axis=None) < -6.0
