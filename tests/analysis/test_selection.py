"""Masking keeps dtypes, units, names and order, and hides every value of cells that are not done."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from hbcoop_dist import analysis
from hbcoop_dist.analysis import tables
from hbcoop_dist.analysis.tables.cells import select_labels
from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA

UNCONVERGED = {"model": "so3lr", "pattern": "arc", "length": 4, "capping": "none"}


def test_only_done_cells_keep_their_values(ds: xr.Dataset) -> None:
    masked = analysis.done(ds)
    is_done = (ds.status == "done").broadcast_like(ds.cooperative_energy)
    np.testing.assert_array_equal(masked.cooperative_energy.notnull(), is_done)
    np.testing.assert_array_equal(
        masked.cooperative_energy.values[is_done.values], ds.cooperative_energy.values[is_done.values]
    )
    assert np.isnan(masked.hbond_distance_on.sel(UNCONVERGED)).all()


def test_a_missing_value_is_never_a_zero(ds: xr.Dataset) -> None:
    masked = analysis.done(ds).sel(UNCONVERGED)
    assert (masked.steps == -1).all()
    assert (masked.saddle == -1).all()
    assert (masked.task_key == "").all()
    for name, array in masked.data_vars.items():
        if array.dtype.kind in "if" and set(ds.status.dims) <= set(ds[name].dims):
            assert not (array == 0).any(), name


def test_dtypes_dims_and_attributes_stay(ds: xr.Dataset) -> None:
    masked = analysis.done(ds)
    for name, array in ds.data_vars.items():
        assert masked[name].dims == array.dims
        assert masked[name].dtype == array.dtype
        assert masked[name].attrs == array.attrs


def test_status_reason_and_what_follows_from_the_axes_stay_readable(ds: xr.Dataset) -> None:
    masked = analysis.done(ds)
    for name in ("status", "reason", "dimer_status", "dimer_reason", "hbond_conformer", "position_hbond"):
        xr.testing.assert_identical(masked[name], ds[name])


def test_dimers_follow_their_own_status(ds: xr.Dataset) -> None:
    energy = analysis.done(ds).dimer_interaction_energy.squeeze(["geometry", "rotamer", "constraint"])
    assert energy.notnull().values.tolist() == [[True, True], [True, False], [False, False]]


@pytest.mark.parametrize("statuses", [("done", "unconverged"), ["unconverged", "done"]])
def test_other_statuses_on_request(ds: xr.Dataset, statuses: list[str]) -> None:
    masked = analysis.done(ds, statuses)
    np.testing.assert_array_equal(masked.cooperative_energy.sel(UNCONVERGED), ds.cooperative_energy.sel(UNCONVERGED))
    assert np.isnan(masked.cooperative_energy.sel(model="my-model")).all()


def test_one_status_may_be_a_word(ds: xr.Dataset) -> None:
    assert int(analysis.done(ds, "unconverged").cooperative_energy.notnull().sum()) == 2 * 3


def test_the_dataset_given_is_left_as_it_is(ds: xr.Dataset) -> None:
    before = ds.copy(deep=True)
    analysis.done(ds)
    xr.testing.assert_identical(ds, before)


def test_plain_open_zarr_gives_the_same(ds: xr.Dataset, plain: xr.Dataset) -> None:
    assert plain.status.dtype.kind == plain.model.dtype.kind == "T"
    expected, found = analysis.done(ds), analysis.done(plain)
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name].values, expected[name].values)
    assert tables.render(plain) == tables.render(ds)


def test_values_stay_lazy(ds: xr.Dataset) -> None:
    assert analysis.done(ds.chunk(model=1)).cooperative_energy.chunks is not None


def test_an_unknown_status_is_refused(ds: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"expected some of pending, done, .* found finished"):
        analysis.done(ds, ["finished"])


def test_a_dim_selected_away_is_refused_with_the_way_out(ds: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"ds\.sel\(pattern=\[\.\.\.\]\)"):
        analysis.done(ds.sel(pattern="arc"))


@pytest.mark.parametrize(
    ("function", "names", "units"),
    [
        (
            analysis.cooperative_energies,
            ("cooperative_energy", "cooperative_energy_electronic", "cooperative_energy_geometric"),
            "kcal/mol",
        ),
        (
            analysis.interaction_energies,
            ("interaction_energy", "interaction_energy_dimer", "dimer_interaction_energy"),
            "kcal/mol",
        ),
        (
            analysis.hbond_distances,
            ("distance_on", "distance_oh", "hbond_distance_on", "dimer_distance_on"),
            "angstrom",
        ),
    ],
)
def test_quantities_keep_units_and_names_and_are_masked(ds, function, names, units) -> None:
    found = function(ds)
    for name in names:
        assert found[name].attrs["units"] == units
        assert found[name].attrs["long_name"] == ds[name].attrs["long_name"]
        assert found[name].sel(model="my-model").isnull().all()
    assert "steps" not in found
    more = function(ds, statuses=("done", "unconverged"))
    assert more[names[0]].sel(UNCONVERGED).notnull().all()
    assert found[names[0]].sel(UNCONVERGED).isnull().all()


def test_a_label_that_is_named_twice_is_selected_once(ds: xr.Dataset) -> None:
    where = {"model": ["so3lr", "ani-2x", "so3lr"], "length": ["3"]}
    for part in (analysis.select(ds, where), select_labels(ds, HBOND_SCHEMA, where)):
        assert part["model"].values.tolist() == ["so3lr", "ani-2x"]
        assert part["length"].values.tolist() == [3]
