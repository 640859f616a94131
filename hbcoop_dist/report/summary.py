"""What the numbers say, in sentences: what grows, what is flat, who is nearest, what broke.

Every sentence is made from the store's values; there is none for what the store does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis import not_done
from hbcoop_dist.analysis.mask import readable
from hbcoop_dist.references import published_values

FLAT = 0.1
"""kcal/mol; less than that beyond n = 4 is no growth, and less than that at n = 4 no cooperativity."""
_START, _LONG_FLAT = 4, 4
"""Where growth beyond neighbours starts, and how many units without any make a model flat after all."""
_NEAR = 0.5
"""kcal/mol; the references' own width, rounded up."""


def summary(ds: xr.Dataset, board: pd.DataFrame, reference: str, width: float) -> tuple[str, ...]:
    """Sentences about a store.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    board : DataFrame
        The leaderboard's.
    reference : str
        Level of theory of its errors.
    width : float
        How well that is known, kcal/mol; NaN when nobody knows.
    """
    pieces = (
        _cells(ds),
        _growth(board),
        _against_paper(board),
        _errors(board, reference, width),
        _geometry(board),
        _broken(ds),
    )
    return tuple(sentence for piece in pieces for sentence in piece)


def _cells(ds: xr.Dataset) -> Iterator[str]:
    counts = pd.Series(readable(ds)["status"].values.ravel()).value_counts()
    asked = int(counts.sum() - counts.get("skipped", 0))
    rest = ", ".join(f"{count} {status}" for status, count in counts.items() if status not in ("done", "skipped"))
    many = "" if ds.sizes["model"] == 1 else "s"
    yield (
        f"{ds.sizes['model']} model{many}, {asked} chains asked for: {counts.get('done', 0)} done"
        + (f", {rest}." if rest else ".")
    )


def _growth(board: pd.DataFrame) -> Iterator[str]:
    known = board.dropna(subset=["growth beyond n = 4", "middle, n = 4"])
    if known.empty:
        return
    none = known[known["middle, n = 4"].abs() < FLAT]
    rest = known.drop(none.index)
    grows = rest[rest["growth beyond n = 4"] >= FLAT].sort_values("growth beyond n = 4", ascending=False)
    flat = rest[rest["growth beyond n = 4"].abs() < FLAT]
    falls = rest[rest["growth beyond n = 4"] <= -FLAT]
    if len(grows):
        yield (
            "Keep growing beyond one neighbour on either side (middle H-bond, bare arc, kcal/mol, from n = 4 to the "
            "longest open chain): " + _list(grows, _from_to) + "."
        )
    if len(flat):
        yield f"Flat from one neighbour on (they change by less than {FLAT:g}): {_list(flat, _from_to)}."
    if len(falls):
        yield f"Weaker in longer chains: {_list(falls, _from_to)}."
    if len(none):
        yield f"No cooperativity to speak of (less than {FLAT:g} at n = 4): {_list(none, _middle)}."


def _against_paper(board: pd.DataFrame) -> Iterator[str]:
    known = board.dropna(subset=["middle, longest"])
    known = known[known["middle, longest"] > FLAT]
    if known.empty:
        return
    known = known.sort_values("middle, longest", ascending=False)
    middle, ends = _paper("middle"), _paper("terminal")
    yield (
        f"The paper's MP2 reaches {middle:g} in the middle of a bare arc and {ends:g} at its ends. Here, in the middle "
        "and in per cent of the paper's: "
        + _list(known, lambda row: f"`{row['model']}` {row['middle, longest']:.2f} ({_percent(row, middle)} %)")
        + "."
    )
    capped = board.dropna(subset=["capped dimer"])
    if len(capped):
        waters = _paper("capped")
        near = capped[(capped["capped dimer"] - waters).abs() <= _NEAR]
        yield (
            f"Four waters make the dimer's bond stronger by {waters:g} in the paper's MP2; within {_NEAR:g} of that: "
            + (_list(near, lambda row: f"`{row['model']}` {row['capped dimer']:.2f}") if len(near) else "none")
            + f"; {len(capped) - len(near)} others are not."
        )


