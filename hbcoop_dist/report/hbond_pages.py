"""Gather what a report says of a store; nothing is drawn or written here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from hbcoop_dist import analysis
from hbcoop_dist.analysis import plots
from hbcoop_dist.analysis.growth_fits import LEAST
from hbcoop_dist.analysis.model_scores import reference_width
from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.references import near, reference_energies
from hbcoop_dist.report.campaign_history import campaign_names, campaigns_of, citations_of
from hbcoop_dist.report.complex_pages import build_systems_report, free_dimers_table
from hbcoop_dist.report.content import Chart, Interactive, Report, ReportError, Table
from hbcoop_dist.report.hbond_tables import (
    convergence_table,
    dimer_table,
    failures_table,
    growth_table,
    provenance_table,
    published_table,
    systems_table,
    yardstick_tables,
)
from hbcoop_dist.report.ranking import REFERENCE, leaderboard
from hbcoop_dist.report.sentences import headline, summary

if TYPE_CHECKING:
    from hbcoop_dist.report.structure_viewer import Viewer

_ABOUT = (
    "Cooperative energy: by how much a hydrogen bond is stronger because its neighbours exist (Feng, Xu and Huang "
    "2025, Eq. 1), positive when it is. Chain lengths, models and caps can be explored below; every "
    "sentence here is made from the same numbers."
)
_FIGURES = "As in the paper, to be laid beside it; `hbcoop report STORE -o figures.pdf` writes them for print."
_EXPLORE = (
    "Untick models, choose a quantity, a pattern, caps, geometries. Hollow points are saddles or near-rings; black is "
    "`{}`, at the geometries it was computed at. {} Hover for values."
)


def build_report(
    ds: xr.Dataset,
    name: str = "",
    reference: str = REFERENCE,
    references: xr.Dataset | None = None,
    systems: xr.Dataset | None = None,
) -> Report:
    """Words, tables and figures of a store.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    name : str
        What the store is called; the campaign's name where there is none.
    reference : str
        Level of theory that models are compared with.
    references : xarray.Dataset, optional
        Reference energies; the bundled ones (`hbcoop_dist.references`) when not given.
    systems : xarray.Dataset, optional
        The store's marked systems (`hbcoop_dist.store.open_systems`).

    Raises
    ------
    ReportError
        When there is no such level of theory.
    """
    references = reference_energies() if references is None else references
    if reference not in (names := [str(name) for name in references["model"].values]):
        raise ReportError(f"reference: expected one of {', '.join(names)}, found {reference}{near(reference, names)}")
    ds = analysis.mark_pending(readable(ds).load())
    if systems is not None and bool((ds["status"] == "skipped").all()):
        return build_systems_report(ds, systems, name)
    board = leaderboard(ds, reference, references)
    words = summary(ds, board.frame, reference, reference_width(reference, references))
    tables = (
        *yardstick_tables(ds, references),
        published_table(ds),
        growth_table(ds),
        dimer_table(ds),
        None if systems is None else free_dimers_table(systems),
        None if systems is None else systems_table(systems),
        convergence_table(ds),
        failures_table(ds),
        provenance_table(ds),
    )
    return Report(
        title=name or campaign_names(ds),
        subtitle=headline(board.frame) or "Hydrogen-bond cooperativity of force fields",
        topic="hydrogen-bond cooperativity",
        about=_ABOUT,
        figures_words=_FIGURES,
        summary=words,
        leaderboard=board,
        tables=tuple(table for table in tables if isinstance(table, Table)),
        charts=tuple(_charts(ds, reference, references)),
        campaigns=campaigns_of(ds),
        citations=tuple(citations_of(ds)),
        explore=Interactive(
            _EXPLORE.format(reference, analysis.spread_words(ds)), partial(_explorer, ds, reference, references)
        ),
        molecules=partial(_viewer, ds),
    )


def _explorer(ds: xr.Dataset, reference: str, references: xr.Dataset) -> Any:
    from hbcoop_dist.report.interactive_chains import explorer

    return explorer(ds, reference, references)


def _viewer(ds: xr.Dataset) -> Viewer | None:
    from hbcoop_dist.report.structure_viewer import viewer

    return viewer(ds)


def _charts(ds: xr.Dataset, reference: str, references: xr.Dataset) -> Iterator[Chart]:
    own = ds.sel(geometry=["own"]) if "own" in ds["geometry"].values else ds
    yield Chart(
        "cooperative-energy",
        "Cooperative energy against length",
        f"Head, middle and tail H-bond; hollow points are saddles or near-rings; black: `{reference}`. The paper's "
        f"figures 3 and 4, with caps and without. {analysis.spread_words(own)}",
        partial(plots.cooperative_energy_against_length, own, reference=reference, references=references),
    )
    arcs = "own" in ds["geometry"].values and _with_arcs(ds)
    if arcs and ds["length"].max() > 2:
        yield Chart(
            "every-hbond",
            "Every H-bond of a chain",
            f"Bare arcs; hollow points are saddles or near-rings. {analysis.spread_words(own)}",
            partial(plots.every_hbond, ds),
        )
    if arcs and ds.sizes["length"] >= LEAST:
        yield Chart(
            "growth-curves",
            "Growth of the middle H-bond",
            "Bare arcs whose ends do not meet, each model on a scale of its own, with the exponential of the table "
            "above: solid where it was fitted, its end with the standard error of the fit. Shaded: lengths at which "
            "the bond has more units on one side than a model of short range sees.",
            partial(plots.growth_curves, ds),
        )
    yield Chart(
        "distance",
        "O..N distance against length",
        "The paper's figure 5: a stronger bond is a shorter one.",
        partial(plots.distance_against_length, own),
    )
    if "own" in ds["geometry"].values:
        yield Chart(
            "dimer-figure",
            "Isolated dimers",
            "The paper's figure 2: syn filled, anti open.",
            partial(plots.dimers, ds),
        )
    if arcs and 4 in ds["length"].values:
        yield Chart(
            "parts",
            "Electronic and geometric part",
            "The electronic part has the dimer at the complex's geometry: it is zero for an additive force field.",
            partial(plots.parts, ds),
        )
    if arcs and 4 in ds["length"].values and ds.sizes["rotamer"] > 1:
        yield Chart(
            "rotamers",
            "Methyl rotamers",
            "The same bond in every methyl rotamer of the store, at each model's own minima; hollow: saddles.",
            partial(plots.rotamers, ds),
        )
    if bool((own["status"] == "broken-geometry").any()):
        yield Chart(
            "broken",
            "What broke",
            "The paper's figure S1: where broken chains had come to, the shortest of each kind, lost H-bonds dashed.",
            partial(plots.broken_geometries, own),
        )
    for model in _with_atoms(own):
        yield Chart(
            f"map-{model}",
            f"Where the cooperative energy of {model} comes from",
            "The paper's figure 6 (Eqs. 2 to 5): the middle H-bond of bare arcs, by molecule and length.",
            partial(plots.molecule_map, own, model),
        )


def _with_arcs(ds: xr.Dataset) -> bool:
    return "arc" in ds["pattern"].values and "none" in ds["capping"].values


def _with_atoms(ds: xr.Dataset) -> list[str]:
    if not _with_arcs(ds):
        return []
    part = analysis.done(ds.sel(pattern=["arc"], capping=["none"]).isel(geometry=[0], rotamer=[0]))
    known = (
        part["atomic_cooperative_energy"]
        .notnull()
        .any([d for d in part["atomic_cooperative_energy"].dims if d != "model"])
    )
    return [str(name) for name, there in zip(ds["model"].values, np.atleast_1d(known.values), strict=True) if there]
