"""Every model's cooperative energy at the very geometries of a reference, beside its own: the clean test of a model.

At its own minima a model errs in geometry and in energy at once; at given ones in energy alone.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from hbcoop_dist.analysis.selection import DONE, done, readable
from hbcoop_dist.analysis.tables.terminal import Columns, Row, Section
from hbcoop_dist.core.suggestions import suggestion
from hbcoop_dist.references import reference_energies
from hbcoop_dist.structures import position_of

_DIMS = ("model", "pattern", "length", "capping", "rotamer", "position")


class ComparisonError(ValueError):
    """Models cannot be compared with a reference as asked for; the message names what was expected and found."""


def same_geometry(ds: xr.Dataset, reference: str, geometry: str, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Cooperative energies at one geometry, less the reference's there, and those at own minima; kcal/mol.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    reference : str
        Model that the others are compared with.
    geometry : str
        Whose geometries: a label of the store's axis other than ``own``.
    statuses : collection of str
        Statuses whose values count as results; all others are missing.

    Returns
    -------
    xarray.Dataset
        ``same``, ``difference`` (same less the reference's) and ``own`` of every model, and ``reference`` without that
        dim, over pattern, length, capping, rotamer and position.

    Raises
    ------
    ComparisonError
        When the store has no such model or geometry.
    """
    for dim, label in (("model", reference), ("geometry", geometry)):
        if label not in (known := [str(value) for value in ds[dim].values]):
            raise ComparisonError(f"expected a {dim} of the store ({', '.join(known)}), found {label}")
    energies = done(ds[["cooperative_energy", "status"]], statuses)["cooperative_energy"]
    same = energies.sel(geometry=geometry, drop=True).transpose(*_DIMS)
    yardstick = same.sel(model=reference, drop=True)
    own = (
        energies.sel(geometry="own", drop=True).transpose(*_DIMS)
        if "own" in ds["geometry"].values
        else xr.full_like(same, np.nan)
    )
    return xr.Dataset(
        {"reference": yardstick, "same": same, "difference": same - yardstick, "own": own},
        attrs={"reference": reference, "geometry": geometry},
    )


def with_references(ds: xr.Dataset, reference: str) -> xr.Dataset:
    """Cooperative energies and status of a store, beside those of a bundled reference that the store lacks.

    Raises
    ------
    ComparisonError
        When neither the store nor the package has such a model, or they share no geometry.
    """
    found = ds[["cooperative_energy", "status"]]
    own = [str(name) for name in ds["model"].values]
    bundled = reference_energies()
    if reference in own:
        return found
    if reference not in bundled["model"].values:
        known = ", ".join(str(name) for name in bundled["model"].values)
        raise ComparisonError(
            f"expected a model of the store ({', '.join(own)}), or a bundled one ({known}), found {reference}"
            + suggestion(reference, [*own, *map(str, bundled["model"].values)])
        )
    labels = [str(name) for name in ds["geometry"].values]
    shared = [name for name in labels if name in bundled["geometry"].values]
    if not shared:
        known = ", ".join(str(name) for name in bundled["geometry"].values)
        raise ComparisonError(
            f"expected one of the geometries that {reference} is bundled for ({known}) among those of the store, found "
            f"{', '.join(labels)}; give the campaign geometry: [own, {known.partition(',')[0]}]"
        )
    row = bundled[["cooperative_energy", "status"]].sel(model=[reference])
    row = row.reindex({name: found[name] for name in _DIMS[1:]} | {"geometry": found["geometry"]})
    row["status"] = row["status"].where(row["status"].notnull(), "pending")
    return xr.concat([readable(found), row], "model", combine_attrs="override")


def same_geometry_tables(ds: xr.Dataset, reference: str, statuses: Collection[str] = DONE) -> list[RenderableType]:
    """One table per geometry at which the reference has results: same, difference and own, by H-bond.

    The reference is a model of the store, or one whose energies come with the package.

    Raises
    ------
    ComparisonError
        When there is no such model, or it has no result at a geometry that it shares with others.
    """
    ds = with_references(ds, reference)
    shared = [str(label) for label in ds["geometry"].values if label != "own"]
    found = [same_geometry(ds, reference, geometry, statuses) for geometry in shared]
    tables = [_table(one) for one in found if bool(one["reference"].notnull().any())]
    if not tables:
        where = ", ".join(shared) or "none beside own"
        raise ComparisonError(f"expected results of {reference} at a geometry that models share ({where}), found none")
    return [piece for table in tables for piece in (table, Text(""))][:-1]


def _table(found: xr.Dataset) -> RenderableType:
    stacked = found.stack(place=("pattern", "capping", "rotamer", "position", "length"))
    stacked = stacked.isel(place=np.flatnonzero(_worth_a_section(stacked)))
    varying = [dim for dim in ("pattern", "capping", "rotamer") if found.sizes[dim] > 1]
    sections = []
    for place in range(stacked.sizes["place"]):
        at = stacked.isel(place=place)
        where = ", ".join(
            [f"n = {int(at['length'])}", str(at["position"].values), *(str(at[dim].values) for dim in varying)]
        )
        rows = [
            Row(
                (str(model),),
                tuple(_number(float(at[name].sel(model=model))) for name in ("same", "difference", "own")),
            )
            for model in found["model"].values
            if bool(at["same"].sel(model=model).notnull()) or bool(at["own"].sel(model=model).notnull())
        ]
        sections.append(Section(f"{where}: {float(at['reference']):.2f}", tuple(rows)))
    fixed = [f"{dim} {found[dim].values[0]}" for dim in ("pattern", "capping", "rotamer") if dim not in varying]
    geometry, reference = found.attrs["geometry"], found.attrs["reference"]
    return Columns(
        f"Cooperative energy at the geometries of {geometry} against {reference}, kcal/mol",
        ("model",),
        ("there", "less reference", "at own minimum"),
        tuple(sections),
        ("; ".join(fixed),) if fixed else (),
    )


def _worth_a_section(stacked: xr.Dataset) -> NDArray[np.bool_]:
    """Places with a result, each H-bond once, and not that of a bare dimer, which has nothing to cooperate with."""
    length, position = stacked["length"].values, stacked["position"].values
    hbonds = [position_of(str(name), int(n)) for name, n in zip(position, length, strict=True)]
    others = [dim for dim in ("pattern", "capping", "rotamer") if dim in stacked.coords]
    seen: set[tuple[object, ...]] = set()
    found = stacked["reference"].notnull().values & ((length > 2) | (stacked["capping"].values != "none"))
    for place, hbond in enumerate(hbonds):
        what = (int(length[place]), hbond, *(str(stacked[dim].values[place]) for dim in others))
        found[place] &= what not in seen
        seen.add(what)
    return np.asarray(found)


def _number(value: float) -> Text:
    return Text(f"{round(value, 2) + 0.0:.2f}") if np.isfinite(value) else Text("n/a", style="yellow")
