"""Growth fits recover known curves; the receptive field bounds the units with an electronic share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import hbcoop_dist as hb
from hbcoop_dist.analysis import growth, units_seen
from hbcoop_dist.analysis.growth_fits import curve as fitted
from hbcoop_dist.campaigns.hbond.spec import HBondSpec


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("growth") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy-additive"], "patterns": ["arc", "linear"], "lengths": "2..8"}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
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


def test_the_error_of_the_asymptote_is_the_spread_of_refits(ds: xr.Dataset) -> None:
    """The standard error from one fit's covariance agrees with the scatter of asymptotes over samples of noise.

    Without the two shortest chains the gap is several times less certain than the asymptote.
    """
    n = ds["length"].astype(float)
    rng = np.random.default_rng(7)
    asymptotes, errors = [], []
    for _ in range(60):
        noise = xr.DataArray(0.02 * rng.standard_normal(len(n)), coords={"length": ds["length"]})
        noisy = _with(ds.sel(pattern=["arc"]), 4.2 - 4.2 * np.exp(-(n - 2) / 1.2) + noise)
        noisy["status"] = noisy["status"].where(n > 3, "failed")
        fit = _middle(growth(noisy))
        asymptotes.append(float(fit["asymptote"].sel(shape="exponential")))
        errors.append(float(fit["asymptote_error"].sel(shape="exponential")))
    # 60 samples know a standard deviation to 9 per cent; a fit to two degrees of freedom to 50
    assert np.median(errors) == pytest.approx(np.std(asymptotes), rel=0.5)


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


@pytest.fixture(scope="module")
def arcs(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    path = tmp_path_factory.mktemp("reach") / "x.zarr"
    spec = {"campaign": "x", "models": ["toy"], "lengths": [2, 3, 4, 5, 6]}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
    return hb.open_store(path).load()


def test_nobody_sees_without_sight_and_everything_with_enough(arcs: xr.Dataset) -> None:
    assert units_seen(arcs, "toy", 0.5) == 0
    assert units_seen(arcs, "toy", 1000.0) == 4
    seen = [units_seen(arcs, "toy", field) for field in (2.0, 4.0, 6.0, 10.0, 20.0)]
    assert seen == sorted(seen)


def test_a_model_without_a_bare_arc_has_no_answer(arcs: xr.Dataset) -> None:
    nothing = arcs.assign(status=xr.full_like(arcs["status"], "pending"))
    assert units_seen(nothing, "toy", 5.0) == -1


def test_units_out_of_sight_have_no_electronic_share(checkpointed_ani: xr.Dataset) -> None:
    """ANI-2x, 5.1 A: from the length on at which the head bond sees all it can, its electronic part stays."""
    seen = units_seen(checkpointed_ani, "ani-2x", 5.1)
    place = {"model": "ani-2x", "pattern": "arc", "capping": "none", "geometry": "own", "position": "head"}
    part = checkpointed_ani["cooperative_energy_electronic"].sel(place).isel(rotamer=0, constraint=0)
    # fixed geometry would give exact equality; relaxed chains of different lengths differ a little in their first units
    longest = int(part["length"].max())
    assert seen < longest - 2
    assert float(part.sel(length=longest)) == pytest.approx(float(part.sel(length=2 + seen)), abs=0.05)
    assert abs(float(part.sel(length=2 + seen))) > 0.1


@pytest.fixture(scope="module")
def checkpointed_ani(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    from hbcoop_dist.models import available, card

    if not (found := available(card("ani-2x"))):
        pytest.skip(found.reason)
    path = tmp_path_factory.mktemp("reach-ani") / "x.zarr"
    spec = {"campaign": "x", "models": ["ani-2x"], "lengths": [2, 3, 4, 5, 6, 7]}
    hb.run(hb.plan(HBondSpec.model_validate(spec)), path, serial=True)
    return hb.open_store(path).load()
