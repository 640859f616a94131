"""What a generalization store says, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from hbcoop_dist.analysis.generalization import RANDOM, degradation, errors

_NONE = "none"


def headline(ds: xr.Dataset) -> str:
    """The one sentence above all: interaction energies beyond the cutoff, with a scheme and without; or nothing."""
    for dataset in map(str, ds["dataset"].values):
        means = _beyond(ds, dataset)
        if _NONE in means and len(means) > 1:
            best = min((name for name in means if name != _NONE), key=means.__getitem__)
            return (
                f"Beyond the cutoff on {dataset}: {best} {means[best]:.1f}, no scheme {means[_NONE]:.1f} kcal/mol "
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
    for dataset in map(str, ds["dataset"].values):
        if means := _beyond(ds, dataset):
            words = ", ".join(
                f"`{name}` {value:.1f}" for name, value in sorted(means.items(), key=lambda item: item[1])
            )
            yield f"Interaction energies of `{dataset}` beyond the cutoff, RMSE over all splits, kcal/mol: {words}."
    yield from _lost(ds)
    yield from _charges(ds)
    if ds.sizes["seed"] == 1:
        yield "One seed each: differences of a few tenths between schemes are within what another seed would change."


def _list(ds: xr.Dataset, dim: str) -> str:
    return ", ".join(f"`{label}`" for label in ds[dim].values)


def _beyond(ds: xr.Dataset, dataset: str) -> dict[str, float]:
    """RMSE beyond the cutoff by scheme; the splits' squares averaged, where all schemes have the split."""
    found = errors(ds)["interaction_beyond_rmse"].sel(dataset=dataset).isel(architecture=0).mean("seed")
    shared = found.notnull().all("scheme")
    if not bool(shared.any()):
        return {}
    mean = (found.where(shared) ** 2).mean("split") ** 0.5
    return {str(name): float(mean.sel(scheme=name)) for name in ds["scheme"].values}


def _lost(ds: xr.Dataset) -> Iterator[str]:
    if RANDOM not in ds["split"].values or ds.sizes["split"] < 2:
        return
    ratio = degradation(ds)["forces_rmse"].mean("seed").isel(architecture=0)
    for dataset in map(str, ds["dataset"].values):
        mean = ratio.sel(dataset=dataset).mean("split")
        words = [
            f"`{name}` {float(mean.sel(scheme=name)):.2f}"
            for name in map(str, ds["scheme"].values)
            if np.isfinite(float(mean.sel(scheme=name)))
        ]
        if words:
            yield (
                f"Where the test set of `{dataset}` lies elsewhere, force errors are so many times those of the random "
                f"split: {', '.join(words)}."
            )


def _charges(ds: xr.Dataset) -> Iterator[str]:
    known = errors(ds)["charges_correlation"].mean("seed").isel(architecture=0)
    for dataset in map(str, ds["dataset"].values):
        mean = known.sel(dataset=dataset).mean("split")
        words = [
            f"`{name}` {float(mean.sel(scheme=name)):+.2f}"
            for name in map(str, ds["scheme"].values)
            if np.isfinite(float(mean.sel(scheme=name)))
        ]
        if words:
            yield f"Charges of `{dataset}` correlate with the reference's (sign as it comes): {', '.join(words)}."
