"""Tables of a report on hydrogen-bonded chains, the leaderboard among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hbcoop_dist.analysis import not_done, scores, syn_anti_difference
from hbcoop_dist.analysis.growth_fits import CLOSE, growth, units_seen
from hbcoop_dist.analysis.model_scores import ranks, reference_width
from hbcoop_dist.analysis.reference_levels import WITHIN, beside_models, beside_published, by_level, wall_times
from hbcoop_dist.analysis.report_content import Table
from hbcoop_dist.analysis.selection import done, readable
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models import cards
from hbcoop_dist.references import bundled_geometries

_MEV = 1000.0
"""meV per eV."""
_GROWTH_LENGTHS = (3, 4, 6, 8, 11)
DEFAULT_REFERENCE = "rimp2:cc-pvtz:frozen-core"
"""Reference level that models are compared with unless another one is named."""
FLAT = 0.1
"""kcal/mol; smaller changes beyond n = 4 do not count as growth, smaller values at n = 4 not as cooperativity."""
_LARGEST_ERROR = 0.5
"""kcal/mol; asymptotes with a larger standard error are not shown."""


def reference_tables(ds: xr.Dataset, references: xr.Dataset) -> Iterator[Table]:
    """Reference levels beside the models of a store, and the wall times of the reference levels.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.
    references : xarray.Dataset
        Reference energies.

    Yields
    ------
    Table
        One for each bundled set of geometries that the store has, and the wall times.
    """
    width, source = reference_width(DEFAULT_REFERENCE, references), references.attrs.get("source")
    origin = f" and from `{source}`" if source else ""
    if np.isfinite(width):
        origin += (
            f"; comparable ones differ from `{DEFAULT_REFERENCE}` by up to {width:.2f} (root mean square), and smaller "
            "differences between models do not rank them"
        )
    for geometry in bundled_geometries():
        required = {"geometry": [geometry, "own"], "pattern": ["arc"]}
        if any(label not in ds[dim].values for dim, labels in required.items() for label in labels):
            continue
        levels = by_level(references=references).reset_index()
        levels = levels[levels["geometry"] == geometry].drop(columns=["geometry", "rotamer", "dimer V"])
        levels = levels.dropna(how="all", subset=levels.columns[1:])
        models = beside_models(ds, geometry)
        if models.empty or levels.empty:
            continue
        levels.columns = pd.Index(["model", *(f"{place}, there" for place in levels.columns[1:])])
        models.columns = pd.Index([", ".join(names) for names in models.columns.tolist()])
        frame = pd.concat([levels, models.rename_axis("model").reset_index()], ignore_index=True)
        caption = (
            f"Cooperative energy of bare arcs and of the capped dimer, kcal/mol, rotamer {ds['rotamer'].values[0]}. "
            f"`there`: at the geometries of `{geometry}`, where models and reference levels differ in energy alone; "
            f"`own`: at the minima of each model. Reference levels are bundled with the package{origin}."
        )
        title = f"Reference levels, at the geometries of {geometry}"
        yield Table(f"reference-{geometry}", title, caption, frame[["model", *models.columns]])
    times = wall_times().reset_index()
    times.columns = pd.Index(list(map(str, times.columns)))
    caption = (
        "Seconds for the SCF and MP2 calculations of all fragments of a chain; the chain of two is the isolated dimer."
    )
    yield Table("wall-times", "Wall times of the reference levels", caption, times, 0, in_navigation=False)


def published_table(ds: xr.Dataset) -> Table | None:
    """Values printed in the paper beside those of the store.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    Table or None
        None when the paper has no values for the models of the store.
    """
    frame = beside_published(ds)
    if frame.empty:
        return None
    frame = frame.assign(inside=["yes" if inside else "no" for inside in frame["inside"]])
    caption = (
        "Values that the paper's text gives for families of models, and those of their members in the store at own "
        f"minima, kcal/mol. `inside` allows a deviation of {WITHIN:g}, one unit in the last printed digit. The paper "
        "does not state its methyl rotamers, which change ANI's values by a factor of two. Its additive force fields "
        "are exactly zero on rigid geometries; here the geometric part remains."
    )
    return Table("printed", "Values of the paper", caption, frame)


def growth_table(ds: xr.Dataset) -> Table | None:
    """Growth of the middle H-bond of bare arcs with length, and the receptive fields of the models.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    Table or None
        None when the store has no bare arcs of three units or more at own minima.
    """
    fits = growth_of_arcs(ds)
    if fits is None or ds["length"].max() < min(_GROWTH_LENGTHS):
        return None
    rows = []
    for model in map(str, ds["model"].values):
        fit = fits.sel(model=model)
        energies = fit["cooperative_energy"]
        row: dict[str, object] = {"model": model}
        row |= {f"n = {n}": float(energies.sel(length=n)) for n in _GROWTH_LENGTHS if n in ds["length"].values}
        row["flat from"] = float(fit["saturation_length"])
        for shape in map(str, fit["shape"].values):
            limit = fit.sel(shape=shape)
            row[shape] = asymptote_text(float(limit["asymptote"]), float(limit["asymptote_error"]))
        rows.append(row | _receptive_field(ds, model))
    caption = (
        "Middle H-bond of bare arcs, kcal/mol, without near-rings. `flat from`: length from which on all values lie "
        f"within {CLOSE:g} of the longest chain's (empty where only the longest does, or no value reaches {FLAT:g}). "
        "`exponential`, `power`: asymptotes of two functions fitted to all lengths, with their standard errors (empty "
        "where the fit does not determine them). `receptive field`: cutoff times message-passing layers. `units "
        "within`: units beyond the nearest neighbour that have, in the model's own longest arc, an atom within the "
        "receptive field of an atom that also has both partners of the first bond within it; units further away "
        "cannot contribute to the electronic part. `-`: a checkpoint that is not registered."
    )
    return Table("growth", "Growth with the chain", caption, pd.DataFrame(rows), column_digits={"flat from": 0})


def _receptive_field(ds: xr.Dataset, model: str) -> dict[str, object]:
    card = cards().get(model)
    if card is None:
        return {"receptive field": "-", "units within": "-"}
    if card.about.cutoff is None:
        return {"receptive field": "unlimited", "units within": "all"}
    description = f"{card.about.cutoff:g} A x {card.about.layers}"
    if card.about.long_range:
        return {"receptive field": f"{description}, and long-range terms", "units within": "all"}
    units = units_seen(ds, model, card.about.cutoff * card.about.layers)
    return {"receptive field": description, "units within": "" if units < 0 else str(units)}


def dimer_table(ds: xr.Dataset) -> Table | None:
    """Interaction energy and O..N distance of the isolated dimers.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    Table or None
        None when no isolated dimer is done at own minima.
    """
    if "own" not in ds["geometry"].values:
        return None
    names = ["dimer_interaction_energy", "dimer_distance_on", "dimer_status"]
    dimers = done(ds[names]).sel(geometry="own").isel(rotamer=0, constraint=0).compute()
    difference = syn_anti_difference(ds).sel(geometry="own").isel(rotamer=0, constraint=0)
    conformers = [str(conformer) for conformer in dimers["conformer"].values]
    frame = pd.DataFrame({"model": [str(name) for name in ds["model"].values]})
    for conformer in conformers:
        frame[f"{conformer}, kcal/mol"] = dimers["dimer_interaction_energy"].sel(conformer=conformer).values
    frame["anti minus syn, kcal/mol"] = difference.values
    for conformer in conformers:
        frame[f"{conformer}, O..N, A"] = dimers["dimer_distance_on"].sel(conformer=conformer).values
    if frame.drop(columns="model").isna().all(axis=None):
        return None
    caption = (
        "Interaction energy and O..N distance of the isolated dimers at own minima. The paper's MP2 value of anti "
        "minus syn is 0.6 kcal/mol."
    )
    return Table("dimers", "Isolated dimers", caption, frame, 3)


def convergence_table(ds: xr.Dataset) -> Table:
    """Counts of statuses and flags, remaining forces and computing time by model.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    Table
    """
    cells = readable(ds)
    own = cells.sel(geometry=["own"]) if "own" in ds["geometry"].values else cells
    rows = []
    for model in map(str, ds["model"].values):
        minima = own.sel(model=model)
        is_done = minima["status"] == "done"
        counts = pd.Series(cells["status"].sel(model=model).values.ravel()).value_counts()
        rows.append(
            {
                "model": model,
                "done": int(counts.get("done", 0)),
                "broken": int(counts.get("broken-geometry", 0)),
                "unconverged": int(counts.get("unconverged", 0)),
                "failed": int(counts.get("failed", 0) + counts.get("quarantined", 0)),
                "saddles": int(((minima["saddle"] == 1) & is_done).sum()),
                "near-rings": int(((minima["near_ring"] == 1) & is_done).sum()),
                "largest remaining force, meV/A": _MEV * _largest(minima["max_force"].where(is_done)),
                "force calls, median": float(minima["force_calls"].where(is_done).median()),
                "seconds, all cells": float(cells["seconds"].sel(model=model).sum()),
            }
        )
    caption = (
        "Saddles and near-rings are results; figures draw them hollow. A saddle is a stationary point with a mode of "
        "negative curvature that the constraint allows; a near-ring is a chain whose ends meet. Seconds are summed "
        "over the tasks of each cell, on one core each."
    )
    digits = {"force calls, median": 1, "seconds, all cells": 0}
    return Table("convergence", "Convergence", caption, pd.DataFrame(rows), 3, digits)


def _largest(values: xr.DataArray) -> float:
    finite = values.values[np.isfinite(values.values)]
    return float(finite.max()) if finite.size else float("nan")


def unfinished_table(ds: xr.Dataset) -> Table | None:
    """Cells and isolated dimers that are not done, with their reasons.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    Table or None
        One row per reason; None when everything is done.
    """
    rows = []
    for group in not_done(ds):
        lengths = sorted(set(group.values("length"))) if group.kind == "cell" else []
        rows.append(
            {
                "count": group.count,
                "kind": f"{group.kind}s" if group.count > 1 else group.kind,
                "status": group.status,
                "models": ", ".join(map(str, group.values("model"))),
                "labels": ", ".join(_labels(group.labels[0], group.values)) + _lengths(lengths),
                "reason": ("" if group.alike else "e.g. ") + (group.reason or "not computed yet"),
            }
        )
    if not rows:
        return None
    caption = (
        "Cells without a result and their reasons; their values are missing, not zero. Reasons that differ only in "
        "their numbers share a row, which gives one of them as an example (e.g.)."
    )
    return Table("not-done", "Cells without a result", caption, pd.DataFrame(rows), 0)


def _labels(dims: Collection[str], values: Callable[[str], list[Any]]) -> Iterator[str]:
    for dim in ("pattern", "capping", "geometry", "constraint", "conformer"):
        if dim in dims:
            yield "/".join(map(str, values(dim)))


def _lengths(lengths: list[int]) -> str:
    if not lengths:
        return ""
    is_range = len(lengths) > 2 and lengths == list(range(lengths[0], lengths[-1] + 1))
    return f", n = {lengths[0]} to {lengths[-1]}" if is_range else f", n = {', '.join(map(str, lengths))}"


def provenance_table(ds: xr.Dataset) -> Table:
    """Checkpoint, parameters, packages and device of every model.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    Table
    """
    cells, registered = readable(ds), cards()
    rows = []
    for model in map(str, ds["model"].values):
        first = {
            name: next((str(text) for text in cells[name].sel(model=model).values.ravel() if text), "")
            for name in ("checkpoint_sha256", "parameter_hash", "versions", "dtype", "device")
        }
        versions = json.loads(first["versions"] or "{}")
        rows.append(
            {
                "model": model,
                "checkpoint, SHA-256": first["checkpoint_sha256"][:16] or "in its package",
                "parameters": first["parameter_hash"][:16],
                "float type": first["dtype"],
                "device": first["device"],
                "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
                "licence": registered[model].about.licence if model in registered else "",
            }
        )
    caption = "Of the first cell of each model. Hashes are cut to sixteen digits; the store has them in full per cell."
    return Table("provenance", "Provenance", caption, pd.DataFrame(rows))


def leaderboard(ds: xr.Dataset, reference: str, references: xr.Dataset) -> Table:
    """Errors, growth and geometry of every model of a store.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.
    reference : str
        Reference level of the errors.
    references : xarray.Dataset
        Reference energies.

    Returns
    -------
    Table
    """
    by_model = scores(ds, reference, references=references)
    width = reference_width(reference, references)
    # without a second level to compare with, the reference level is taken as exact
    rank_ranges = ranks(by_model["rmse_there"], 0.0 if np.isnan(width) else width)
    saturation, asymptote = _growth_of_middle(ds)
    levels_of_theory = {name: card.about.level_of_theory for name, card in cards().items()}
    frame = pd.DataFrame({"model": by_model.index})
    frame["rank"] = [_rank_range(best, worst) for best, worst in rank_ranges.itertuples(index=False)]
    frame["RMSE, same geometry"] = by_model["rmse_there"].values
    frame["RMSE, own minimum"] = by_model["rmse_own"].values
    frame["capped dimer"] = _energy_of_arc(ds, 2, "water", "head")
    frame["middle, n = 4"] = _energy_of_arc(ds, 4, "none", "middle")
    frame["middle, longest"] = by_model["middle"].values
    frame["units"] = by_model["length"].values
    frame["growth beyond n = 4"] = by_model["beyond"].values
    frame["flat from"] = saturation
    frame["asymptote"] = asymptote
    frame["ends, longest"] = by_model["terminal"].values
    frame["O..N change, A"] = by_model["shortening"].values
    frame["unbroken, %"] = (100 * by_model["unbroken"]).values
    frame["cells"] = by_model["cells"].values
    frame["level of theory"] = [levels_of_theory.get(name, "") for name in by_model.index]
    digits = {"units": 0, "flat from": 0, "unbroken, %": 0, "cells": 0, "O..N change, A": 3}
    return Table("leaderboard", "Leaderboard", _caption(reference, references, width), frame, column_digits=digits)


def _caption(reference: str, references: xr.Dataset, width: float) -> str:
    source = references.attrs.get("source")
    origin = f" References are the bundled ones and those of `{source}`." if source else ""
    uncertainty = (
        "no comparable reference level is available, so its uncertainty is not known and ranks take it as exact"
        if np.isnan(width)
        else f"comparable reference levels differ from it by up to {width:.2f} (root mean square), and models whose "
        "errors differ by less than that share their ranks"
    )
    return (
        f"Bare arcs at own minima unless stated otherwise, kcal/mol. Errors are relative to `{reference}`, each H-bond "
        f"counted once; {uncertainty}.{origin} `middle, longest`: middle H-bond of the longest chain that is not a "
        "near-ring, of so many `units`. `growth beyond n = 4`: its increase relative to n = 4, where the bond has one "
        f"neighbour on either side. `flat from`: length from which on all values lie within {CLOSE:g} of the longest "
        f"chain's; empty where only the longest does, or no value reaches {FLAT:g}. `asymptote`: limit of an "
        "exponential fitted to all lengths. `O..N change`: distance in the chain minus that of the isolated dimer. "
        "`unbroken, %`: share of the arcs calculated (`cells`: all lengths, caps and geometries) that kept their "
        "H-bonds; linear chains are in the table of convergence. The paper's MP2 values are 2.5 for the capped dimer, "
        "2.8 for the middle at n = 4, and at most 4.2 in the middle and 2.2 at the ends. Missing values are empty."
    )


def _rank_range(best: float, worst: float) -> str:
    if not np.isfinite(best):
        return ""
    return f"{best:.0f}" if best == worst else f"{best:.0f} to {worst:.0f}"


def _energy_of_arc(ds: xr.Dataset, length: int, capping: str, position: str) -> FloatArray:
    """Cooperative energy of one H-bond by model, kcal/mol; NaN where the store does not have it."""
    labels = {"length": length, "capping": capping, "position": position, "pattern": "arc", "geometry": "own"}
    if any(label not in ds[dim].values for dim, label in labels.items()):
        return np.full(ds.sizes["model"], np.nan)
    energies = (
        done(ds[["cooperative_energy", "status"]])["cooperative_energy"].sel(labels).isel(rotamer=0, constraint=0)
    )
    return np.asarray(energies.values, dtype=float)


def growth_of_arcs(ds: xr.Dataset) -> xr.Dataset | None:
    """Growth of the middle H-bond of bare arcs at own minima, without near-rings, at the first rotamer.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store of kind ``hbond``.

    Returns
    -------
    xarray.Dataset or None
        The variables of `hbcoop_dist.analysis.growth_fits.growth` and ``cooperative_energy`` (kcal/mol), dims model,
        length and shape. The saturation length is NaN where no value reaches `FLAT`. None when the store has no bare
        arcs at own minima.
    """
    labels = {"pattern": "arc", "capping": "none", "geometry": "own"}
    if any(label not in ds[dim].values for dim, label in labels.items()):
        return None
    arcs = ds[["cooperative_energy", "status", "position_conformer"]]
    if "near_ring" in ds:
        arcs = arcs.assign(cooperative_energy=ds["cooperative_energy"].where(ds["near_ring"] != 1))
    arcs = arcs.sel({dim: [label] for dim, label in labels.items()})
    energy = done(arcs[["cooperative_energy", "status"]])["cooperative_energy"]
    fits = growth(arcs)
    saturation = fits["saturation_length"].where(abs(energy).max("length") >= FLAT)
    fits = fits.assign(saturation_length=saturation, cooperative_energy=energy)
    return fits.isel({**dict.fromkeys(labels, 0), "rotamer": 0, "constraint": 0}, drop=True).sel(
        position="middle", drop=True
    )


def _growth_of_middle(ds: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Saturation length and asymptote (kcal/mol) of the middle H-bond by model, NaN where not determined."""
    fits = growth_of_arcs(ds)
    if fits is None:
        return np.full(ds.sizes["model"], np.nan), np.full(ds.sizes["model"], np.nan)
    fits = fits.sel(shape="exponential")
    asymptote = fits["asymptote"].where(fits["asymptote_error"] < _LARGEST_ERROR)
    return np.asarray(fits["saturation_length"].values, dtype=float), np.asarray(asymptote.values, dtype=float)


def asymptote_text(value: float, error: float) -> str:
    """Asymptote with its standard error, empty when the fit does not determine it.

    Parameters
    ----------
    value, error : float
        kcal/mol.

    Returns
    -------
    str
    """
    return f"{value:.2f} ± {error:.2f}" if np.isfinite(value) and error < _LARGEST_ERROR else ""
