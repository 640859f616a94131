"""Gather what a report says of a store of marked systems alone: it has no chains, and no leaderboard of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis import free_dimers, readable
from hbcoop_dist.analysis.free_dimer_outcomes import OUTCOMES
from hbcoop_dist.analysis.plots import free_dimer_outcomes
from hbcoop_dist.report.campaign_history import campaign_names, campaigns_of, citations_of
from hbcoop_dist.report.content import Chart, Report, Table
from hbcoop_dist.report.hbond_tables import systems_table

_ABOUT = (
    "Cooperative energy of a marked pair A and B in any cluster: by how much their bond is stronger because the "
    "rest is there (Feng, Xu and Huang 2025, Eq. 1). Every sentence here is made from the numbers below."
)
_FIGURES = "`hbcoop report STORE -o figures.pdf` writes them for print."


def build_systems_report(ds: xr.Dataset, systems: xr.Dataset, name: str = "") -> Report:
    """Words, tables and figures of marked systems.

    Parameters
    ----------
    ds : xarray.Dataset
        The store's dataset, whose history says what was asked for.
    systems : xarray.Dataset
        The store's marked systems (`hbcoop_dist.store.open_systems`).
    name : str
        What the store is called; the campaign's name where there is none.
    """
    every, outcomes = systems_table(systems), free_dimers_table(systems)
    return Report(
        title=name or campaign_names(ds),
        subtitle="Marked pairs of molecules, model by model" if outcomes is None else outcomes.title,
        topic="hydrogen-bond cooperativity",
        about=_ABOUT,
        figures_words=_FIGURES,
        summary=tuple(_summary(systems)),
        leaderboard=every if outcomes is None else outcomes,
        tables=() if outcomes is None else (every,),
        charts=() if outcomes is None else (free_dimers_chart(systems),),
        campaigns=campaigns_of(ds),
        citations=tuple(citations_of(ds)),
        explore=None,
    )


def free_dimers_table(systems: xr.Dataset) -> Table | None:
    """What became of dimers that nothing constrained; None where no system is one of those."""
    try:
        found = free_dimers(systems)
    except ValueError:
        # marked systems of other names or molecules are no free dimers, and no mistake
        return None
    never = [name for name in (*OUTCOMES, "swapped") if not found[name].any()]
    frame = found.drop(columns=never).dropna(axis="columns", how="all").reset_index()
    frame = frame.rename(columns=lambda name: str(name).replace("energy_", "lowest energy, "))
    words = (
        "Starts of each conformer, every coordinate moved by chance, minimised without a constraint: how many kept "
        "their H-bond, turned into the other conformer, or lost it, and the lowest interaction energy of each kind, "
        "kcal/mol. The criteria stand in `hbcoop_dist/analysis/free_dimer_outcomes.py`."
    )
    return Table("free-dimers", "What became of free dimers", words, frame)


def free_dimers_chart(systems: xr.Dataset) -> Chart:
    """The same as a picture."""
    return Chart(
        "free-dimers-figure",
        "What became of free dimers",
        "Starts from the syn and the anti dimer.",
        partial(free_dimer_outcomes, systems),
    )


def _summary(systems: xr.Dataset) -> Iterator[str]:
    statuses = pd.Series(readable(systems)["status"].values.ravel())
    counts = statuses[statuses != "skipped"].value_counts()
    words = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none done"
    many = ["" if systems.sizes[dim] == 1 else "s" for dim in ("model", "system")]
    yield f"{systems.sizes['model']} model{many[0]}, {systems.sizes['system']} marked system{many[1]}: {words}."
    outcomes = free_dimers_table(systems)
    if outcomes is not None:
        for start, rows in outcomes.frame.groupby("start", sort=False):
            yield (
                f"From the {start} dimer: "
                + ", ".join(_became(row) for _, row in rows.iterrows() if row["tried"])
                + "."
            )


def _became(row: pd.Series) -> str:
    return f"`{row['model']}` " + " and ".join(f"{row[name]} {name}" for name in OUTCOMES if row.get(name, 0))
