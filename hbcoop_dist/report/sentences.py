"""What the numbers say, in sentences: what grows, what is flat, who is nearest, what broke.

Every sentence is made from the store's values; there is none for what the store does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis import not_done
from hbcoop_dist.analysis.growth_fits import CLOSE
from hbcoop_dist.analysis.quantities import with_spread
from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.references import published_values

FLAT = 0.1
"""kcal/mol; less than that beyond n = 4 is no growth, and less than that at n = 4 no cooperativity."""
_LONG_FLAT = 4
"""How many units without any growth make a model flat after all."""
_UNKNOWN = "how good the reference itself is, is not known"
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
        _ensembles(ds, board),
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
    more = rest[rest["growth beyond n = 4"] >= FLAT].sort_values("growth beyond n = 4", ascending=False)
    grows, stops = more[~_stops(more)], more[_stops(more)]
    flat = rest[rest["growth beyond n = 4"].abs() < FLAT]
    falls = rest[rest["growth beyond n = 4"] <= -FLAT]
    if len(grows):
        yield (
            f"Keep growing beyond one neighbour on either side (middle H-bond, bare arc, kcal/mol, by {FLAT:g} or more "
            "from n = 4 to the longest open chain): " + _list(grows, _from_to) + "."
        )
    if len(stops):
        yield (
            f"Grow beyond one neighbour on either side and then stop (within {CLOSE:g} of the longest chain for "
            f"{_LONG_FLAT} units and more): "
            + _list(stops, lambda row: f"{_from_to(row)}, flat from n = {row['flat from']:.0f}")
            + "."
        )
    if len(flat):
        yield (
            f"Flat beyond one neighbour on either side (less than {FLAT:g} between n = 4 and the longest open chain): "
            f"{_list(flat, _from_to)}."
        )
    if len(falls):
        yield f"Weaker in longer chains: {_list(falls, _from_to)}."
    if len(none):
        yield f"No cooperativity to speak of (less than {FLAT:g} at n = 4): {_list(none, _middle)}."


def _ensembles(ds: xr.Dataset, board: pd.DataFrame) -> Iterator[str]:
    known = board[board["model"].isin(with_spread(ds))].dropna(subset=["middle, longest", "units"])
    spreads = {
        model: _spread(ds, model, int(units)) for model, units in zip(known["model"], known["units"], strict=True)
    }
    known = known[known["model"].map(spreads).notna()]
    if known.empty:
        return

    def words(row: pd.Series) -> str:
        value, spread = row["middle, longest"], spreads[row["model"]]
        less = ", less than its networks disagree about" if abs(value) < spread else ""
        return f"`{row['model']}` {value:.2f} ± {spread:.2f} at n = {row['units']:.0f}{less}"

    yield (
        "Middle H-bond of the longest open arc, with the standard deviation over the networks of an ensemble "
        f"(kcal/mol): {'; '.join(words(row) for _, row in known.iterrows())}."
    )


def _spread(ds: xr.Dataset, model: str, length: int) -> float:
    place = {"model": model, "pattern": "arc", "length": length, "capping": "none", "geometry": "own"}
    return float(ds["cooperative_energy_spread"].sel(place).isel(rotamer=0).sel(position="middle"))


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
            + (f"; {rest} other{'s are' if rest > 1 else ' is'} not." if (rest := len(capped) - len(near)) else ".")
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
    certain = f"the reference itself is good to {width:.2f}" if np.isfinite(width) else _UNKNOWN
    apart = ", so these are not told apart" if np.isfinite(width) and len(best) > 1 else ""
    worst = known.drop(best.index).tail(3)[::-1]
    many = (
        "the smallest errors (root mean square, kcal/mol) are those of " if len(known) > 1 else "the error (root mean "
    )
    many += "" if len(known) > 1 else "square, kcal/mol) is that of "
    yield (
        f"At the geometries of the reference, `{reference}`, {many}{_list(best, _error)}; {certain}{apart}."
        + (f" The largest: {_list(worst, _error)}." if len(worst) else "")
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
    for kind, beginning in (("cell", "Chains"), ("dimer", "Isolated dimers")):
        counts: dict[tuple[str, str], int] = {}
        for group in groups:
            for labels in group.labels if group.kind == kind else ():
                key = str(labels["model"]), group.status
                counts[key] = counts.get(key, 0) + 1
        if counts:
            words = ", ".join(f"`{model}` {count} {status}" for (model, status), count in counts.items())
            yield f"{beginning} without a result, each with its reason below: {words}."


def _from_to(row: pd.Series) -> str:
    start, end, units = row["middle, n = 4"], row["middle, longest"], row["units"]
    return f"`{row['model']}` {start:.2f} to {end:.2f} at n = {units:.0f}"


def _stops(board: pd.DataFrame) -> pd.Series:
    """Which of the models that grow beyond neighbours do so no more in their longest chains."""
    return board["flat from"] <= board["units"] - _LONG_FLAT


def _error(row: pd.Series) -> str:
    return f"`{row['model']}` {row['RMSE, same geometry']:.2f}"


def _middle(row: pd.Series) -> str:
    return f"`{row['model']}` {row['middle, n = 4']:.2f}"


def _list(rows: pd.DataFrame, words: object) -> str:
    return ", ".join(words(row) for _, row in rows.iterrows())  # type: ignore[operator]


def headline(board: pd.DataFrame) -> str:
    """One line for the top of the page."""
    known = int(np.isfinite(board["growth beyond n = 4"]).sum())
    if not known:
        return ""
    more = board[(board["growth beyond n = 4"] >= FLAT) & (board["middle, n = 4"].abs() >= FLAT)]
    growing = int((~_stops(more)).sum())
    if known == 1:
        (name,) = board.loc[np.isfinite(board["growth beyond n = 4"]), "model"]
        return f"{name} {'keeps' if growing else 'does not keep'} growing beyond one neighbour on either side."
    return f"{growing} of {known} models keep growing beyond one neighbour on either side."
