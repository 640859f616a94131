"""Tables of a report beside the leaderboard: the yardstick, the dimers, convergence, what failed, provenance.

Where each model's cooperative energy stops growing, beside how far the model sees.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hbcoop_dist.analysis import not_done
from hbcoop_dist.analysis.growth_fits import CLOSE, growth
from hbcoop_dist.analysis.model_scores import reference_width
from hbcoop_dist.analysis.paper_values import WITHIN, beside_published
from hbcoop_dist.analysis.plots.isolated_dimers import syn_anti_difference
from hbcoop_dist.analysis.receptive_field import units_seen
from hbcoop_dist.analysis.reference_levels import beside_models, by_level, wall_times
from hbcoop_dist.analysis.selection import done, readable
from hbcoop_dist.references import bundled_geometries
from hbcoop_dist.report.content import Table
from hbcoop_dist.report.ranking import REFERENCE, card_of, with_something_to_grow
from hbcoop_dist.report.sentences import FLAT

_FORCE_MEV = 1000.0


def yardstick_tables(ds: xr.Dataset, references: xr.Dataset) -> Iterator[Table]:
    """Every level of theory and every model of the store at each bundled geometry the store has, and at own minima."""
    width, source = reference_width(REFERENCE, references), references.attrs.get("source")
    beside = f" and from `{source}`" if source else ""
    if np.isfinite(width):
        beside += f"; those of like standing differ by up to {width:.2f} (root mean square), which ranks nobody"
    for geometry in bundled_geometries():
        wanted = {"geometry": [geometry, "own"], "pattern": ["arc"]}
        if any(label not in ds[dim].values for dim, labels in wanted.items() for label in labels):
            continue
        rotamer = str(ds["rotamer"].values[0])
        levels = by_level(references=references).reset_index()
        levels = levels[levels["geometry"] == geometry].drop(columns=["geometry", "rotamer", "dimer V"])
        levels = levels.dropna(how="all", subset=levels.columns[1:])
        models = beside_models(ds, geometry)
        if models.empty or levels.empty:
            continue
        levels.columns = pd.Index(["model", *(f"{place}, there" for place in levels.columns[1:])])
        models.columns = pd.Index([", ".join(names) for names in models.columns.tolist()])
        frame = pd.concat([levels, models.rename_axis("model").reset_index()], ignore_index=True)
        frame = frame[["model", *models.columns]]
        words = (
            f"Cooperative energy of bare arcs and of the capped dimer, kcal/mol, rotamer {rotamer}: `there` at the "
            f"very geometries of `{geometry}`, where models and levels of theory differ in energy alone, and `own` at "
            "each model's minima. Levels of theory come with the package" + beside + "."
        )
        yield Table(f"yardstick-{geometry}", f"Beside MP2, at the geometries of {geometry}", words, frame)
    times = wall_times().reset_index()
    times.columns = pd.Index(list(map(str, times.columns)))
    words = "Seconds for the fragments of a chain, SCF and MP2; its isolated dimers are the chain of two."
    yield Table("wall-times", "What the levels of theory cost", words, times, 0)


def published_table(ds: xr.Dataset) -> Table | None:
    """Printed numbers of models that the store has; None when there are none."""
    frame = beside_published(ds)
    if frame.empty:
        return None
    frame = frame.assign(inside=["yes" if inside else "no" for inside in frame["inside"]])
    words = (
        "Numbers that the paper's text gives for families of models, and what the store has for their members, at "
        f"own minima, kcal/mol; `inside` allows {WITHIN:g}, one in the last digit that is printed. The paper does not"
        " say which methyl rotamers it has, and they move ANI's numbers by a factor of two. Its additive force "
        "fields are exactly zero on rigid geometries; here what is left is geometric."
    )
    return Table("printed", "Beside the paper's numbers", words, frame)


def dimer_table(ds: xr.Dataset) -> Table | None:
    """Interaction energy and O..N distance of the isolated dimers; None when no dimer is done."""
    names = ["dimer_interaction_energy", "dimer_distance_on", "dimer_status"]
    if "own" not in ds["geometry"].values:
        return None
    found = done(ds[names]).sel(geometry="own").isel(rotamer=0).compute()
    difference = syn_anti_difference(ds).sel(geometry="own").isel(rotamer=0)
    frame = pd.DataFrame({"model": [str(name) for name in ds["model"].values]})
    for conformer in map(str, found["conformer"].values):
        frame[f"{conformer}, kcal/mol"] = found["dimer_interaction_energy"].sel(conformer=conformer).values
    frame["anti less syn, kcal/mol"] = difference.values
    for conformer in map(str, found["conformer"].values):
        frame[f"{conformer}, O..N, A"] = found["dimer_distance_on"].sel(conformer=conformer).values
    if frame.drop(columns="model").isna().all(axis=None):
        return None
    words = (
        "Interaction energy and O..N distance of isolated dimers, at own minima. The paper's MP2: anti less syn 0.6."
    )
    return Table("dimers", "Isolated dimers", words, frame, 3)


def convergence_table(ds: xr.Dataset) -> Table:
    """Forces left, force calls, time, and what was flagged, by model."""
    found = readable(ds)
    own = found.sel(geometry=["own"]) if "own" in ds["geometry"].values else found
    rows = []
    for model in map(str, ds["model"].values):
        here = own.sel(model=model)
        ok = here["status"] == "done"
        statuses = pd.Series(found["status"].sel(model=model).values.ravel()).value_counts()
        rows.append(
            {
                "model": model,
                "done": int(statuses.get("done", 0)),
                "broken": int(statuses.get("broken-geometry", 0)),
                "unconverged": int(statuses.get("unconverged", 0)),
                "failed": int(statuses.get("failed", 0) + statuses.get("quarantined", 0)),
                "saddles": int(((here["saddle"] == 1) & ok).sum()),
                "near-rings": int(((here["near_ring"] == 1) & ok).sum()),
                "largest force left, meV/A": _FORCE_MEV * _largest(here["max_force"].where(ok)),
                "force calls, median": float(here["force_calls"].where(ok).median()),
                "seconds, all cells": float(found["seconds"].sel(model=model).sum()),
            }
        )
    words = (
        "Saddles and near-rings are results and are marked, not left out: a saddle is a planar stationary point with a "
        "way down out of the plane (another rotamer has none, or it is drawn hollow), a near-ring a chain whose ends "
        "meet. Seconds are the sum over cells of the time their own tasks took, on one core each."
    )
    places = {"force calls, median": 1, "seconds, all cells": 0}
    return Table("convergence", "Convergence", words, pd.DataFrame(rows), 3, places)


def failures_table(ds: xr.Dataset) -> Table | None:
    """What is not done and why, one row per reason; None when everything is."""
    rows = []
    for group in not_done(ds):
        lengths = sorted(set(group.values("length"))) if group.kind == "cell" else []
        rows.append(
            {
                "count": group.count,
                "what": f"{group.kind}s" if group.count > 1 else group.kind,
                "status": group.status,
                "models": ", ".join(map(str, group.values("model"))),
                "where": ", ".join(_where(group.labels[0].keys(), group.values)) + _lengths(lengths),
                "reason": ("" if group.alike else "e.g. ") + (group.reason or "not computed yet"),
            }
        )
    if not rows:
        return None
    words = (
        "A cell that could not be computed is a row with its reason, and never a zero. Reasons that differ in their "
        "numbers only are one row, which gives one of them (e.g.)."
    )
    return Table("not-done", "What is not done, and why", words, pd.DataFrame(rows), 0)


def systems_table(systems: xr.Dataset) -> Table:
    """Marked systems, one row per model and system.

    Parameters
    ----------
    systems : xarray.Dataset
        What `hbcoop_dist.store.open_systems` gives.
    """
    names = ["status", "cooperative_energy", "interaction_energy", "interaction_energy_dimer", "distance", "reason"]
    found = readable(systems)[names]
    known = found["status"] == "done"
    found = found.assign({name: found[name].where(known) for name in names if found[name].dtype.kind == "f"})
    frame = found.to_dataframe()[names].reset_index()
    frame.columns = pd.Index([str(name).replace("_", " ") for name in frame.columns])
    words = (
        "Marked pairs A and B in any cluster: by how much their bond is stronger because the rest is there, and their "
        "interaction energies in it and alone, kcal/mol; shortest distance between them, A."
    )
    return Table("systems", "Marked systems", words, frame)


def provenance_table(ds: xr.Dataset) -> Table:
    """Which parameters and packages gave the numbers, by model."""
    found = readable(ds)
    rows = []
    for model in map(str, ds["model"].values):
        card = card_of(model)
        first = {
            name: next((str(text) for text in found[name].sel(model=model).values.ravel() if text), "")
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
                "licence": "" if card is None else card.about.licence,
            }
        )
    words = "Hashes are cut to sixteen digits here; the store has them whole, for every cell."
    return Table("provenance", "Provenance", words, pd.DataFrame(rows))


def _largest(values: xr.DataArray) -> float:
    known = values.values[np.isfinite(values.values)]
    return float(known.max()) if known.size else float("nan")


def _where(dims: object, values: object) -> Iterator[str]:
    for dim in dims:  # type: ignore[attr-defined]
        if dim in ("pattern", "capping", "geometry", "conformer"):
            yield "/".join(map(str, values(dim)))  # type: ignore[operator]


def _lengths(lengths: list[int]) -> str:
    if not lengths:
        return ""
    whole = lengths == list(range(lengths[0], lengths[-1] + 1)) and len(lengths) > 2
    return f", n = {lengths[0]} to {lengths[-1]}" if whole else f", n = {', '.join(map(str, lengths))}"


def growth_table(ds: xr.Dataset) -> Table | None:
    """Middle H-bond of bare arcs at own minima; None when the store has none of three units and more.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    """
    wanted = {"pattern": "arc", "capping": "none", "geometry": "own"}
    if any(label not in ds[dim].values for dim, label in wanted.items()) or ds["length"].max() < 3:
        return None
    part = ds.sel({dim: [label] for dim, label in wanted.items()})
    if "near_ring" in part:
        part = part.assign(cooperative_energy=part["cooperative_energy"].where(part["near_ring"] != 1))
    energy = done(part[["cooperative_energy", "status"]])["cooperative_energy"].sel(position="middle")
    # named, because a store may have one model or one length
    one = {**dict.fromkeys(wanted, 0), "rotamer": 0}
    energy = energy.isel(one, drop=True)
    fits = with_something_to_grow(growth(part), part).sel(position="middle").isel(one, drop=True)
    rows = [
        {
            "model": model,
            **_values(ds, energy.sel(model=model).values),
            **_fit(fits.sel(model=model)),
            **_sight(ds, model),
        }
        for model in map(str, ds["model"].values)
    ]
    words = (
        "Middle H-bond of bare arcs, kcal/mol; chains whose ends meet are left out. `flat from` is the length from "
        f"which on every value lies within {CLOSE:g} kcal/mol of the longest chain's (empty where only that one does,"
        f" or none is as large as {FLAT:g}); two shapes are fitted through all lengths, `exponential` and `power`, "
        "and what they tend to stands with its standard error (a fit that the lengths do not pin down is left out). "
        "`sees` is cutoff times message-passing layers, and `units seen` how many units beyond its neighbour some "
        "atom of the model has in sight together with both partners of the first bond, in its own longest arc: no "
        "other unit can have an electronic share in the bond. `-`: a checkpoint that only its campaign knows, and "
        "that a store does not hold."
    )
    return Table("growth", "Growth with the chain", words, pd.DataFrame(rows), places={"flat from": 0})


def _values(ds: xr.Dataset, values: NDArray[np.float64]) -> dict[str, float]:
    at = dict(zip(ds["length"].values.tolist(), values.tolist(), strict=True))
    return {f"n = {length}": float(at[length]) for length in (3, 4, 6, 8, 11) if length in at}


def _fit(fit: xr.Dataset) -> dict[str, object]:
    found: dict[str, object] = {"flat from": float(fit["saturation_length"])}
    for shape in map(str, fit["shape"].values):
        end, error = float(fit["asymptote"].sel(shape=shape)), float(fit["asymptote_error"].sel(shape=shape))
        found[shape] = f"{end:.2f} ± {error:.2f}" if np.isfinite(end) and error < 0.5 else ""
    return found


def _sight(ds: xr.Dataset, model: str) -> dict[str, object]:
    card = card_of(model)
    if card is None:
        return {"sees": "-", "units seen": "-"}
    if card.about.cutoff is None:
        return {"sees": "everything", "units seen": "all"}
    field = card.about.cutoff * card.about.layers
    words = f"{card.about.cutoff:g} A x {card.about.layers}" + (
        ", and charges everywhere" if card.about.long_range else ""
    )
    seen = units_seen(ds, model, field)
    return {"sees": words, "units seen": "all" if card.about.long_range else ("" if seen < 0 else str(seen))}
