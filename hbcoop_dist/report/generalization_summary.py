"""What a generalization store says, in sentences made from its numbers; networks of several kinds one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import xarray as xr

from hbcoop_dist.analysis.generalization import RANDOM, degradation, errors, one_network
from hbcoop_dist.report.claims_table import claims_sentence

_NONE = "none"


def headline(ds: xr.Dataset) -> str:
    """The one sentence above all: interaction energies beyond the cutoff, with a scheme and without; or nothing."""
    for where, one in _networks(ds):
        means, splits = _beyond(one)
        if _NONE in means and len(means) > 1:
            best = min((name for name in means if name != _NONE), key=means.__getitem__)
            return (
                f"Beyond the cutoff, {where}: {best} {means[best]:.1f}, no scheme {means[_NONE]:.1f} kcal/mol "
                f"(RMSE of interaction energies, {splits})"
            ).replace("`", "")
    return ""


def summary(ds: xr.Dataset) -> tuple[str, ...]:
    """Sentences, the most telling first."""
    return tuple(_sentences(ds))


def _sentences(ds: xr.Dataset) -> Iterator[str]:
    done, asked = int((ds["status"] == "done").sum()), int((ds["status"] != "skipped").sum())
    axes = " x ".join(_list(map(str, ds[dim].values)) for dim in ("dataset", "split", "architecture", "scheme"))
    seeds = f"{ds.sizes['seed']} seed{'s' if ds.sizes['seed'] > 1 else ''}"
    yield f"{done} of {asked} networks are done: {axes} x {seeds}."
    for where, one in _networks(ds):
        means, splits = _beyond(one)
        if means:
            words = _numbers(dict(sorted(means.items(), key=lambda item: item[1])), 1)
            yield f"Interaction energies beyond the cutoff, {where}, RMSE over {splits}, kcal/mol: {words}."
    for where, one in _networks(ds):
        yield from _lost(where, one)
    for where, one in _networks(ds):
        yield from _charges(where, one)
    if judged := claims_sentence(ds):
        yield judged
    if ds.sizes["seed"] == 1:
        yield "One seed each: how much of a difference another seed would make is not known from this store."


def _networks(ds: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Every set and network, and what to call it: by the set alone where there is one network."""
    for dataset, architecture in product(map(str, ds["dataset"].values), map(str, ds["architecture"].values)):
        where = f"`{dataset}`" if ds.sizes["architecture"] == 1 else f"`{architecture}` on `{dataset}`"
        yield where, one_network(ds, dataset, architecture)


def _beyond(one: xr.Dataset) -> tuple[dict[str, float], str]:
    """RMSE beyond the cutoff by scheme, and over which splits: squares are averaged where all schemes have them."""
    found = errors(one)["interaction_beyond_rmse"].mean("seed").dropna("scheme", how="all")
    shared = found.dropna("split")
    if not shared.size:
        return {}, ""
    splits = "all splits" if shared.sizes["split"] == one.sizes["split"] else _list(map(str, shared["split"].values))
    return _by_scheme((shared**2).mean("split") ** 0.5), splits


def _lost(where: str, one: xr.Dataset) -> Iterator[str]:
    if RANDOM not in one["split"].values or one.sizes["split"] < 2:
        return
    if ratios := _by_scheme(degradation(one)["forces_rmse"].mean(["seed", "split"])):
        yield (
            f"Where the test set lies elsewhere, {where}, force errors are so many times those of the random split: "
            f"{_numbers(ratios, 2)}."
        )


def _charges(where: str, one: xr.Dataset) -> Iterator[str]:
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
        yield f"Charges correlate with the reference's, {where}, by size: {', '.join(words)}."


def _by_scheme(values: xr.DataArray) -> dict[str, float]:
    known = values.dropna("scheme")
    return dict(zip(map(str, known["scheme"].values), known.values.tolist(), strict=True))


def _numbers(values: Mapping[str, float], digits: int) -> str:
    return ", ".join(f"`{name}` {value:.{digits}f}" for name, value in values.items())


def _list(names: Iterator[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
