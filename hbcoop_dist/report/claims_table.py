"""The paper's claims and what a generalization store says of each, as a table and a sentence."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from hbcoop_dist.analysis.claims import AGREED, CONTRADICTED, NOISE, UNTESTED, claims
from hbcoop_dist.report.content import Table

_COLUMNS = ["claim", "set", "quantity", "scheme", "measure", "value", "low", "high", "seeds", "verdict", "why"]
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
        frame[_COLUMNS],
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
