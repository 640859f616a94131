"""Summary of a report on hydrogen-bonded chains, in sentences made from the values of a store.

There is no sentence about quantities that the store does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis import not_done
from hbcoop_dist.analysis.growth_fits import CLOSE
from hbcoop_dist.analysis.quantities import with_spread
from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.campaigns.hbond.report_leaderboard import FLAT
from hbcoop_dist.references import published_values

_CONSTANT_UNITS = 4
"""Number of last units over which a constant value means that the growth has ended."""
_CLOSE_TO_PAPER = 0.5
"""kcal/mol; the uncertainty of the reference levels, rounded up."""


def summary(ds: xr.Dataset, board: pd.DataFrame, reference: str, width: float) -> tuple[str, ...]:
    """Sentences about a store.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.
    board : pandas.DataFrame
        Frame of the leaderboard.
    reference : str
        Reference level of the leaderboard's errors.
    width : float
        Uncertainty of the reference level, kcal/mol; NaN when it is not known.

    Returns
    -------
    tuple of str
    """
    parts = (
        _cell_counts(ds),
        _growth(board),
        _ensembles(ds, board),
        _paper_values(board),
        _errors(board, reference, width),
        _distances(board),
        _failures(ds),
    )
    return tuple(sentence for part in parts for sentence in part)


def headline(board: pd.DataFrame) -> str:
    """One line for the top of the page.

    Parameters
    ----------
    board : pandas.DataFrame
        Frame of the leaderboard.

    Returns
    -------
    str
        Empty when no model has chains long enough to show growth.
    """
    known = board[np.isfinite(board["growth beyond n = 4"])]
    if known.empty:
        return ""
    increasing = known[(known["growth beyond n = 4"] >= FLAT) & (known["middle, n = 4"].abs() >= FLAT)]
    growing = int((~_has_saturated(increasing)).sum())
    if len(known) == 1:
        verb = "keeps" if growing else "does not keep"
        return f"{known['model'].iloc[0]}: cooperativity {verb} growing beyond n = 4."
    return f"Cooperativity keeps growing beyond n = 4 in {growing} of {len(known)} models."


def _cell_counts(ds: xr.Dataset) -> Iterator[str]:
    counts = pd.Series(readable(ds)["status"].values.ravel()).value_counts()
    requested = int(counts.sum() - counts.get("skipped", 0))
    numbers = [f"{counts.get('done', 0)} done"]
    numbers += [f"{count} {status}" for status, count in counts.items() if status not in ("done", "skipped")]
    models = f"{ds.sizes['model']} model{'' if ds.sizes['model'] == 1 else 's'}"
    yield f"{models}, {requested} chains requested: {', '.join(numbers)}."


def _growth(board: pd.DataFrame) -> Iterator[str]:
    known = board.dropna(subset=["growth beyond n = 4", "middle, n = 4"])
    is_cooperative, change = known["middle, n = 4"].abs() >= FLAT, known["growth beyond n = 4"]
    increasing = known[is_cooperative & (change >= FLAT)].sort_values("growth beyond n = 4", ascending=False)
    growing, saturated = increasing[~_has_saturated(increasing)], increasing[_has_saturated(increasing)]
    flat = known[is_cooperative & (change.abs() < FLAT)]
    decreasing = known[is_cooperative & (change <= -FLAT)]
    if len(growing):
        yield (
            "Growing beyond n = 4 (middle H-bond of bare arcs, kcal/mol; larger in the longest open chain than at "
            f"n = 4 by at least {FLAT:g}, and not constant over the last {_CONSTANT_UNITS} units): "
            f"{_join(growing, _change)}."
        )
    if len(saturated):
        yield (
            f"Growing beyond n = 4, then saturated (within {CLOSE:g} of the longest open chain's value over the last "
            f"{_CONSTANT_UNITS} units or more): "
            + _join(saturated, lambda row: f"{_change(row)}, flat from n = {row['flat from']:.0f}")
            + "."
        )
    if len(flat):
        yield (
            f"Flat beyond n = 4 (the longest open chain differs from n = 4 by less than {FLAT:g}): "
            f"{_join(flat, _change)}."
        )
    if len(decreasing):
        yield (
            f"Decreasing beyond n = 4 (smaller in the longest open chain by at least {FLAT:g}): "
            f"{_join(decreasing, _change)}."
        )
    if not is_cooperative.all():
        values = _join(known[~is_cooperative], lambda row: f"`{row['model']}` {row['middle, n = 4']:.2f}")
        yield f"No cooperativity at n = 4 (less than {FLAT:g}): {values}."


def _has_saturated(board: pd.DataFrame) -> pd.Series:
    """Whether the value is constant over the last units of the longest chain."""
    return board["flat from"] <= board["units"] - _CONSTANT_UNITS


def _change(row: pd.Series) -> str:
    start, end, units = row["middle, n = 4"], row["middle, longest"], row["units"]
    return f"`{row['model']}` {start:.2f} to {end:.2f} at n = {units:.0f}"


def _ensembles(ds: xr.Dataset, board: pd.DataFrame) -> Iterator[str]:
    ensembles = board[board["model"].isin(with_spread(ds))].dropna(subset=["middle, longest", "units"])
    values = []
    for _, row in ensembles.iterrows():
        labels = {"model": row["model"], "length": int(row["units"]), "position": "middle"}
        labels |= {"pattern": "arc", "capping": "none", "geometry": "own"}
        spreads = ds["cooperative_energy_spread"].sel(labels)
        spread, energy = float(spreads.isel(rotamer=0)), row["middle, longest"]
        if np.isfinite(spread):
            note = ", smaller than the spread" if abs(energy) < spread else ""
            values.append(f"`{row['model']}` {energy:.2f} ± {spread:.2f} at n = {row['units']:.0f}{note}")
    if values:
        yield (
            "Middle H-bond of the longest open arc with the ensemble spread (standard deviation over the networks), "
            f"kcal/mol: {'; '.join(values)}."
        )


def _paper_values(board: pd.DataFrame) -> Iterator[str]:
    middle, ends, capped = _paper_value("middle"), _paper_value("terminal"), _paper_value("capped")
    known = board[board["middle, longest"] > FLAT].sort_values("middle, longest", ascending=False)
    if known.empty:
        return
    percentages = _join(
        known,
        lambda row: f"`{row['model']}` {row['middle, longest']:.2f} ({100 * row['middle, longest'] / middle:.0f} %)",
    )
    yield (
        f"The paper's largest MP2 values for bare arcs are {middle:g} kcal/mol in the middle and {ends:g} at the ends. "
        f"Middle H-bond of the longest open arc here, and its percentage of {middle:g}: {percentages}."
    )
    dimers = board.dropna(subset=["capped dimer"])
    if dimers.empty:
        return
    close = dimers[(dimers["capped dimer"] - capped).abs() <= _CLOSE_TO_PAPER]
    close_values = _join(close, lambda row: f"`{row['model']}` {row['capped dimer']:.2f}") if len(close) else "none"
    yield (
        f"The four waters strengthen the dimer's bond by {capped:g} kcal/mol in the paper's MP2. Within "
        f"{_CLOSE_TO_PAPER:g} of that value, {len(close)} of {len(dimers)}: {close_values}."
    )


def _paper_value(name: str) -> float:
    """The paper's quantum-chemical value, kcal/mol: the largest of ``middle`` or ``terminal`` bonds, or ``capped``."""
    rows = published_values()
    rows = rows[(rows["model"] == "qm") & (rows["quantity"] == "cooperative_energy")]
    if name == "capped":
        rows = rows[(rows["capping"] == "water") & (rows["length"] == 2)]
    else:
        rows = rows[(rows["position"] == name) & (rows["capping"] == "none") & rows["length"].isna()]
    return float(rows["high"].iloc[0])


