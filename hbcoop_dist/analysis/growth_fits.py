"""Growth of a cooperative energy with chain length: increments, saturation, fitted asymptote, and receptive field."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import xarray as xr

from hbcoop_dist.analysis.selection import DONE, done
from hbcoop_dist.core.arrays import FloatArray, IntArray

CLOSE = 0.05
"""kcal/mol; values that near to the longest chain's count as saturated."""
LEAST = 4
"""Lengths that a fit needs: one more than its parameters."""
_SERIES = ("model", "pattern", "capping", "geometry", "rotamer", "constraint", "position")
_SHAPES: dict[str, Callable[[FloatArray, float, float, float], FloatArray]] = {
    "exponential": lambda n, end, gap, scale: end - gap * np.exp(-(n - 2.0) / scale),
    "power": lambda n, end, gap, scale: end - gap * (n - 1.0) ** -scale,
}
_FIT_RESULTS = ("asymptote", "asymptote_error", "gap", "scale", "rms")
_INITIAL_SCALE = {"exponential": 1.5, "power": 2.0}
_SCALE_BOUNDS = {"exponential": (0.05, 50.0), "power": (0.2, 20.0)}


def growth(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Increments, saturation and asymptote of the cooperative energy of head, middle and tail bonds.

    A series holds the lengths at which the bond has one conformer, because syn and anti bonds differ by more than a
    unit adds.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        Over the dims of a cell but length, and ``position``:

        ``increment`` (..., length)
            kcal/mol per unit since the previous length with the same conformer.
        ``saturation_length``
            First length from which on every value lies within `CLOSE` of the longest chain's; NaN where only the
            longest chain does.
        ``asymptote``, ``asymptote_error``, ``gap``, ``scale``, ``rms`` (..., shape)
            Least-squares fit of ``exponential``, asymptote - gap exp(-(n - 2) / scale), and of ``power``,
            asymptote - gap (n - 1)^-scale; the standard error of the asymptote from the covariance of the fit, and
            the root mean square residual. kcal/mol, scale in units (exponential) or without unit (power). NaN where
            fewer than `LEAST` lengths are done or the fit does not converge.
    """
    energies = done(ds[["cooperative_energy", "status"]], statuses)["cooperative_energy"].transpose(*_SERIES, "length")
    conformers = ds["position_conformer"].transpose("pattern", "position", "length").astype(str).values
    lengths = ds["length"].values.astype(float)
    shape = energies.shape[:-1]
    increment = np.full(energies.shape, np.nan)
    saturation = np.full(shape, np.nan)
    fits = np.full((*shape, len(_SHAPES), len(_FIT_RESULTS)), np.nan)
    for index in np.ndindex(shape):
        values = energies.values[index]
        series_conformers = conformers[index[1], index[-1]]
        for conformer in np.unique(series_conformers):
            same = np.flatnonzero((series_conformers == conformer) & np.isfinite(values))
            increment[index][same[1:]] = np.diff(values[same]) / np.diff(lengths[same])
        finite = np.flatnonzero(np.isfinite(values))
        if len(finite) == 0:
            continue
        same = finite[series_conformers[finite] == series_conformers[finite[-1]]]
        saturation[index] = _saturation(lengths[same], values[same])
        fits[index] = [_fit(name, lengths[same], values[same]) for name in _SHAPES]
    variables = {"increment": (energies.dims, increment), "saturation_length": (_SERIES, saturation)}
    variables |= {name: ((*_SERIES, "shape"), fits[..., column]) for column, name in enumerate(_FIT_RESULTS)}
    coords = {name: energies[name] for name in _SERIES}
    result = xr.Dataset(variables, coords={**coords, "length": energies["length"], "shape": list(_SHAPES)})
    for name in ("increment", "asymptote", "asymptote_error", "gap", "rms"):
        result[name].attrs["units"] = "kcal/mol"
    return result


def _saturation(lengths: FloatArray, values: FloatArray) -> float:
    close = np.abs(values - values[-1]) <= CLOSE
    first = len(close) - int(np.argmin(close[::-1])) if not close.all() else 0
    return float(lengths[first]) if first < len(close) - 1 else float("nan")


def curve(shape: str, lengths: FloatArray, end: float, gap: float, scale: float) -> FloatArray:
    """Evaluate a fitted curve.

    Parameters
    ----------
    shape : {"exponential", "power"}
    lengths : (N,) array
        Chain lengths, units.
    end, gap, scale : float
        Parameters of the fit, as `growth` returns them (`end` is its asymptote).

    Returns
    -------
    (N,) array
        kcal/mol.
    """
    return _SHAPES[shape](lengths, end, gap, scale)


def _fit(name: str, lengths: FloatArray, values: FloatArray) -> tuple[float, ...]:
    """Fit one series; results in the order of `_FIT_RESULTS`."""
    from scipy.optimize import OptimizeWarning, curve_fit

    no_fit = (float("nan"),) * len(_FIT_RESULTS)
    if len(lengths) < LEAST:
        return no_fit
    if np.ptp(values) < 1e-6:
        return float(values[-1]), 0.0, 0.0, float("nan"), 0.0
    low, high = _SCALE_BOUNDS[name]
    bounds: Any = ([-np.inf, -np.inf, low], [np.inf, np.inf, high])
    initial = (values[-1], values[-1] - values[0], _INITIAL_SCALE[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            parameters, covariance = curve_fit(_SHAPES[name], lengths, values, initial, bounds=bounds)
        except RuntimeError:
            return no_fit
    residuals = values - _SHAPES[name](lengths, *parameters)
    end, gap, scale = map(float, parameters)
    return end, float(np.sqrt(covariance[0, 0])), gap, scale, float(np.sqrt(np.mean(residuals**2)))


def units_seen(ds: xr.Dataset, model: str, receptive_field: float) -> int:
    """Count the units on one side of a bond that lie within a model's receptive field, in its longest bare arc.

    In a model that is a sum over atoms of finite receptive field, a unit of C has an electronic share in the bond A-B
    only if some atom lies within the receptive field of A, B and that unit.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    model : str
        Model whose minima are used.
    receptive_field : float
        Cutoff times message-passing layers, A.

    Returns
    -------
    int
        Units beyond B that share an atom's receptive field with A and B; -1 when no bare arc of the model is done.
    """
    cell = {"model": model, "pattern": "arc", "capping": "none", "geometry": "own"}
    own = ds[["positions", "status"]].sel({dim: [label] for dim, label in cell.items()})
    # isel by name: squeeze would also drop a length axis of size one
    arcs = (
        done(own)["positions"]
        .isel({**dict.fromkeys(cell, 0), "rotamer": 0, "constraint": 0}, drop=True)
        .dropna("length", how="all")
    )
    if not arcs.sizes.get("length"):
        return -1
    length = int(arcs["length"][-1])
    positions = arcs.sel(length=length).transpose("atom", "xyz").values
    molecule = ds["molecule"].sel(length=length, capping="none").values
    in_chain = molecule >= 0
    within = _nearest_atom(positions[in_chain], molecule[in_chain]) <= receptive_field
    # the first bond of the chain: all other units lie beyond its B
    sees_bond = within[0] & within[1]
    return int(sum(bool((sees_bond & within[unit]).any()) for unit in range(2, length)))


def _nearest_atom(positions: FloatArray, molecule: IntArray) -> FloatArray:
    """Distance from every atom to the nearest atom of every molecule, shape (molecules, atoms), A."""
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return np.stack([distances[molecule == unit].min(axis=0) for unit in np.unique(molecule)])
