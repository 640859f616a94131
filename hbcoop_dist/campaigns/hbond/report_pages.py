"""Pages of a report on a store of hydrogen-bonded chains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import xarray as xr

from hbcoop_dist import analysis
from hbcoop_dist.analysis import plots
from hbcoop_dist.analysis.growth_fits import LEAST
from hbcoop_dist.analysis.model_scores import reference_width
from hbcoop_dist.analysis.report_content import (
    Chart,
    Interactive,
    Report,
    ReportError,
    ReportOptions,
    StructureViewer,
)
from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.campaigns.hbond.report_leaderboard import DEFAULT_REFERENCE, leaderboard
from hbcoop_dist.campaigns.hbond.report_sentences import headline, summary
from hbcoop_dist.campaigns.hbond.report_tables import (
    convergence_table,
    dimer_table,
    growth_table,
    provenance_table,
    published_table,
    reference_tables,
    unfinished_table,
)
from hbcoop_dist.campaigns.report_provenance import campaign_names, campaign_texts, cooperativity_citations
from hbcoop_dist.core.suggestions import suggestion
from hbcoop_dist.references import reference_energies

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

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
    arcs = analysis.done(ds.sel(pattern=["arc"], capping=["none"]).isel(geometry=[0], rotamer=[0]))
    is_known = arcs["atomic_cooperative_energy"].notnull()
    is_known = is_known.any([dim for dim in is_known.dims if dim != "model"])
    return [str(name) for name in ds["model"].values[is_known.values]]
