"""Growth curves on series whose end is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist.analysis import growth
from hbcoop_dist.analysis.growth_fits import curve as fitted
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("growth") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy-additive"], "patterns": ["arc", "linear"], "lengths": "2..8"}
    hb.run(hb.plan(CampaignSpec.model_validate(spec)), path, serial=True)
    return path


@pytest.fixture
def ds(store: Path) -> xr.Dataset:
    return hb.open_store(store).load()


def _with(ds: xr.Dataset, values: xr.DataArray) -> xr.Dataset:
    changed = ds.copy()
    changed["cooperative_energy"] = ds["cooperative_energy"] * 0 + values
    changed["status"] = xr.full_like(ds["status"], "done")
    return changed


def _middle(found: xr.Dataset, pattern: str = "arc") -> xr.Dataset:
    return found.sel(pattern=pattern, position="middle").squeeze()


@pytest.mark.parametrize("shape", ["exponential", "power"])
def test_the_end_of_a_known_curve_is_found(ds: xr.Dataset, shape: str) -> None:
    n = ds["length"].astype(float)
    curve = 4.2 - 4.2 * np.exp(-(n - 2) / 1.7) if shape == "exponential" else 4.2 - 4.2 * (n - 1) ** -2.5
    found = _middle(growth(_with(ds, curve))).sel(shape=shape)
    assert float(found["asymptote"]) == pytest.approx(4.2, abs=1e-5)
    assert float(found["asymptote_error"]) < 1e-4
    fit = [float(found[name]) for name in ("asymptote", "gap", "scale")]
    np.testing.assert_allclose(fitted(shape, n.values, *fit), curve, atol=1e-5)
    assert float(found["scale"]) == pytest.approx({"exponential": 1.7, "power": 2.5}[shape], rel=1e-4)
    assert float(found["rms"]) < 1e-6


def test_noise_shows_in_the_error_of_the_asymptote(ds: xr.Dataset) -> None:
    n = ds["length"].astype(float)
    noise = xr.DataArray(0.05 * np.random.default_rng(1).standard_normal(len(n)), dims="length", coords={"length": n})
    found = _middle(growth(_with(ds, 4.2 - 4.2 * np.exp(-(n - 2) / 1.7) + noise))).sel(shape="exponential")
    assert 0.01 < float(found["asymptote_error"]) < 0.5
    assert abs(float(found["asymptote"]) - 4.2) < 4 * float(found["asymptote_error"])


def test_a_model_that_stops_seeing_saturates_there(ds: xr.Dataset) -> None:
    n = ds["length"].astype(float)
    found = _middle(growth(_with(ds, xr.where(n >= 4, 3.0, n - 2))))  # type: ignore[no-untyped-call]
    assert float(found["saturation_length"]) == 4
    np.testing.assert_allclose(found["increment"].values[1:], [1, 2, 0, 0, 0, 0])
    assert np.isnan(found["increment"].values[0])
    growing = _middle(growth(_with(ds, n * 1.0)))
    assert np.isnan(growing["saturation_length"])


def test_nothing_grows_where_nothing_is(ds: xr.Dataset) -> None:
    found = _middle(growth(_with(ds, xr.zeros_like(ds["length"], dtype=float))))
    assert float(found["saturation_length"]) == 2
    assert float(found["asymptote"].max()) == 0


def test_bonds_of_different_conformers_are_not_one_series(ds: xr.Dataset) -> None:
    conformer = ds["position_conformer"].astype(str)
    values = ds["length"] * 0.1 + (conformer == "anti") * 5.0
    found = growth(_with(ds, values)).sel(pattern="linear").squeeze()
    for position in ("middle", "tail"):
        steps = found["increment"].sel(position=position)
        np.testing.assert_allclose(steps.dropna("length"), 0.1, atol=1e-9)


def test_what_is_not_done_is_left_out(ds: xr.Dataset) -> None:
    n = ds["length"].astype(float)
    changed = _with(ds, 4.2 - 4.2 * np.exp(-(n - 2) / 1.7))
    changed["status"] = changed["status"].where(ds["length"] != 5, "failed")
    found = _middle(growth(changed))
    assert float(found["asymptote"].sel(shape="exponential")) == pytest.approx(4.2, abs=1e-5)
    assert np.isnan(found["increment"].sel(length=5))
    few = changed.copy()
    few["status"] = changed["status"].where(ds["length"] < 5, "failed")
    assert np.isnan(_middle(growth(few))["asymptote"]).all()
