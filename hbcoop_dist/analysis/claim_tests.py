"""Hold a generalization store against the claims of Sanocki and Zavadlav (2026), one by one, with error bars.

Everything is paired: a network with a scheme is compared with the one without it on the same set, split and seed, so
that what a test set is like drops out.  Over seeds the mean has a 95 % interval (Student); where it holds the value
that would decide, or there is one seed, nothing is decided and the claim counts as untested. That something changes
nothing is agreed to where the interval holds zero and no change above `NOISE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.generalization_errors import RANDOM

AGREED, CONTRADICTED, UNTESTED = "agreed", "contradicted", "untested"
QUANTITIES = MappingProxyType(
    {
        "energy_rmse": "energy",
        "forces_rmse": "forces",
        "interaction_beyond_rmse": "interaction beyond the cutoff",
    }
)
"""Errors by which claims are judged; the last is ours, the paper has none."""
LONG_RANGE = ("les", "celli", "efa")
INFERRED = 0.5
"""Correlation of charges with the reference's from which on they are called inferred: a quarter of the variance."""
NOISE = 20.0
"""Per cent up to which a change that may be zero is called none: larger ones would be worth having."""
_LOCAL = ("energy_rmse", "forces_rmse")
_MAXSEP = ("maxsep_paper", "maxsep_fps")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and how it is tested.

    Attributes
    ----------
    name, text : str
        A word for it, and what the paper says, in ours.
    measure : str
        What the number is.
    values : callable
        (_Store, quantity, scheme) to the number of every seed; None where the store has not what it takes.
    quantities, schemes : tuple of str
        What it is asked of, one by one.
    verdict : callable
        (low, high) of the 95 % interval to a verdict.
    needs : str
        What is missing where it could not be tested.
    """

    name: str
    text: str
    measure: str
    values: Callable[[_Store, str, str], xr.DataArray | None]
    verdict: Callable[[float, float], str]
    needs: str
    quantities: tuple[str, ...] = tuple(QUANTITIES)
    schemes: tuple[str, ...] = ("",)


def claims(ds: xr.Dataset) -> pd.DataFrame:
    """One row per claim, set, quantity and scheme; claims that the store cannot test have one row that says why.

    Parameters
    ----------
    ds : xarray.Dataset
        Of a generalization store, dims (dataset, split, architecture, scheme, seed).

    Returns
    -------
    DataFrame
        Columns claim, says, set, quantity, scheme, measure, value, low, high (95 % interval of the mean over seeds),
        seeds, verdict, why.

    Notes
    -----
    Source: Sanocki and Zavadlav (2026); claims in the words of this package.
    """
    rows = [row for claim in CLAIMS for row in _rows(claim, ds)]
    return pd.DataFrame(rows)


def _rows(claim: Claim, ds: xr.Dataset) -> Iterator[dict[str, object]]:
    found = False
    for dataset in map(str, ds["dataset"].values):
        store = _Store(ds.sel(dataset=dataset))
        for quantity, scheme in product(claim.quantities, claim.schemes):
            values = claim.values(store, quantity, scheme)
            numbers = np.zeros(0) if values is None else np.asarray(values.dropna("seed"), dtype=np.float64)
            if len(numbers):
                found = True
                said = {"set": dataset, "quantity": QUANTITIES.get(quantity, ""), "scheme": scheme}
                said["measure"] = claim.measure
                yield {"claim": claim.name, "says": claim.text, **said, **_judged(claim, numbers)}
    if not found:
        nothing: dict[str, object] = {"set": "", "quantity": "", "scheme": "", "measure": claim.measure}
        nothing |= {"value": np.nan, "low": np.nan, "high": np.nan}
        why = f"the store has no {claim.needs}"
        yield {"claim": claim.name, "says": claim.text, **nothing, "seeds": 0, "verdict": UNTESTED, "why": why}


def _judged(claim: Claim, numbers: np.ndarray) -> dict[str, object]:
    mean, low, high = float(numbers.mean()), np.nan, np.nan
    verdict, why = UNTESTED, "one seed, so no error bar"
    if len(numbers) > 1:
        low, high = interval(numbers)
        verdict = claim.verdict(low, high)
        why = "the interval does not decide" if verdict == UNTESTED else ""
    return {"value": mean, "low": low, "high": high, "seeds": len(numbers), "verdict": verdict, "why": why}


def interval(numbers: np.ndarray) -> tuple[float, float]:
    """95 % interval (Student) of the mean of at least two numbers."""
    from scipy.stats import t

    mean, error = float(numbers.mean()), float(numbers.std(ddof=1)) / np.sqrt(len(numbers))
    half = float(t.ppf(0.975, len(numbers) - 1)) * error
    return mean - half, mean + half


class _Store:
    """One set of a store, and which of its labels are what."""

    def __init__(self, ds: xr.Dataset) -> None:
        self.ds = ds[[*QUANTITIES, "charges_correlation"]].where(ds["status"] == "done")
        self.set = json.loads(str(ds["dataset_definition"].values))
        self._architectures = _definitions(ds, "architecture")
        self._schemes = _definitions(ds, "scheme")
        self.splits = [str(split) for split in ds["split"].values]

    def architecture(self, family: str) -> str | None:
        """The first network of a family."""
        return next((name for name, one in self._architectures.items() if one["architecture"] == family), None)

    def deeper(self, name: str) -> str | None:
        """The same network with more layers."""
        base = self._architectures[name]
        for other, one in self._architectures.items():
            if one["layers"] > base["layers"] and {**one, "layers": 0} == {**base, "layers": 0}:
                return other
        return None

    def scheme(self, kind: str, **options: object) -> str | None:
        """The scheme of a kind with these options and no others."""
        wanted = {"scheme": kind, "options": options}
        return next((name for name, one in self._schemes.items() if one == wanted), None)

    def error(self, quantity: str, architecture: str, scheme: str, split: str) -> xr.DataArray:
        """Of every seed."""
        return self.ds[quantity].sel(architecture=architecture, scheme=scheme, split=split, drop=True)

    def gain(self, quantity: str, family: str, kind: str, splits: tuple[str, ...] | list[str]) -> xr.DataArray | None:
        """Per cent by which a long-range scheme lowers an error, mean over splits, of every seed."""
        name, none, scheme = self.architecture(family), self.scheme("none"), self.scheme(kind)
        here = [split for split in splits if split in self.splits]
        if name is None or none is None or scheme is None or not here or not self.biased:
            return None
        return _mean(
            [
                100.0 * (1.0 - self.error(quantity, name, scheme, split) / self.error(quantity, name, none, split))
                for split in here
            ]
        )

    @property
    def biased(self) -> list[str]:
        """Splits whose test set lies elsewhere, of which there are networks."""
        seen = self.ds["energy_rmse"].notnull().any(["architecture", "scheme", "seed"])
        return [split for split in self.splits if split != RANDOM and bool(seen.sel(split=split))]


def _definitions(ds: xr.Dataset, dim: str) -> dict[str, dict[str, Any]]:
    return {
        str(label): json.loads(str(text))
        for label, text in zip(ds[dim].values, ds[f"{dim}_definition"].values, strict=True)
    }


def _mean(parts: list[xr.DataArray]) -> xr.DataArray:
    """Mean of what there is of every seed: only seeds that have all of them count."""
    return xr.concat(parts, "part").mean("part", skipna=False)


def _random_gain(store: _Store, quantity: str, scheme: str) -> xr.DataArray | None:
    return store.gain(quantity, "mace", scheme, (RANDOM,))


def _maxsep_gain(store: _Store, quantity: str, scheme: str) -> xr.DataArray | None:
    return store.gain(quantity, "mace", scheme, _MAXSEP)


def _more_than_mace(store: _Store, quantity: str, scheme: str) -> xr.DataArray | None:
    allegro, mace = (store.gain(quantity, family, scheme, store.splits) for family in ("allegro", "mace"))
    return None if allegro is None or mace is None else allegro - mace


def _of_depth(store: _Store, quantity: str, _: str) -> xr.DataArray | None:
    name, none = store.architecture("mace"), store.scheme("none")
    deeper = None if name is None else store.deeper(name)
    if name is None or none is None or deeper is None or not store.biased:
        return None
    return _mean(
        [
            100.0 * (store.error(quantity, deeper, none, split) / store.error(quantity, name, none, split) - 1.0)
            for split in store.biased
        ]
    )


def _cluster_loss(store: _Store, quantity: str, _: str) -> xr.DataArray | None:
    names, none = [store.architecture(family) for family in ("dimenet++", "mace")], store.scheme("none")
    if none is None or not {RANDOM, "cluster"} <= set(store.splits):
        return None
    losses = [
        store.error(quantity, name, none, "cluster") / store.error(quantity, name, none, RANDOM)
        for name in names
        if name is not None
    ]
    return losses[0] - losses[1] if len(losses) == 2 else None


def _degenerate(store: _Store, quantity: str, _: str) -> xr.DataArray | None:
    name, none, embedded = store.architecture("mace"), store.scheme("none"), store.scheme("charge-embedding")
    if name is None or none is None or embedded is None or store.set["generate"] != "charge-states":
        return None
    return store.error(quantity, name, none, RANDOM) / store.error(quantity, name, embedded, RANDOM)


def _unlabelled(store: _Store, quantity: str, kind: str) -> xr.DataArray | None:
    name = store.architecture("mace")
    scheme = store.scheme(kind, charge_loss=False) if kind == "celli" else store.scheme(kind)
    if name is None or scheme is None or RANDOM not in store.splits or not store.biased:
        return None
    return abs(store.error(quantity, name, scheme, RANDOM))


def _zero(low: float, high: float) -> str:
    if not low <= 0.0 <= high:
        return CONTRADICTED
    # an interval as wide as a real effect says neither that there is one nor that there is none
    return AGREED if max(-low, high) <= NOISE else UNTESTED


def _above(limit: float) -> Callable[[float, float], str]:
    return lambda low, high: AGREED if low > limit else CONTRADICTED if high < limit else UNTESTED


def _below(limit: float) -> Callable[[float, float], str]:
    return lambda low, high: AGREED if high < limit else CONTRADICTED if low > limit else UNTESTED


CLAIMS = (
    Claim(
        "random",
        "On random splits long-range schemes change MACE's errors no more than noise does.",
        "error lowered by the scheme, %",
        _random_gain,
        _zero,
        "MACE with and without a long-range scheme on a random split beside a biased one",
        schemes=LONG_RANGE,
    ),
    Claim(
        "maxsep",
        "On maximally separated splits long-range schemes help even MACE.",
        "error lowered by the scheme, %",
        _maxsep_gain,
        _above(0.0),
        "MACE with and without a long-range scheme on a maxsep split",
        schemes=LONG_RANGE,
    ),
    Claim(
        "allegro",
        "Strictly local Allegro gains more from long-range schemes than MACE.",
        "error lowered for Allegro less that for MACE, percentage points",
        _more_than_mace,
        _above(0.0),
        "Allegro beside MACE with and without long-range schemes",
        schemes=LONG_RANGE,
    ),
    Claim(
        "layers",
        "More message-passing layers instead of a long-range scheme hurt on biased splits.",
        "error raised by more layers, %",
        _of_depth,
        _above(0.0),
        "MACE with more layers beside the same with fewer on a biased split",
        # beyond the cutoff no network without a scheme sees anything, however deep
        _LOCAL,
    ),
    Claim(
        "dimenet++",
        "DimeNet++ fails on the cluster split.",
        "error on cluster over that on random: DimeNet++ less MACE",
        _cluster_loss,
        _above(0.0),
        "DimeNet++ beside MACE on cluster and random splits",
        _LOCAL,
    ),
    Claim(
        "charge states",
        "Without the charge as input charge states of one geometry are the same to a network.",
        "error without over with the total charge as input",
        _degenerate,
        _above(1.0),
        "set of charge states learnt with and without the total charge",
        _LOCAL,
    ),
    Claim(
        "charges",
        "Charges are not inferred from energies and forces without labels.",
        f"correlation of charges by size, no charges in the loss; inferred from {INFERRED} on",
        _unlabelled,
        _below(INFERRED),
        "MACE with charges that were not trained on reference charges",
        ("charges_correlation",),
        ("les", "celli"),
    ),
)
