"""Gather what a report says of a generalization store; nothing is drawn or written here.

What a generalization store says, in sentences made from its numbers; networks of several kinds one by one.

The paper's claims and what a generalization store says of each, as a table and a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from hbcoop_dist.analysis.claim_tests import AGREED, CONTRADICTED, NOISE, UNTESTED, claims
from hbcoop_dist.analysis.generalization_errors import RANDOM, degradation, errors, errors_table, one_network
from hbcoop_dist.analysis.plots.generalization import chemical_space, errors_by_split, learning_curves
from hbcoop_dist.campaigns.generalization.planner import SOAP_CITATION
from hbcoop_dist.learning.networks.architectures.registry import ARCHITECTURES
from hbcoop_dist.models import registry
from hbcoop_dist.report.content import Chart, Interactive, Report, Table

_ABOUT = (
    "Networks of one architecture are trained for the same number of steps on one part of a set of structures and "
    "tested on the rest, with long-range schemes and without (after Sanocki and Zavadlav 2026). In the random split "
    "the test set looks like the training set; in the others it lies elsewhere in chemical space. Interaction "
    "energies are told apart by whether any atom of one molecule lies within the cutoff of another: where none does, "
    "a network without a long-range scheme gives zero whatever it has learnt."
)
_EXPLORE = "Choose an error, untick schemes; below, where each split learns and where it is tested. Hover for values."
_FIGURES = "`hbcoop report STORE -o figures.pdf` writes them for print."
_PAPER = "the question: Sanocki and Zavadlav, on long-range corrections and the transferability of force fields (2026)"
_SCHEMES = {
    "charge-embedding": "Unke et al., Nat. Commun. 2021, 12, 7273, doi:10.1038/s41467-021-27504-0",
    "les": "Cheng, npj Comput. Mater. 2025, 11, 80; Kim, King, Zhong and Cheng, Nat. Commun. 2025, 16, 8763",
    "celli": "Sanocki and Zavadlav (2026)",
    "efa": "Frank, Chmiela, Mueller and Unke, arXiv:2412.08541 (2024)",
}
_OURS = "the instrument: hbcoop_dist, with the version that the provenance gives"
_COLUMNS = {
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


def build_generalization_report(ds: xr.Dataset, name: str = "") -> Report:
    """Words, tables and figures of a generalization store.

    Parameters
    ----------
    ds : xarray.Dataset
        From ``open_store(path, kind="generalization")``.
    name : str
        What the store is called; the campaign's name where there is none.
    """
    ds = ds.load()
    board = errors_table(ds).rename(columns=_COLUMNS)
    return Report(
        title=name or ", ".join(dict.fromkeys(str(spec["campaign"]) for spec in _specs(ds))),
        subtitle=headline(ds) or "Do long-range schemes make force fields transfer?",
        topic="generalization of force fields",
        about=_ABOUT,
        figures_words=_FIGURES,
        summary=summary(ds),
        leaderboard=Table(
            "leaderboard",
            "Errors by split and scheme",
            "RMSE on the test set, mean over seeds; of interaction energies of molecules within the cutoff of one "
            "another (near) and beyond it; empty where nothing of the kind was in it. Charges: mean absolute error, "
            "and correlation r with its sign: charges that a network was never shown come out with either.",
            board,
        ),
        tables=tuple(table for table in _tables(ds) if table is not None and len(table.frame)),
        charts=tuple(_charts(ds)),
        campaigns=tuple(dict.fromkeys(yaml.safe_dump(spec, sort_keys=False, width=100) for spec in _specs(ds))),
        citations=(_PAPER, _OURS, *dict.fromkeys(_citations(ds))),
        explore=Interactive(_EXPLORE, partial(_explorer, ds)),
    )


def _explorer(ds: xr.Dataset) -> Any:
    from hbcoop_dist.report.interactive_errors import explorer

    return explorer(ds)


def _specs(ds: xr.Dataset) -> list[dict[str, Any]]:
    return [json.loads(str(event["spec"])) for event in json.loads(ds.attrs["history"])]


def _citations(ds: xr.Dataset) -> Iterator[str]:
    for definition in _definitions(ds, "dataset"):
        if definition["generate"] is not None and (card := registry.cards().get(definition["teacher"])) is not None:
            yield f"`{card.name}`, which labelled a set: {card.about.citation}"
        elif definition["source"] != "unknown":
            yield f"a set from files: {definition['source']}"
    for definition in _definitions(ds, "architecture"):
        if (found := ARCHITECTURES.get(definition["architecture"])) is not None:
            yield f"architecture `{definition['architecture']}`: {found.citation}"
    for definition in _definitions(ds, "scheme"):
        if (source := _SCHEMES.get(definition["scheme"])) is not None:
            yield f"scheme `{definition['scheme']}`: {source}"
    yield f"SOAP, by which splits are told apart: {SOAP_CITATION}"


def _definitions(ds: xr.Dataset, dim: str) -> Iterator[dict[str, Any]]:
    return (json.loads(text) for text in dict.fromkeys(map(str, ds[f"{dim}_definition"].values)))


def _tables(ds: xr.Dataset) -> Iterator[Table | None]:
    yield _degradation_table(ds)
    yield _splits_table(ds)
    yield claims_table(ds)
    yield _by(ds, "domain", "Errors by domain", "RMSE on the test structures of one part of chemical space")
    yield _by(ds, "atoms", "Errors by size", "RMSE on the test structures of so many atoms")
    yield _training_table(ds)
    yield _failures_table(ds)


def _degradation_table(ds: xr.Dataset) -> Table | None:
    if RANDOM not in ds["split"].values or ds.sizes["split"] < 2:
        return None
    mean = degradation(ds)[["energy_rmse", "forces_rmse", "interaction_beyond_rmse"]].mean("seed")
    frame = mean.to_dataframe().reset_index().dropna(thresh=5)
    names = {str(name): _COLUMNS[str(name)].partition(",")[0] for name in mean.data_vars}
    return Table(
        "degradation",
        "How much is lost elsewhere",
        "Errors where the test set lies elsewhere over those of the random split of the same set, network and scheme, "
        "mean over seeds: 1 where nothing is lost; beyond: of interaction energies beyond the cutoff. Test sets of "
        "different splits are different structures, some harder than others for any network.",
        frame.rename(columns=_COLUMNS | names),
    )


def _splits_table(ds: xr.Dataset) -> Table:
    rows = []
    for dataset in ds["dataset"].values:
        for split in ds["split"].values:
            one = ds.sel(dataset=dataset, split=split).isel(seed=0)
            part, near = one["part"].values, one["similarity"].values
            if (part >= 0).any():
                known = near[np.isfinite(near)]
                low, middle = np.percentile(known, [5, 50]) if len(known) else (np.nan, np.nan)
                counts = [int((part == number).sum()) for number in range(3)]
                mean = float(known.mean()) if len(known) else np.nan
                rows.append([str(dataset), str(split), *counts, mean, middle, low])
    columns = ["dataset", "split", "training", "validation", "test", "mean similarity", "median", "5th percentile"]
    return Table(
        "splits",
        "How far each split is",
        "Cosine similarity (SOAP, averaged over atoms) of a test structure to the nearest training structure: 1 "
        "where it was seen. At the first seed.",
        pd.DataFrame(rows, columns=columns),
        digits=4,
    )


def _by(ds: xr.Dataset, axis: str, title: str, words: str) -> Table | None:
    mean = ds[f"{axis}_forces_rmse"].where(ds["status"] == "done").mean("seed")
    stacked = mean.stack(row=["dataset", "split", "architecture", axis]).transpose("row", "scheme")
    rows = pd.DataFrame(stacked.values, stacked.indexes["row"], pd.Index(ds["scheme"].values.tolist(), name="scheme"))
    table = rows.dropna(how="all").dropna(axis="columns", how="all").reset_index().rename(columns=_COLUMNS)
    if table.empty or ds.sizes[axis] < 2:
        return None
    table.columns.name = None
    return Table(f"by-{axis}", title, f"{words}: force components, meV/A, by scheme, mean over seeds.", table, digits=1)


def _training_table(ds: xr.Dataset) -> Table:
    done = ds.where(ds["status"] == "done")
    frame = done[["parameters", "n_training", "best_step", "seconds"]].mean(["seed", "dataset", "split"]).to_dataframe()
    return Table(
        "training",
        "Training",
        "Mean over sets, splits and seeds: numbers that were trained, structures, the step whose parameters were kept "
        "(lowest loss on the validation set), wall-clock seconds of training and test.",
        frame.reset_index().dropna().rename(columns=_COLUMNS),
        digits=0,
    )


def _failures_table(ds: xr.Dataset) -> Table | None:
    frame = ds[["status", "reason"]].to_dataframe().reset_index()
    frame = frame[~frame["status"].isin(["done", "pending"])]
    if frame.empty:
        return None
    counted = frame.groupby(["status", "reason"]).size().reset_index(name="networks")
    return Table("failures", "What is not there", "Networks without errors, and why.", counted)


def _charts(ds: xr.Dataset) -> Iterator[Chart]:
    for dataset in map(str, ds["dataset"].values):
        yield Chart(
            f"map-{dataset}",
            f"Chemical space of {dataset}",
            "UMAP of SOAP averages; every split at its first seed.",
            partial(chemical_space, ds, dataset),
        )
        for architecture in map(str, ds["architecture"].values):
            if not (ds["status"].sel(dataset=dataset, architecture=architecture) == "done").any():
                continue
            yield Chart(
                f"errors-{dataset}-{architecture}",
                f"Errors of {architecture} on {dataset}",
                "Mean over seeds, a tick for every seed.",
                partial(errors_by_split, ds, dataset, architecture),
            )
            yield Chart(
                f"curves-{dataset}-{architecture}",
                f"Learning curves of {architecture} on {dataset}",
                "The validation set is part of the training side of a split.",
                partial(learning_curves, ds, dataset, architecture),
            )


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


_CLAIM_COLUMNS = ["claim", "set", "quantity", "scheme", "measure", "value", "low", "high", "seeds", "verdict", "why"]
_PLACES = {"seeds": 0}


def claims_table(ds: xr.Dataset) -> Table:
    """One row per claim, set, quantity and scheme; what the claims say is in the words above."""
    frame = claims(ds)
    said = frame.drop_duplicates("claim")
    words = " ".join(f"*{claim}*: {says}" for claim, says in zip(said["claim"], said["says"], strict=True))
    return Table(
        "claims",
        "The paper's claims, one by one",
        f"{words} Networks are compared on the same set, split and seed; value is the mean over seeds, low and high "
        "its 95 % interval (Student). An interval that holds what would decide, or one seed, leaves a claim untested; "
        f"that nothing changes is agreed to where no change above {NOISE:.0f} % is possible.",
        frame[_CLAIM_COLUMNS],
        places=_PLACES,
    )


def claims_sentence(ds: xr.Dataset) -> str:
    """How many comparisons agree with and contradict each claim; nothing where none was tested."""
    frame = claims(ds)
    parts = [_counted(claim, group) for claim, group in frame.groupby("claim", sort=False)]
    if set(frame["verdict"]) == {UNTESTED}:
        return ""
    return (
        "The claims of Sanocki and Zavadlav (2026), by comparison of one quantity and scheme: " + "; ".join(parts) + "."
    )


def _counted(claim: object, group: pd.DataFrame) -> str:
    counts = group["verdict"].value_counts()
    found = [f"{counts[verdict]} {verdict}" for verdict in (AGREED, CONTRADICTED, UNTESTED) if verdict in counts]
    return f"{claim} " + ", ".join(found)
