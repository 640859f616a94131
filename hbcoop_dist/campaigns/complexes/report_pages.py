"""Pages of a report on a store of complexes with marked pairs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis import free_dimers, readable
from hbcoop_dist.analysis.free_dimer_outcomes import OUTCOMES
from hbcoop_dist.analysis.plots import free_dimer_outcomes
from hbcoop_dist.analysis.report_content import (
    Chart,
    Report,
    ReportOptions,
    Table,
    campaign_names,
    campaign_texts,
    cooperativity_citations,
)

_ABOUT = (
    "The cooperative energy of a marked pair A and B is the increase of its interaction due to the other molecules of "
    "the complex (Feng, Xu and Huang 2025, Eq. 1). All sentences are made from the values shown below."
)
_FIGURES = "`hbcoop report STORE -o figures.pdf` writes the figures for print."
_ENERGIES = ("cooperative_energy", "interaction_energy", "interaction_energy_dimer", "distance")


def build_report(ds: xr.Dataset, options: ReportOptions | None = None) -> Report:
    """Sentences, tables and figures of a store of complexes.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``complexes``, dims model and complex among others.
    options : ReportOptions, optional
        References are refused.

    Returns
    -------
    Report
        The leaderboard is the table of outcomes when the complexes are free dimers of N-methylacetamide, and the table
        of all complexes otherwise.

    Raises
    ------
    ReportError
        When the options name references.
    """
    options = options or ReportOptions()
    options.refuse_references("complexes")
    ds = readable(ds).load()
    complexes, outcomes = complexes_table(ds), free_dimers_table(ds)
    return Report(
        title=options.title or campaign_names(ds),
        subtitle="Cooperative energy of marked pairs" if outcomes is None else outcomes.title,
        topic="hydrogen-bond cooperativity",
        about=_ABOUT,
        figures_caption=_FIGURES,
        summary=tuple(_summary(ds, outcomes)),
        leaderboard=complexes if outcomes is None else outcomes,
        tables=() if outcomes is None else (complexes,),
        charts=() if outcomes is None else (_free_dimers_chart(ds),),
        campaigns=campaign_texts(ds),
        citations=cooperativity_citations(map(str, ds["model"].values)),
    )


def complexes_table(ds: xr.Dataset) -> Table:
    """Energies and status of every model and complex.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``complexes``.

    Returns
    -------
    Table
    """
    energies = ds[list(_ENERGIES)].where(ds["status"] == "done")
    columns = energies.assign(status=ds["status"], reason=ds["reason"])[["status", *_ENERGIES, "reason"]]
    frame = (
        columns.to_dataframe(dim_order=["model", "complex"])
        .reset_index()
        .rename(columns=lambda name: str(name).replace("_", " "))
    )
    caption = (
        "Cooperative energy of the marked pair A and B, and its interaction energy in the complex and as the isolated "
        "dimer, kcal/mol; shortest distance between A and B, A."
    )
    return Table("complexes", "Complexes", caption, frame)


def free_dimers_table(ds: xr.Dataset) -> Table | None:
    """Outcomes of unconstrained minimisations of dimers.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``complexes``.

    Returns
    -------
    Table or None
        One row per model and conformer of the start; None when the complexes are not free dimers.
    """
    try:
        outcomes = free_dimers(ds)
    except ValueError:
        # complexes of other names or molecules
        return None
    absent = [name for name in (*OUTCOMES, "swapped") if not outcomes[name].any()]
    frame = outcomes.drop(columns=absent).dropna(axis="columns", how="all").reset_index()
    frame = frame.rename(columns=lambda name: str(name).replace("energy_", "lowest energy, "))
    caption = (
        "Number of starts by outcome, and lowest interaction energy by conformer or kind, kcal/mol. The starts are "
        "dimers of each conformer with random displacements of all coordinates, minimised without constraints. The "
        "criteria are defined in `hbcoop_dist/analysis/free_dimer_outcomes.py`."
    )
    return Table("free-dimers", "Outcomes of free dimers", caption, frame)


def _free_dimers_chart(ds: xr.Dataset) -> Chart:
    return Chart(
        "free-dimers-figure",
        "Outcomes of free dimers",
        "Starts from the syn and the anti dimer.",
        partial(free_dimer_outcomes, ds),
    )


def _summary(ds: xr.Dataset, outcomes: Table | None) -> Iterator[str]:
    statuses = pd.Series(ds["status"].values.ravel())
    counts = statuses[statuses != "skipped"].value_counts()
    numbers = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none done"
    models = f"{ds.sizes['model']} model{'' if ds.sizes['model'] == 1 else 's'}"
    complexes = f"{ds.sizes['complex']} complex{'' if ds.sizes['complex'] == 1 else 'es'}"
    yield f"{models}, {complexes}: {numbers}."
    if outcomes is None:
        return
    for start, rows in outcomes.frame.groupby("start", sort=False):
        tried = rows[rows["tried"] > 0]
        if len(tried):
            yield f"From the {start} dimer: {', '.join(_outcome_counts(row) for _, row in tried.iterrows())}."


def _outcome_counts(row: pd.Series) -> str:
    return f"`{row['model']}` " + " and ".join(f"{row[name]} {name}" for name in OUTCOMES if row.get(name, 0))
