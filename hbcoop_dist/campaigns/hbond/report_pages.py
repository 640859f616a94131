"""Pages of a report on a store of hydrogen-bonded chains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist import analysis
from hbcoop_dist.analysis import not_done, plots
from hbcoop_dist.analysis.growth_fits import CLOSE, LEAST
from hbcoop_dist.analysis.model_scores import reference_width
from hbcoop_dist.analysis.quantities import with_spread
from hbcoop_dist.analysis.report_content import (
    Chart,
    Interactive,
    Report,
    ReportError,
    ReportOptions,
    StructureViewer,
    campaign_names,
    campaign_texts,
    cooperativity_citations,
)
from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.campaigns.hbond.report_tables import (
    DEFAULT_REFERENCE,
    FLAT,
    convergence_table,
    dimer_table,
    growth_table,
    leaderboard,
    provenance_table,
    published_table,
    reference_tables,
    unfinished_table,
)
from hbcoop_dist.core.failures import suggestion
from hbcoop_dist.references import published_values, reference_energies

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

_CONSTANT_UNITS = 4
"""Number of last units over which a constant value means that the growth has ended."""
_CLOSE_TO_PAPER = 0.5
"""kcal/mol; the uncertainty of the reference levels, rounded up."""
_ABOUT = (
    "The cooperative energy of a hydrogen bond is the increase of its strength due to the other molecules of the chain "
    "(Feng, Xu and Huang 2025, Eq. 1); it is positive when they strengthen the bond. All sentences are made from the "
    "values shown below."
)
_FIGURES = "The figures follow those of the paper; `hbcoop report STORE -o figures.pdf` writes them for print."
_EXPLORER = (
    "Choose models, a quantity, a pattern, caps and a geometry. Hollow points are saddles or near-rings; black is "
    "`{}`, at the geometries for which it was calculated. {} Hover for values."
)


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
        spread, energy = float(spreads.isel(rotamer=0, constraint=0)), row["middle, longest"]
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


def build_report(ds: xr.Dataset, options: ReportOptions | None = None) -> Report:
    """Sentences, tables and figures of a store of hydrogen-bonded chains.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.
    options : ReportOptions, optional
        The default reference level is `DEFAULT_REFERENCE`.

    Returns
    -------
    Report

    Raises
    ------
    ReportError
        When the reference level is not among the references.
    """
    options = options or ReportOptions()
    references = reference_energies() if options.references is None else options.references
    reference = options.reference or DEFAULT_REFERENCE
    levels = [str(name) for name in references["model"].values]
    if reference not in levels:
        raise ReportError(
            f"reference: expected one of {', '.join(levels)}, found {reference}{suggestion(reference, levels)}"
        )
    ds = analysis.mark_pending(readable(ds).load())
    board = leaderboard(ds, reference, references)
    tables = (
        *reference_tables(ds, references),
        published_table(ds),
        growth_table(ds),
        dimer_table(ds),
        convergence_table(ds),
        unfinished_table(ds),
        provenance_table(ds),
    )
    return Report(
        title=options.title or campaign_names(ds),
        subtitle=headline(board.frame) or "Hydrogen-bond cooperativity of force fields",
        topic="hydrogen-bond cooperativity",
        about=_ABOUT,
        figures_caption=_FIGURES,
        summary=summary(ds, board.frame, reference, reference_width(reference, references)),
        leaderboard=board,
        tables=tuple(table for table in tables if table is not None),
        charts=tuple(_charts(ds, reference, references)),
        campaigns=campaign_texts(ds),
        citations=cooperativity_citations(map(str, ds["model"].values)),
        explorer=Interactive(
            _EXPLORER.format(reference, analysis.spread_words(ds)), partial(_explorer, ds, reference, references)
        ),
        draw_viewer=partial(_viewer, ds),
        warnings=tuple(_warnings(ds, references)),
    )


def _explorer(ds: xr.Dataset, reference: str, references: xr.Dataset) -> LayoutDOM:
    from hbcoop_dist.analysis.plots.interactive_chains import chain_explorer

    return chain_explorer(ds, reference, references)


def _viewer(ds: xr.Dataset) -> StructureViewer | None:
    from hbcoop_dist.analysis.plots.structure_viewer import chain_viewer

    return chain_viewer(ds)


def _warnings(ds: xr.Dataset, references: xr.Dataset) -> Iterator[str]:
    bundled = set(map(str, reference_energies()["model"].values))
    levels = set(map(str, references["model"].values)) - bundled
    for name in sorted(levels & set(map(str, ds["model"].values))):
        source = references.attrs.get("source", "references")
        yield f"{source}: {name} is also a model of the store; its rows are shown as a reference level"


def _charts(ds: xr.Dataset, reference: str, references: xr.Dataset) -> Iterator[Chart]:
    has_own = "own" in ds["geometry"].values
    own = ds.sel(geometry=["own"]) if has_own else ds
    has_arcs = has_own and _has_bare_arcs(ds)
    yield Chart(
        "cooperative-energy",
        "Cooperative energy against length",
        f"Head, middle and tail H-bond; hollow points are saddles or near-rings; black: `{reference}`. As in the "
        f"paper's figures 3 and 4, with caps and without. {analysis.spread_words(own)}",
        partial(plots.cooperative_energy_against_length, own, reference=reference, references=references),
    )
    if has_arcs and ds["length"].max() > 2:
        yield Chart(
            "every-hbond",
            "Every H-bond of a chain",
            f"Bare arcs; hollow points are saddles or near-rings. {analysis.spread_words(own)}",
            partial(plots.every_hbond, ds),
        )
    if has_arcs and ds.sizes["length"] >= LEAST:
        yield Chart(
            "growth-curves",
            "Growth of the middle H-bond",
            "Bare arcs without near-rings, each model on its own scale, with the exponential of the table above: solid "
            "in the fitted range, its asymptote with the standard error of the fit. Shaded: lengths at which the bond "
            "has more units on one side than lie within the receptive field of a short-range model.",
            partial(plots.growth_curves, ds),
        )
    yield Chart(
        "distance",
        "O..N distance against length",
        "As in the paper's figure 5.",
        partial(plots.distance_against_length, own),
    )
    if has_own:
        yield Chart(
            "dimer-figure",
            "Isolated dimers",
            "As in the paper's figure 2: syn filled, anti open.",
            partial(plots.dimers, ds),
        )
    if has_arcs and 4 in ds["length"].values:
        yield Chart(
            "parts",
            "Electronic and geometric part",
            "The electronic part has the dimer at the complex's geometry: it is zero for an additive force field.",
            partial(plots.parts, ds),
        )
    if has_arcs and 4 in ds["length"].values and ds.sizes["rotamer"] > 1:
        yield Chart(
            "rotamers",
            "Methyl rotamers",
            "The same bond in every methyl rotamer of the store, at each model's own minima; hollow: saddles.",
            partial(plots.rotamers, ds),
        )
    if bool((own["status"] == "broken-geometry").any()):
        yield Chart(
            "broken",
            "Broken geometries",
            "As in the paper's figure S1: last geometries of broken chains, the shortest of each model, pattern and "
            "capping, with lost H-bonds dotted.",
            partial(plots.broken_geometries, own),
        )
    for model in _models_with_atomic_terms(own):
        yield Chart(
            f"map-{model}",
            f"Cooperative energy of {model} by molecule",
            "As in the paper's figure 6 (Eqs. 2 to 5): middle H-bond of bare arcs, by molecule and length.",
            partial(plots.molecule_map, own, model),
        )


def _has_bare_arcs(ds: xr.Dataset) -> bool:
    return "arc" in ds["pattern"].values and "none" in ds["capping"].values


def _models_with_atomic_terms(ds: xr.Dataset) -> list[str]:
    """Models whose bare arcs have an atomic decomposition of the cooperative energy."""
    if not _has_bare_arcs(ds):
        return []
    arcs = analysis.done(ds.sel(pattern=["arc"], capping=["none"]).isel(geometry=[0], rotamer=[0], constraint=[0]))
    is_known = arcs["atomic_cooperative_energy"].notnull()
    is_known = is_known.any([dim for dim in is_known.dims if dim != "model"])
    return [str(name) for name in ds["model"].values[is_known.values]]
