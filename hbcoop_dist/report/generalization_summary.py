"""What a generalization store says, in sentences made from its numbers; networks of several kinds one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import xarray as xr

from hbcoop_dist.analysis.generalization import RANDOM, degradation, errors
from hbcoop_dist.report.claims_table import claims_sentence

_NONE = "none"


def headline(ds: xr.Dataset) -> str:
    """The one sentence above all: interaction energies beyond the cutoff, with a scheme and without; or nothing."""
    for one in _networks(ds):
        means, where = _beyond(one), f"{one['dataset'].values}{_by(ds, one)}"
        if _NONE in means and len(means) > 1:
            best = min((name for name in means if name != _NONE), key=means.__getitem__)
            return (
                f"Beyond the cutoff on {where}: {best} {means[best]:.1f}, no scheme {means[_NONE]:.1f} kcal/mol "
                "(RMSE of interaction energies, all splits)"
            )
    return ""


def summary(ds: xr.Dataset) -> tuple[str, ...]:
    """Sentences, the most telling first."""
    return tuple(_sentences(ds))


def _sentences(ds: xr.Dataset) -> Iterator[str]:
    done = int((ds["status"] == "done").sum())
    yield (
        f"{done} networks: {_list(ds, 'dataset')} x {_list(ds, 'split')} x {_list(ds, 'architecture')} x "
        f"{_list(ds, 'scheme')} x {ds.sizes['seed']} seed{'s' if ds.sizes['seed'] > 1 else ''}."
    )
    for one in _networks(ds):
        if means := _beyond(one):
            words = ", ".join(
                f"`{name}` {value:.1f}" for name, value in sorted(means.items(), key=lambda item: item[1])
            )
            where = f"`{one['dataset'].values}`{_by(ds, one)}"
            yield f"Interaction energies of {where} beyond the cutoff, RMSE over all splits, kcal/mol: {words}."
    for one in _networks(ds):
        yield from _lost(ds, one)
    for one in _networks(ds):
        yield from _charges(ds, one)
    if judged := claims_sentence(ds):
        yield judged
    if ds.sizes["seed"] == 1:
        yield "One seed each: how much of a difference another seed would make is not known from this store."


def _list(ds: xr.Dataset, dim: str) -> str:
    return ", ".join(f"`{label}`" for label in ds[dim].values)


def _networks(ds: xr.Dataset) -> Iterator[xr.Dataset]:
    """Set by set and architecture by architecture, of the schemes that have networks there."""
    for dataset, architecture in product(ds["dataset"].values, ds["architecture"].values):
        one = ds.sel(dataset=dataset, architecture=architecture)
        there = (one["status"] == "done").any(["split", "seed"])
        if bool(there.any()):
            yield one.isel(scheme=np.flatnonzero(there.values))


def _by(ds: xr.Dataset, one: xr.Dataset) -> str:
    """Which networks, where a store has several kinds."""
    return f" by {one['architecture'].values}" if ds.sizes["architecture"] > 1 else ""


def _beyond(one: xr.Dataset) -> dict[str, float]:
    """RMSE beyond the cutoff by scheme; the splits' squares averaged, where all schemes have the split."""
    found = errors(one)["interaction_beyond_rmse"].mean("seed")
    shared = found.notnull().all("scheme")
    if not bool(shared.any()):
        return {}
    mean = (found.where(shared) ** 2).mean("split") ** 0.5
    return {str(name): float(mean.sel(scheme=name)) for name in one["scheme"].values}


def _lost(ds: xr.Dataset, one: xr.Dataset) -> Iterator[str]:
    if RANDOM not in one["split"].values or one.sizes["split"] < 2:
        return
    mean = degradation(one)["forces_rmse"].mean(["split", "seed"])
    words = [
        f"`{name}` {float(mean.sel(scheme=name)):.2f}"
        for name in map(str, one["scheme"].values)
        if np.isfinite(float(mean.sel(scheme=name)))
    ]
    if words:
        yield (
            f"Where the test set of `{one['dataset'].values}` lies elsewhere, force errors{_by(ds, one)} are so many "
            f"times those of the random split: {', '.join(words)}."
        )


def _charges(ds: xr.Dataset, one: xr.Dataset) -> Iterator[str]:
    """Correlations by their size: charges that only energies taught have either sign."""
    known = errors(one)["charges_correlation"]
    words = []
    for name in map(str, one["scheme"].values):
        values = known.sel(scheme=name).values
        values = values[np.isfinite(values)]
        if len(values):
            inverted = int((values < 0).sum())
            note = f" (inverted in {inverted} of {len(values)})" if inverted else ""
            words.append(f"`{name}` {np.abs(values).mean():.2f}{note}")
    if words:
        where = f"`{one['dataset'].values}`{_by(ds, one)}"
        yield f"Charges of {where} correlate with the reference's, by size: {', '.join(words)}."
