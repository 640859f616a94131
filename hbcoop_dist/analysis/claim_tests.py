"""Errors of trained networks, and tests of the claims of Sanocki and Zavadlav (2026) with confidence intervals.

All comparisons are paired: a network with a scheme is compared with the network without it on the same set, split and
seed, so that the difficulty of a test set cancels. The mean over seeds has a 95 % interval (Student's t). A claim is
undecided when its interval contains the deciding value, or when there is one seed only; it is untested when the store
lacks the networks. A claim that nothing changes is agreed to when the interval contains zero and no change above
`NOISE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.core.arrays import FloatArray

TITLES = {
    "energy_rmse": "energy",
    "forces_rmse": "forces",
    "interaction_near_rmse": "interaction within the cutoff",
    "interaction_beyond_rmse": "interaction beyond the cutoff",
    "charges_mae": "charges",
    "charges_correlation": "correlation of charges",
    "dipole_rmse": "dipole",
}
"""Error variables of a generalization store and their titles in figures."""
ERRORS = tuple(TITLES)
RANDOM = "random"
AGREED, CONTRADICTED, UNDECIDED, UNTESTED = "agreed", "contradicted", "undecided", "untested"
QUANTITIES = MappingProxyType(
    {
        "energy_rmse": "energy",
        "forces_rmse": "forces",
        "interaction_beyond_rmse": "interaction beyond the cutoff",
    }
)
"""Errors that claims refer to; the last is an addition of this package."""
LONG_RANGE = ("les", "celli", "efa")
INFERRED = 0.5
"""Correlation with the reference's charges from which on charges count as inferred: a quarter of the variance."""
NOISE = 20.0
"""Per cent; largest change that counts as none when it may be zero. Larger ones would be worth having."""
_LOCAL = ("energy_rmse", "forces_rmse")
_MAXSEP = ("maxsep_paper", "maxsep_fps")


def axis_label(ds: xr.Dataset, error: str) -> str:
    """Axis label of an error: its statistic and unit.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.
    error : str
        One of `ERRORS`, or another variable whose name ends in its statistic.
    """
    statistic = error.rpartition("_")[2]
    name = statistic.upper() if statistic in ("rmse", "mae") else statistic
    unit = str(ds[error].attrs["units"]).replace("angstrom", "A")
    per_atom = " per atom" if error.startswith("energy") else ""
    return name if unit == "1" else f"{name}, {unit}{per_atom}"


def one_network(ds: xr.Dataset, dataset: str | None, architecture: str | None) -> xr.Dataset:
    """Select one set and one architecture.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.
    dataset, architecture : str or None
        Labels; None selects the first of the store.
    """
    return ds.sel(
        dataset=ds["dataset"].values[0] if dataset is None else dataset,
        architecture=ds["architecture"].values[0] if architecture is None else architecture,
    )


def errors(ds: xr.Dataset) -> xr.Dataset:
    """Select the errors of networks that are done; others are NaN.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store, dims (dataset, split, architecture, scheme, seed).
    """
    return ds[list(ERRORS)].where(ds["status"] == "done")


def degradation(ds: xr.Dataset) -> xr.Dataset:
    """Divide RMS errors by those of the random split of the same set, architecture, scheme and seed.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.

    Returns
    -------
    xarray.Dataset
        Ratios on the other splits; 1 where nothing is lost.

    Raises
    ------
    ValueError
        When the store has no random split.
    """
    if RANDOM not in ds["split"].values:
        raise ValueError(f"degradation: expected a split {RANDOM}, found {', '.join(map(str, ds['split'].values))}")
    rmse = errors(ds)[[name for name in ERRORS if name.endswith("_rmse")]]
    ratio = rmse / rmse.sel(split=RANDOM, drop=True)
    return ratio.sel(split=[name for name in ds["split"].values if name != RANDOM])


