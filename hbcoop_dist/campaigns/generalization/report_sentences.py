"""Summary of a report on trained networks, in sentences made from the values of a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

import numpy as np
import xarray as xr

from hbcoop_dist.analysis.claim_tests import AGREED, CONTRADICTED, UNTESTED, claims
from hbcoop_dist.analysis.generalization_errors import RANDOM, degradation, errors, one_network

_NO_SCHEME = "none"


def headline(ds: xr.Dataset) -> str:
    """One line for the top of the page: interaction energies beyond the cutoff with and without a scheme.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``generalization``.

    Returns
    -------
    str
        Of the first set and network that has both; empty when there is none.
    """
    for name, network in _networks(ds):
        rmse, splits = _rmse_beyond_cutoff(network)
        if _NO_SCHEME in rmse and len(rmse) > 1:
            best = min((scheme for scheme in rmse if scheme != _NO_SCHEME), key=rmse.__getitem__)
            return (
                f"Beyond the cutoff, {name}: {best} {rmse[best]:.1f}, no scheme {rmse[_NO_SCHEME]:.1f} kcal/mol "
                f"(RMSE of interaction energies, {splits})"
            ).replace("`", "")
    return ""


def summary(ds: xr.Dataset) -> tuple[str, ...]:
    """Sentences about a store.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``generalization``.

    Returns
    -------
    tuple of str
    """
    return tuple(_sentences(ds))


def _sentences(ds: xr.Dataset) -> Iterator[str]:
    done, requested = int((ds["status"] == "done").sum()), int((ds["status"] != "skipped").sum())
    axes = " x ".join(_join(map(str, ds[dim].values)) for dim in ("dataset", "split", "architecture", "scheme"))
    seeds = f"{ds.sizes['seed']} seed{'s' if ds.sizes['seed'] > 1 else ''}"
    yield f"{done} of {requested} networks are done: {axes} x {seeds}."
    for name, network in _networks(ds):
        rmse, splits = _rmse_beyond_cutoff(network)
        if rmse:
            values = _values(dict(sorted(rmse.items(), key=lambda item: item[1])), 1)
            yield f"Interaction energies beyond the cutoff, {name}, RMSE over {splits}, kcal/mol: {values}."
    for name, network in _networks(ds):
        yield from _degradation(name, network)
    for name, network in _networks(ds):
        yield from _charges(name, network)
    yield from _claims(ds)
    if ds.sizes["seed"] == 1:
        yield "There is one seed, so the variation between seeds is not known."


def _networks(ds: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Every set and architecture with its name: that of the set alone when there is one architecture."""
    for dataset, architecture in product(map(str, ds["dataset"].values), map(str, ds["architecture"].values)):
        name = f"`{dataset}`" if ds.sizes["architecture"] == 1 else f"`{architecture}` on `{dataset}`"
        yield name, one_network(ds, dataset, architecture)


def _rmse_beyond_cutoff(network: xr.Dataset) -> tuple[dict[str, float], str]:
    """RMSE by scheme over the splits that all schemes have, and the names of those splits."""
    by_split = errors(network)["interaction_beyond_rmse"].mean("seed").dropna("scheme", how="all").dropna("split")
    if not by_split.size:
        return {}, ""
    is_complete = by_split.sizes["split"] == network.sizes["split"]
    splits = "all splits" if is_complete else _join(map(str, by_split["split"].values))
    return _by_scheme((by_split**2).mean("split") ** 0.5), splits


def _degradation(name: str, network: xr.Dataset) -> Iterator[str]:
    if RANDOM not in network["split"].values or network.sizes["split"] < 2:
        return
    if ratios := _by_scheme(degradation(network)["forces_rmse"].mean(["seed", "split"])):
        yield f"Force errors relative to the random split, {name}, mean over the other splits: {_values(ratios, 2)}."


def _charges(name: str, network: xr.Dataset) -> Iterator[str]:
    """Magnitudes of correlations: charges trained on energies alone are determined up to their sign."""
    correlations = errors(network)["charges_correlation"]
    parts = []
    for scheme in map(str, network["scheme"].values):
        values = correlations.sel(scheme=scheme).values
        values = values[np.isfinite(values)]
        if len(values):
            inverted = int((values < 0).sum())
            note = f" (negative in {inverted} of {len(values)})" if inverted else ""
            parts.append(f"`{scheme}` {np.abs(values).mean():.2f}{note}")
    if parts:
        yield f"Magnitude of the correlation of charges with the reference charges, {name}: {', '.join(parts)}."


def _claims(ds: xr.Dataset) -> Iterator[str]:
    """Counts of verdicts by claim; nothing when all are undecided."""
    frame = claims(ds)
    if set(frame["verdict"]) == {UNTESTED}:
        return
    parts = []
    for claim, rows in frame.groupby("claim", sort=False):
        counts = rows["verdict"].value_counts()
        verdicts = [f"{counts[name]} {name}" for name in (AGREED, CONTRADICTED, UNTESTED) if name in counts]
        parts.append(f"{claim} {', '.join(verdicts)}")
    yield f"Claims of Sanocki and Zavadlav (2026), comparisons by quantity and scheme: {'; '.join(parts)}."


def _by_scheme(values: xr.DataArray) -> dict[str, float]:
    known = values.dropna("scheme")
    return dict(zip(map(str, known["scheme"].values), known.values.tolist(), strict=True))


def _values(values: Mapping[str, float], digits: int) -> str:
    return ", ".join(f"`{name}` {value:.{digits}f}" for name, value in values.items())


def _join(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