def _paper(what: str) -> float:
    """The paper's quantum-chemical value: the largest of middle or terminal bonds, or of the capped dimer."""
    rows = published_values()
    rows = rows[(rows["model"] == "qm") & (rows["quantity"] == "cooperative_energy")]
    if what == "capped":
        rows = rows[(rows["capping"] == "water") & (rows["length"] == 2)]
    else:
        rows = rows[(rows["position"] == what) & (rows["capping"] == "none") & rows["length"].isna()]
    return float(rows["high"].iloc[0])


def _percent(row: pd.Series, whole: float) -> str:
    return f"{100 * row['middle, longest'] / whole:.0f}"


def _errors(board: pd.DataFrame, reference: str, width: float) -> Iterator[str]:
    known = board.dropna(subset=["RMSE, same geometry"]).sort_values("RMSE, same geometry")
    if known.empty:
        return
    smallest = known["RMSE, same geometry"].iloc[0]
    best = known[known["RMSE, same geometry"] <= smallest + (0.0 if np.isnan(width) else width)]
    told = f"; the reference itself is good to {width:.2f}" if np.isfinite(width) else ""
    apart = ", so these are not told apart" if told and len(best) > 1 else ""
    yield (
        f"At the geometries of the reference, `{reference}`, the smallest errors (root mean square, kcal/mol) are "
        "those of "
        + _list(best, lambda row: f"`{row['model']}` {row['RMSE, same geometry']:.2f}")
        + f"{told}{apart}. The largest: "
        + _list(known.tail(3)[::-1], lambda row: f"`{row['model']}` {row['RMSE, same geometry']:.2f}")
        + "."
    )


def _geometry(board: pd.DataFrame) -> Iterator[str]:
    known = board.dropna(subset=["O..N change, A"]).sort_values("O..N change, A")
    if known.empty:
        return
    yield (
        "The O..N distance of the middle bond of the longest open arc differs from the dimer's by (A): "
        + _list(known, lambda row: f"`{row['model']}` {row['O..N change, A']:+.3f}")
        + "."
    )


def _broken(ds: xr.Dataset) -> Iterator[str]:
    groups = [group for group in not_done(ds) if group.status not in ("skipped", "pending")]
    if not groups:
        yield "Nothing failed."
        return
    counts: dict[tuple[str, str], int] = {}
    for group in groups:
        for labels in group.labels:
            if group.kind == "cell":
                key = str(labels["model"]), group.status
                counts[key] = counts.get(key, 0) + 1
    words = ", ".join(f"`{model}` {count} {status}" for (model, status), count in counts.items())
    yield f"Chains without a result, each with its reason below: {words}."


def _from_to(row: pd.Series) -> str:
    start, end, units = row["middle, n = 4"], row["middle, longest"], row["units"]
    words = f"`{row['model']}` {start:.2f} to {end:.2f} at n = {units:.0f}"
    flat = row["flat from"]
    return words + (f" (flat from n = {flat:.0f})" if _START < flat <= units - _LONG_FLAT else "")


def _middle(row: pd.Series) -> str:
    return f"`{row['model']}` {row['middle, n = 4']:.2f}"


def _list(rows: pd.DataFrame, words: object) -> str:
    return ", ".join(words(row) for _, row in rows.iterrows())  # type: ignore[operator]


def headline(board: pd.DataFrame) -> str:
    """One line for the top of the page."""
    growing = board[(board["growth beyond n = 4"] >= FLAT) & (board["middle, n = 4"].abs() >= FLAT)]
    known = int(np.isfinite(board["growth beyond n = 4"]).sum())
    if not known:
        return ""
    return f"{len(growing)} of {known} models keep growing beyond one neighbour on either side."