def errors_table(ds: xr.Dataset) -> pd.DataFrame:
    """Tabulate errors averaged over seeds.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store.

    Returns
    -------
    DataFrame
        One row per set, split, architecture and scheme with a done network, in the order of the store: ``seeds``
        (number of done networks) and one column per error that the store has, in its units.
    """
    mean = errors(ds).mean("seed").assign(seeds=(ds["status"] == "done").sum("seed"))
    frame = mean.to_dataframe().reset_index()
    order = ["dataset", "split", "architecture", "scheme"]
    ranks = {dim: {label: rank for rank, label in enumerate(ds[dim].values.tolist())} for dim in order}
    frame = frame.sort_values(order, key=lambda column: column.map(ranks[str(column.name)]))
    frame = frame[frame["seeds"] > 0]
    columns = [name for name in ERRORS if bool(frame[name].notna().any())]
    return frame[[*order, "seeds", *columns]].reset_index(drop=True)


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and the test of it.

    Attributes
    ----------
    name, text : str
        Short name, and the claim in the words of this package.
    measure : str
        Description of the measured number.
    values : callable
        (networks of one set, quantity, scheme) -> one number per seed, or None where networks are missing.
    verdict : callable
        (low, high) of the 95 % interval -> verdict.
    needs : str
        Networks that the test needs.
    quantities, schemes : tuple of str
        The claim is tested for each combination of these.
    """

    name: str
    text: str
    measure: str
    values: Callable[[_Networks, str, str], xr.DataArray | None]
    verdict: Callable[[float, float], str]
    needs: str
    quantities: tuple[str, ...] = tuple(QUANTITIES)
    schemes: tuple[str, ...] = ("",)


def claims(ds: xr.Dataset) -> pd.DataFrame:
    """Test every claim for each set, quantity and scheme.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a generalization store, dims (dataset, split, architecture, scheme, seed).

    Returns
    -------
    DataFrame
        Columns claim, statement (the claim in words), set, quantity, scheme, measure, value, low, high (95 % interval
        of the mean over seeds), seeds, verdict, why. A claim that the store cannot test has one row.

    Notes
    -----
    Source: Sanocki and Zavadlav (2026); the claims are paraphrased.
    """
    return pd.DataFrame([row for claim in CLAIMS for row in _rows(claim, ds)])


def _rows(claim: Claim, ds: xr.Dataset) -> Iterator[dict[str, object]]:
    tested = False
    for dataset in map(str, ds["dataset"].values):
        networks = _Networks(ds.sel(dataset=dataset))
        for quantity, scheme in product(claim.quantities, claim.schemes):
            values = claim.values(networks, quantity, scheme)
            numbers = np.zeros(0) if values is None else np.asarray(values.dropna("seed"), dtype=np.float64)
            if len(numbers):
                tested = True
                yield _row(claim, dataset, QUANTITIES.get(quantity, ""), scheme) | _judged(claim, numbers)
    if not tested:
        missing = {"value": np.nan, "low": np.nan, "high": np.nan, "seeds": 0, "verdict": UNTESTED}
        yield _row(claim) | missing | {"why": f"the store has no {claim.needs}"}


def _row(claim: Claim, dataset: str = "", quantity: str = "", scheme: str = "") -> dict[str, object]:
    labels = {"claim": claim.name, "statement": claim.text, "set": dataset, "quantity": quantity, "scheme": scheme}
    return {**labels, "measure": claim.measure}


def _judged(claim: Claim, numbers: FloatArray) -> dict[str, object]:
    mean, low, high = float(numbers.mean()), np.nan, np.nan
    verdict, why = UNDECIDED, "one seed, so no error bar"
    if len(numbers) > 1:
        low, high = interval(numbers)
        verdict = claim.verdict(low, high)
        why = "the interval does not decide" if verdict == UNDECIDED else ""
    return {"value": mean, "low": low, "high": high, "seeds": len(numbers), "verdict": verdict, "why": why}


def interval(numbers: FloatArray) -> tuple[float, float]:
    """95 % confidence interval of a mean (Student's t).

    Parameters
    ----------
    numbers : (N,) array
        Two numbers or more.
    """
    from scipy.stats import t

    mean, error = float(numbers.mean()), float(numbers.std(ddof=1)) / np.sqrt(len(numbers))
    half = float(t.ppf(0.975, len(numbers) - 1)) * error
    return mean - half, mean + half


class _Networks:
    """Networks of one set: their errors, and labels by what they stand for."""

    def __init__(self, ds: xr.Dataset) -> None:
        self.ds = ds[[*QUANTITIES, "charges_correlation"]].where(ds["status"] == "done")
        self.set = json.loads(str(ds["dataset_definition"].values))
        self._architectures = _definitions(ds, "architecture")
        self._schemes = _definitions(ds, "scheme")
        self.splits = [str(split) for split in ds["split"].values]

    def architecture(self, family: str) -> str | None:
        """Label of the first network of a family."""
        return next((name for name, entry in self._architectures.items() if entry["architecture"] == family), None)

    def deeper(self, name: str) -> str | None:
        """Label of the same network with more layers."""
        base = self._architectures[name]
        for other, entry in self._architectures.items():
            if entry["layers"] > base["layers"] and {**entry, "layers": 0} == {**base, "layers": 0}:
                return other
        return None

    def scheme(self, kind: str, **options: object) -> str | None:
        """Label of the scheme of a kind with exactly these options."""
        definition = {"scheme": kind, "options": options}
        return next((name for name, entry in self._schemes.items() if entry == definition), None)

    def error(self, quantity: str, architecture: str, scheme: str, split: str) -> xr.DataArray:
        """Error of each seed."""
        return self.ds[quantity].sel(architecture=architecture, scheme=scheme, split=split, drop=True)

    def gain(self, quantity: str, family: str, kind: str, splits: Sequence[str]) -> xr.DataArray | None:
        """Per cent by which a long-range scheme lowers an error, mean over splits, for each seed."""
        name, none, scheme = self.architecture(family), self.scheme("none"), self.scheme(kind)
        present = [split for split in splits if split in self.splits]
        if name is None or none is None or scheme is None or not present or not self.biased:
            return None
        return _mean(
            [
                100.0 * (1.0 - self.error(quantity, name, scheme, split) / self.error(quantity, name, none, split))
                for split in present
            ]
        )

    @property
    def biased(self) -> list[str]:
        """Splits with networks whose test set differs from the training set."""
        trained = self.ds["energy_rmse"].notnull().any(["architecture", "scheme", "seed"])
        return [split for split in self.splits if split != RANDOM and bool(trained.sel(split=split))]


def _definitions(ds: xr.Dataset, dim: str) -> dict[str, dict[str, Any]]:
    return {
        str(label): json.loads(str(text))
        for label, text in zip(ds[dim].values, ds[f"{dim}_definition"].values, strict=True)
    }


def _mean(parts: list[xr.DataArray]) -> xr.DataArray:
    """Mean over parts for each seed; NaN for a seed that lacks one."""
    return xr.concat(parts, "part").mean("part", skipna=False)


def _random_gain(networks: _Networks, quantity: str, scheme: str) -> xr.DataArray | None:
    return networks.gain(quantity, "mace", scheme, (RANDOM,))


def _maxsep_gain(networks: _Networks, quantity: str, scheme: str) -> xr.DataArray | None:
    return networks.gain(quantity, "mace", scheme, _MAXSEP)


def _allegro_less_mace_gain(networks: _Networks, quantity: str, scheme: str) -> xr.DataArray | None:
    allegro, mace = (networks.gain(quantity, family, scheme, networks.splits) for family in ("allegro", "mace"))
    return None if allegro is None or mace is None else allegro - mace


def _depth_loss(networks: _Networks, quantity: str, _: str) -> xr.DataArray | None:
    name, none = networks.architecture("mace"), networks.scheme("none")
    deeper = None if name is None else networks.deeper(name)
    if name is None or none is None or deeper is None or not networks.biased:
        return None
    return _mean(
        [
            100.0 * (networks.error(quantity, deeper, none, split) / networks.error(quantity, name, none, split) - 1.0)
            for split in networks.biased
        ]
    )


def _cluster_loss(networks: _Networks, quantity: str, _: str) -> xr.DataArray | None:
    names, none = [networks.architecture(family) for family in ("dimenet++", "mace")], networks.scheme("none")
    if none is None or not {RANDOM, "cluster"} <= set(networks.splits):
        return None
    losses = [
        networks.error(quantity, name, none, "cluster") / networks.error(quantity, name, none, RANDOM)
        for name in names
        if name is not None
    ]
    return losses[0] - losses[1] if len(losses) == 2 else None


def _charge_embedding_gain(networks: _Networks, quantity: str, _: str) -> xr.DataArray | None:
    name, none, embedded = networks.architecture("mace"), networks.scheme("none"), networks.scheme("charge-embedding")
    if name is None or none is None or embedded is None or networks.set["generate"] != "charge-states":
        return None
    return networks.error(quantity, name, none, RANDOM) / networks.error(quantity, name, embedded, RANDOM)


def _charge_correlation(networks: _Networks, quantity: str, kind: str) -> xr.DataArray | None:
    name = networks.architecture("mace")
    scheme = networks.scheme(kind, charge_loss=False) if kind == "celli" else networks.scheme(kind)
    if name is None or scheme is None or RANDOM not in networks.splits or not networks.biased:
        return None
    return abs(networks.error(quantity, name, scheme, RANDOM))


def _zero(low: float, high: float) -> str:
    if not low <= 0.0 <= high:
        return CONTRADICTED
    # an interval as wide as a real effect shows neither an effect nor its absence
    return AGREED if max(-low, high) <= NOISE else UNDECIDED


def _above(limit: float) -> Callable[[float, float], str]:
    return lambda low, high: AGREED if low > limit else CONTRADICTED if high < limit else UNDECIDED


def _below(limit: float) -> Callable[[float, float], str]:
    return lambda low, high: AGREED if high < limit else CONTRADICTED if low > limit else UNDECIDED


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
        _allegro_less_mace_gain,
        _above(0.0),
        "Allegro beside MACE with and without long-range schemes",
        schemes=LONG_RANGE,
    ),
    Claim(
        "layers",
        "More message-passing layers instead of a long-range scheme hurt on biased splits.",
        "error raised by more layers, %",
        _depth_loss,
        _above(0.0),
        "MACE with more layers beside the same with fewer on a biased split",
        # without a scheme the interaction beyond the cutoff is zero at any depth
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
        _charge_embedding_gain,
        _above(1.0),
        "set of charge states learnt with and without the total charge",
        _LOCAL,
    ),
    Claim(
        "charges",
        "Charges are not inferred from energies and forces without labels.",
        f"correlation of charges by size, no charges in the loss; inferred from {INFERRED} on",
        _charge_correlation,
        _below(INFERRED),
        "MACE with charges that were not trained on reference charges",
        ("charges_correlation",),
        ("les", "celli"),
    ),
)
