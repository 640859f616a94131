"""Pages of a report on a store of trained networks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.claim_tests import (
    AGREED,
    CONTRADICTED,
    NOISE,
    RANDOM,
    UNTESTED,
    claims,
    degradation,
    errors,
    errors_table,
    one_network,
)
from hbcoop_dist.analysis.plots.generalization import PARTS, chemical_space, errors_by_split, learning_curves
from hbcoop_dist.analysis.report_content import (
    SOFTWARE_CITATION,
    Chart,
    Interactive,
    Report,
    ReportOptions,
    Table,
    campaign_names,
    campaign_texts,
)
from hbcoop_dist.campaigns.generalization.plan import SOAP_CITATION
from hbcoop_dist.learning.networks.registry import ARCHITECTURES
from hbcoop_dist.models import cards

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

_ABOUT = (
    "Networks of one architecture are trained for the same number of steps on one part of a set of structures and "
    "tested on the rest, with and without long-range schemes (after Sanocki and Zavadlav 2026). In the random split "
    "the test set resembles the training set; in the others it lies elsewhere in chemical space. Interaction energies "
    "are divided by whether any atom of one molecule lies within the cutoff of another: where none does, a network "
    "without a long-range scheme gives zero."
)
_EXPLORER = "Choose an error and the schemes; below, the structures of each split in chemical space. Hover for values."
_FIGURES = "`hbcoop report STORE -o figures.pdf` writes the figures for print."
_LEADERBOARD = (
    "RMSE on the test set, mean over seeds; of interaction energies of molecules within the cutoff of one another "
    "(near) and beyond it; empty where the test set has none. Charges: mean absolute error, and correlation r with its "
    "sign, since networks trained without reference charges may give either sign."
)
_STUDY = "the question: Sanocki and Zavadlav, on long-range corrections and the transferability of force fields (2026)"
_SCHEME_CITATIONS = {
    "charge-embedding": "Unke et al., Nat. Commun. 2021, 12, 7273, doi:10.1038/s41467-021-27504-0",
    "les": "Cheng, npj Comput. Mater. 2025, 11, 80; Kim, King, Zhong and Cheng, Nat. Commun. 2025, 16, 8763",
    "celli": "Sanocki and Zavadlav (2026)",
    "efa": "Frank, Chmiela, Mueller and Unke, arXiv:2412.08541 (2024)",
}
_HEADINGS = {
    "architecture": "network",
    "energy_rmse": "energy, meV/atom",
    "forces_rmse": "forces, meV/A",
    "interaction_near_rmse": "near, kcal/mol",
    "interaction_beyond_rmse": "beyond, kcal/mol",
    "charges_mae": "charges, e",
    "charges_correlation": "charges, r",
    "dipole_rmse": "dipole, e A",
    "n_training": "training structures",
    "best_step": "best step",
}
_CLAIM_COLUMNS = ["claim", "set", "quantity", "scheme", "measure", "value", "low", "high", "seeds", "verdict", "why"]
_NO_SCHEME = "none"


def build_report(ds: xr.Dataset, options: ReportOptions | None = None) -> Report:
    """Sentences, tables and figures of a store of trained networks.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``generalization``.
    options : ReportOptions, optional
        References are refused.

    Returns
    -------
    Report

    Raises
    ------
    ReportError
        When the options name references.
    """
    options = options or ReportOptions()
    options.refuse_references("generalization")
    ds = ds.load()
    board = errors_table(ds).rename(columns=_HEADINGS)
    return Report(
        title=options.title or campaign_names(ds),
        subtitle=headline(ds) or "Do long-range schemes make force fields transfer?",
        topic="generalization of force fields",
        about=_ABOUT,
        figures_caption=_FIGURES,
        summary=summary(ds),
        leaderboard=Table("leaderboard", "Errors by split and scheme", _LEADERBOARD, board),
        tables=tuple(table for table in _tables(ds) if table is not None and len(table.frame)),
        charts=tuple(_charts(ds)),
        campaigns=campaign_texts(ds),
        citations=(_STUDY, SOFTWARE_CITATION, *dict.fromkeys(_citations(ds))),
        explorer=Interactive(_EXPLORER, partial(_explorer, ds)),
    )


def claims_table(ds: xr.Dataset) -> Table:
    """Tests of the claims of Sanocki and Zavadlav (2026).

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``generalization``.

    Returns
    -------
    Table
        One row per claim, set, quantity and scheme; the claims are stated in the caption.
    """
    frame = claims(ds)
    stated = frame.drop_duplicates("claim")
    statements = " ".join(
        f"*{claim}*: {text}" for claim, text in zip(stated["claim"], stated["statement"], strict=True)
    )
    caption = (
        f"{statements} Networks are compared on the same set, split and seed; `value` is the mean over seeds, `low` "
        "and `high` its 95 % confidence interval (Student). A claim is undecided where the interval contains the "
        "deciding value, or with a single seed; the absence of an effect is agreed where the interval contains zero "
        f"and no change above {NOISE:.0f} %."
    )
    digits = {"seeds": 0}
    return Table("claims", "Claims of the paper", caption, frame[_CLAIM_COLUMNS], column_digits=digits)


def _explorer(ds: xr.Dataset) -> LayoutDOM:
    from hbcoop_dist.analysis.plots.interactive_errors import error_explorer

    return error_explorer(ds)


def _citations(ds: xr.Dataset) -> Iterator[str]:
    registered = cards()
    for definition in _definitions(ds, "dataset"):
        if definition["generate"] is not None and (card := registered.get(definition["teacher"])) is not None:
            yield f"`{card.name}`, the reference method of a set: {card.about.citation}"
        elif definition["source"] != "unknown":
            yield f"a set from files: {definition['source']}"
    for definition in _definitions(ds, "architecture"):
        name = definition["architecture"]
        # an architecture of an old campaign may not be installed any more
        if (architecture := ARCHITECTURES.get(name)) is not None:
            yield f"architecture `{name}`: {architecture.citation}"
    for definition in _definitions(ds, "scheme"):
        if (citation := _SCHEME_CITATIONS.get(definition["scheme"])) is not None:
            yield f"scheme `{definition['scheme']}`: {citation}"
    yield f"SOAP, which measures the similarity of structures: {SOAP_CITATION}"


def _definitions(ds: xr.Dataset, dim: str) -> Iterator[dict[str, Any]]:
    return (json.loads(text) for text in dict.fromkeys(map(str, ds[f"{dim}_definition"].values)))


def _tables(ds: xr.Dataset) -> Iterator[Table | None]:
    yield _degradation_table(ds)
    yield _splits_table(ds)
    yield claims_table(ds)
    yield _errors_along(ds, "domain", "Errors by domain", "RMSE on the test structures of one part of chemical space")
    yield _errors_along(ds, "atoms", "Errors by size", "RMSE on the test structures with this number of atoms")
    yield _training_table(ds)
    yield _failures_table(ds)


def _degradation_table(ds: xr.Dataset) -> Table | None:
    if RANDOM not in ds["split"].values or ds.sizes["split"] < 2:
        return None
    ratios = degradation(ds)[["energy_rmse", "forces_rmse", "interaction_beyond_rmse"]].mean("seed")
    dims = list(ratios.dims)
    frame = ratios.to_dataframe().reset_index().dropna(thresh=len(dims) + 1)
    names = {str(name): _HEADINGS[str(name)].partition(",")[0] for name in ratios.data_vars}
    caption = (
        "Errors divided by those of the random split of the same set, network and scheme, mean over seeds; `beyond`: "
        "interaction energies beyond the cutoff. The test sets of different splits are different structures, some of "
        "which are harder than others for any network."
    )
    return Table("degradation", "Errors relative to the random split", caption, frame.rename(columns=_HEADINGS | names))


def _splits_table(ds: xr.Dataset) -> Table:
    rows = []
    for dataset in ds["dataset"].values:
        for split in ds["split"].values:
            first = ds.sel(dataset=dataset, split=split).isel(seed=0)
            part, similarity = first["part"].values, first["similarity"].values
            if not (part >= 0).any():
                continue
            counts = {PARTS[number][0]: int((part == number).sum()) for number in PARTS}
            known = similarity[np.isfinite(similarity)]
            mean, median, low = (known.mean(), *np.percentile(known, [50, 5])) if len(known) else (np.nan,) * 3
            rows.append(
                {
                    "dataset": str(dataset),
                    "split": str(split),
                    **counts,
                    "mean similarity": float(mean),
                    "median": float(median),
                    "5th percentile": float(low),
                }
            )
    caption = (
        "Number of structures, and cosine similarity (SOAP, averaged over atoms) of each test structure to the nearest "
        "training structure, at the first seed."
    )
    return Table("splits", "Splits", caption, pd.DataFrame(rows), digits=4)


def _errors_along(ds: xr.Dataset, axis: str, title: str, caption: str) -> Table | None:
    """Force errors by label of an axis, one column per scheme; None when there is nothing to compare."""
    mean = ds[f"{axis}_forces_rmse"].where(ds["status"] == "done").mean("seed")
    stacked = mean.stack(row=["dataset", "split", "architecture", axis]).transpose("row", "scheme")
    schemes = pd.Index(ds["scheme"].values.tolist(), name="scheme")
    rows = pd.DataFrame(stacked.values, stacked.indexes["row"], schemes)
    frame = rows.dropna(how="all").dropna(axis="columns", how="all").reset_index().rename(columns=_HEADINGS)
    if frame.empty or ds.sizes[axis] < 2:
        return None
    frame.columns.name = None
    caption = f"{caption}: force components, meV/A, by scheme, mean over seeds."
    return Table(f"by-{axis}", title, caption, frame, digits=1)


def _training_table(ds: xr.Dataset) -> Table:
    done = ds.where(ds["status"] == "done")
    means = done[["parameters", "n_training", "best_step", "seconds"]].mean(["seed", "dataset", "split"])
    caption = (
        "Mean over sets, splits and seeds: trained parameters, training structures, step with the lowest loss on the "
        "validation set, whose parameters are used, and wall-clock seconds of training and test."
    )
    frame = means.to_dataframe().reset_index().dropna().rename(columns=_HEADINGS)
    return Table("training", "Training", caption, frame, digits=0)


def _failures_table(ds: xr.Dataset) -> Table | None:
    frame = ds[["status", "reason"]].to_dataframe().reset_index()
    frame = frame[~frame["status"].isin(["done", "pending"])]
    if frame.empty:
        return None
    counts = frame.groupby(["status", "reason"]).size().reset_index(name="networks")
    return Table("failures", "Networks without a result", "Number of networks by reason.", counts)


def _charts(ds: xr.Dataset) -> Iterator[Chart]:
    for dataset in map(str, ds["dataset"].values):
        yield Chart(
            f"map-{dataset}",
            f"Chemical space of {dataset}",
            "UMAP of averaged SOAP vectors; every split at its first seed.",
            partial(chemical_space, ds, dataset),
        )
        for architecture in map(str, ds["architecture"].values):
            if not (ds["status"].sel(dataset=dataset, architecture=architecture) == "done").any():
                continue
            yield Chart(
                f"errors-{dataset}-{architecture}",
                f"Errors of {architecture} on {dataset}",
                "Mean over seeds, with a tick for every seed.",
                partial(errors_by_split, ds, dataset, architecture),
            )
            yield Chart(
                f"curves-{dataset}-{architecture}",
                f"Learning curves of {architecture} on {dataset}",
                "The validation set is part of the training side of a split.",
                partial(learning_curves, ds, dataset, architecture),
            )


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
