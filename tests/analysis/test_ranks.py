"""Ranks that an uncertain reference allows, and how uncertain it is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hbcoop_dist.analysis import ranks, reference_width
from hbcoop_dist.references import reference_energies


def test_a_perfect_reference_ranks_everybody_once() -> None:
    found = ranks(pd.Series({"b": 0.2, "a": 0.1, "c": 0.9}), 0.0)
    assert found.loc[["a", "b", "c"], "best"].tolist() == [1, 2, 3]
    assert (found["best"] == found["worst"]).all()


def test_what_the_reference_cannot_tell_apart_shares_its_ranks() -> None:
    found = ranks(pd.Series({"a": 0.1, "b": 0.2, "c": 0.9}), 0.15)
    assert found.loc["a"].tolist() == found.loc["b"].tolist() == [1, 2]
    assert found.loc["c"].tolist() == [3, 3]
    assert ranks(pd.Series({"a": 0.1, "b": 0.2, "c": 0.9}), 5.0)["worst"].tolist() == [3, 3, 3]


def test_a_model_without_an_error_has_no_rank_and_takes_none() -> None:
    found = ranks(pd.Series({"a": np.nan, "b": 0.2}), 0.1)
    assert found.loc["a"].isna().all()
    assert found.loc["b"].tolist() == [1, 1]


def test_the_width_is_the_largest_difference_among_equals() -> None:
    width = reference_width("rimp2:cc-pvtz:frozen-core")
    energies = reference_energies()["cooperative_energy"]
    bonds = energies.sel(geometry="nma-so3lr", pattern="arc", rotamer="cis-N, trans-C").stack(
        place=("length", "capping", "position")
    )
    bonds = bonds.isel(place=((bonds["length"] > 2) | (bonds["capping"] == "water")).values)
    one, other = (bonds.sel(model=name).values for name in ("rimp2:cc-pvtz:frozen-core", "scs-mp2:cc-pvtz:frozen-core"))
    assert width >= float(np.sqrt(np.nanmean((one - other) ** 2))) - 1e-12
    assert 0 < width < 1
    assert np.isnan(reference_width("nonsense"))