def _errors(board: pd.DataFrame, reference: str, width: float) -> Iterator[str]:
    known = board.dropna(subset=["RMSE, same geometry"]).sort_values("RMSE, same geometry")
    if known.empty:
        return
    smallest = known["RMSE, same geometry"].iloc[0]
    best = known[known["RMSE, same geometry"] <= smallest + (0.0 if np.isnan(width) else width)]
    worst = known.drop(best.index).tail(3)[::-1]
    if np.isnan(width):
        uncertainty = "the uncertainty of the reference level is not known"
    else:
        uncertainty = f"comparable reference levels differ by up to {width:.2f}"
        uncertainty += ", so these models are not distinguished" if len(best) > 1 else ""
    which = "the smallest errors" if len(best) > 1 else "the smallest error" if len(known) > 1 else "the error"
    which += f" (root mean square, kcal/mol) {'are those' if len(best) > 1 else 'is that'} of"
    yield (
        f"At the geometries of the reference level `{reference}`, {which} {_join(best, _error)}; {uncertainty}."
        + (f" The largest: {_join(worst, _error)}." if len(worst) else "")
    )


def _error(row: pd.Series) -> str:
    return f"`{row['model']}` {row['RMSE, same geometry']:.2f}"


def _distances(board: pd.DataFrame) -> Iterator[str]:
    known = board.dropna(subset=["O..N change, A"]).sort_values("O..N change, A")
    if len(known):
        changes = _join(known, lambda row: f"`{row['model']}` {row['O..N change, A']:+.3f}")
        yield f"O..N distance of the middle H-bond of the longest open arc minus that of the dimer, A: {changes}."


def _failures(ds: xr.Dataset) -> Iterator[str]:
    groups = [group for group in not_done(ds) if group.status not in ("skipped", "pending")]
    if not groups:
        yield "No calculation failed."
    for kind, subject in (("cell", "Chains"), ("dimer", "Isolated dimers")):
        counts = Counter(
            (str(labels["model"]), group.status) for group in groups if group.kind == kind for labels in group.labels
        )
        if counts:
            numbers = ", ".join(f"`{model}` {count} {status}" for (model, status), count in counts.items())
            yield f"{subject} without a result (reasons below): {numbers}."


def _join(rows: pd.DataFrame, text: Callable[[pd.Series], str]) -> str:
    return ", ".join(text(row) for _, row in rows.iterrows())
