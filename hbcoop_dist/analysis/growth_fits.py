"""How a cooperative energy grows with the chain: what each unit adds, where it ends, and what it tends to.

A bond's value is followed along lengths at which it is of one conformer, since syn and anti bonds differ by more than a
unit adds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hbcoop_dist.analysis.selection import DONE, done

FloatArray = NDArray[np.float64]

CLOSE = 0.05
"""kcal/mol; a value that near to the longest chain's counts as saturated."""
LEAST = 4
"""Lengths that a fit needs: one more than it has parameters."""
_SERIES = ("model", "pattern", "capping", "geometry", "rotamer", "position")
_SHAPES: dict[str, Callable[[FloatArray, float, float, float], FloatArray]] = {
    "exponential": lambda n, end, gap, scale: end - gap * np.exp(-(n - 2.0) / scale),
    "power": lambda n, end, gap, scale: end - gap * (n - 1.0) ** -scale,
}
_FITTED = ("asymptote", "asymptote_error", "gap", "scale", "rms")
_START, _BOUNDS = {"exponential": 1.5, "power": 2.0}, {"exponential": (0.05, 50.0), "power": (0.2, 20.0)}


def growth(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Increments, saturation and asymptote of the cooperative energy of head, middle and tail bonds.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        Over the labels of a series (all but length), and length where it says so:
        ``increment`` (length), kcal/mol per unit since the length before at which the bond had the same conformer;
        ``saturation_length``, from which on every value lies within `CLOSE` of the longest chain's, NaN where only the
        longest does, or none is known; ``asymptote`` and ``asymptote_error`` (standard error of the fit), kcal/mol, and
        ``rms`` of what the fit leaves, over ``shape``: exponential, end - gap exp(-(n - 2) / scale), and power, end -
        gap (n - 1)^-scale, with ``gap`` and ``scale``. NaN where fewer than four lengths are known or a fit does not
        converge.
    """
    energies = done(ds[["cooperative_energy", "status"]], statuses)["cooperative_energy"].transpose(*_SERIES, "length")
    conformers = ds["position_conformer"].transpose("pattern", "position", "length").astype(str).values
    lengths = ds["length"].values.astype(float)
    shape = energies.shape[:-1]
    increment = np.full(energies.shape, np.nan)
    saturation = np.full(shape, np.nan)
    fits = np.full((*shape, len(_SHAPES), len(_FITTED)), np.nan)
    for place in np.ndindex(shape):
        values = energies.values[place]
        kind = conformers[place[1], place[5]]
        for conformer in np.unique(kind):
            same = np.flatnonzero((kind == conformer) & np.isfinite(values))
            increment[place][same[1:]] = np.diff(values[same]) / np.diff(lengths[same])
        known = np.flatnonzero(np.isfinite(values))
        if len(known) == 0:
            continue
        same = known[kind[known] == kind[known[-1]]]
        saturation[place] = _saturation(lengths[same], values[same])
        fits[place] = [_fit(name, lengths[same], values[same]) for name in _SHAPES]
    series = {name: energies[name] for name in _SERIES}
    over = (*_SERIES, "shape")
    found = {"increment": (energies.dims, increment), "saturation_length": (_SERIES, saturation)}
    found |= {name: (over, fits[..., at]) for at, name in enumerate(_FITTED)}
    result = xr.Dataset(found, coords={**series, "length": energies["length"], "shape": list(_SHAPES)})
    for name in ("increment", "asymptote", "asymptote_error", "gap", "rms"):
        result[name].attrs["units"] = "kcal/mol"
    return result


def _saturation(lengths: FloatArray, values: FloatArray) -> float:
    near = np.abs(values - values[-1]) <= CLOSE
    first = len(near) - int(np.argmin(near[::-1])) if not near.all() else 0
    return float(lengths[first]) if first < len(near) - 1 else float("nan")


def curve(shape: str, lengths: FloatArray, end: float, gap: float, scale: float) -> FloatArray:
    """A fitted curve at any lengths, kcal/mol; `shape` and the rest as `growth` gives them."""
    return _SHAPES[shape](lengths, end, gap, scale)


def _fit(name: str, lengths: FloatArray, values: FloatArray) -> tuple[float, ...]:
    """What is fitted, in the order of `_FITTED`."""
    from scipy.optimize import OptimizeWarning, curve_fit

    nothing = (float("nan"),) * len(_FITTED)
    if len(lengths) < LEAST:
        return nothing
    if np.ptp(values) < 1e-6:
        return float(values[-1]), 0.0, 0.0, float("nan"), 0.0
    low, high = _BOUNDS[name]
    bounds: Any = ([-np.inf, -np.inf, low], [np.inf, np.inf, high])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            found, covariance = curve_fit(
                _SHAPES[name], lengths, values, (values[-1], values[-1] - values[0], _START[name]), bounds=bounds
            )
        except RuntimeError:
            return nothing
    left = values - _SHAPES[name](lengths, *found)
    end, gap, scale = map(float, found)
    return end, float(np.sqrt(covariance[0, 0])), gap, scale, float(np.sqrt(np.mean(left**2)))
