"""Select the cells of a store: those that are done, requested by a campaign, or unfinished.

Only cells whose status is `done` hold results. The other modules of this package read values through `done`, so that a
missing value is never taken for a zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
import xarray as xr

from hbcoop_dist.core.results import NOT_REQUESTED, STATUSES
from hbcoop_dist.structures.chains import CELL_DIMS, DIMER_DIMS, rotamer_label

DONE: tuple[str, ...] = ("done",)
_STATUS_DIMS = {"status": CELL_DIMS, "dimer_status": DIMER_DIMS}
_UNMASKED = ("status", "reason", "dimer_status", "dimer_reason")
Labels = tuple[str | int, ...]
"""Labels of a cell in the order of `structures.chains.CELL_DIMS`."""
_NUMBER = re.compile(r"(?<![\w.-])-?\d[\d.]*(?:e[+-]?\d+)?(?![\w-])", re.IGNORECASE)
"""A number that stands alone, not one inside a name (ani-2x)."""


def done(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Mask every variable of a cell, or of an isolated dimer, whose status is not among `statuses`.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store, or some of its variables with their status.
    statuses : collection of str
        Statuses whose values count as results.

    Returns
    -------
    xarray.Dataset
        Masked floats are NaN, masked integers and flags -1, masked text is empty, so that dtypes stay. Status, reason
        and attributes are unchanged; values stay lazy.

    Raises
    ------
    ValueError
        When a status is unknown, or a label dim was dropped by a selection.
    """
    accepted = (statuses,) if isinstance(statuses, str) else tuple(statuses)
    if unknown := sorted(set(accepted) - set(STATUSES)):
        raise ValueError(f"statuses: expected some of {', '.join(STATUSES)}, found {', '.join(unknown)}")
    masked = readable(ds)
    for status, dims in _STATUS_DIMS.items():
        if status not in masked:
            continue
        if lost := [dim for dim in dims if dim not in masked[status].dims]:
            raise ValueError(
                f"{status}: expected dims {', '.join(dims)}, found none called {', '.join(lost)}; "
                f"select with a list to keep a dim, e.g. ds.sel({lost[0]}=[...])"
            )
        keep = masked[status].compute().isin(accepted)
        names = [
            name for name, array in masked.data_vars.items() if name not in _UNMASKED and set(dims) <= set(array.dims)
        ]
        masked = masked.assign({name: _masked(masked[name], keep) for name in names})
    return masked


def readable(ds: xr.Dataset) -> xr.Dataset:
    """Convert text variables to object dtype, which can be masked and compared.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset whose text may be NumPy variable-length strings, as ``xarray.open_zarr`` returns it.
    """
    converted = ds.assign(
        {name: array.astype(object) for name, array in ds.data_vars.items() if array.dtype.kind == "T"}
    )
    coords = {
        name: (array.dims, array.values.astype(object), array.attrs)
        for name, array in ds.coords.items()
        if array.dtype.kind == "T"
    }
    return converted.assign_coords(coords) if coords else converted


def _masked(array: xr.DataArray, keep: xr.DataArray) -> xr.DataArray:
    missing: float | int | str = np.nan if array.dtype.kind == "f" else "" if array.dtype.kind in "OU" else -1
    masked = array.where(keep, missing)
    return masked.transpose(*array.dims).assign_attrs(array.attrs)


def mark_pending(ds: xr.Dataset) -> xr.Dataset:
    """Mark as pending those skipped cells that an earlier campaign of the store requests.

    A run marks cells that its own campaign does not request as skipped, those of an interrupted earlier campaign
    included. The history of the store decides.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store; returned unchanged when it has no history, or no such cell.
    """
    readable_ds = readable(ds)
    if "history" not in readable_ds.attrs or "reason" not in readable_ds:
        return ds
    status, reason = (readable_ds[name].transpose(*CELL_DIMS).copy(deep=True) for name in ("status", "reason"))
    requested = requested_by(readable_ds.attrs["history"])
    axes = [status[dim].values.tolist() for dim in CELL_DIMS]
    changed = False
    for index in map(tuple, np.argwhere((status == "skipped").values).tolist()):
        labels = tuple(axis[i] for axis, i in zip(axes, index, strict=True))
        if str(reason.values[index]).startswith(NOT_REQUESTED) and requested(labels):
            status.values[index], reason.values[index], changed = "pending", "", True
    if not changed:
        return ds
    return readable_ds.assign(status=status.transpose(*ds["status"].dims), reason=reason.transpose(*ds["reason"].dims))


def select(ds: xr.Dataset, where: Mapping[str, Sequence[str]]) -> xr.Dataset:
    """Select the part of a store with the given labels, keeping every dim.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    where : mapping of str to sequence of str
        Label dim -> labels to keep, as text; a label that is named twice is kept once.

    Raises
    ------
    ValueError
        When a dim or label does not exist; the message lists those that do.
    """
    for dim, labels in where.items():
        if dim not in CELL_DIMS:
            raise ValueError(f"expected a dim ({', '.join(CELL_DIMS)}), found {dim}")
        axis = {str(value): value for value in ds[dim].values}
        if unknown := [label for label in labels if label not in axis]:
            raise ValueError(f"{dim}: expected labels of the store ({', '.join(axis)}), found {', '.join(unknown)}")
        ds = ds.sel({dim: [axis[label] for label in dict.fromkeys(labels)]})
    return ds


def require_labels(ds: xr.Dataset, labels: Mapping[str, object]) -> None:
    """Check that every label exists on its axis; xarray's own KeyError names neither the axis nor its labels.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    labels : mapping of str to object
        Dim -> one label of it.

    Raises
    ------
    ValueError
        When a label does not exist; the message lists those that do.
    """
    for dim, label in labels.items():
        if label not in ds[dim].values:
            raise ValueError(f"{dim}: expected one of {', '.join(map(str, ds[dim].values))}, found {label}")


@dataclass(frozen=True, slots=True)
class _Grid:
    """Label sets whose product are the cells of one campaign."""

    models: frozenset[str]
    patterns: frozenset[str]
    lengths: Mapping[str, frozenset[int]]
    geometries: frozenset[str]
    rotamers: frozenset[str]
    constraints: frozenset[str]

    def __contains__(self, labels: Labels) -> bool:
        model, pattern, length, capping, geometry, rotamer, constraint = labels
        return (
            model in self.models
            and pattern in self.patterns
            and length in self.lengths.get(str(capping), ())
            and geometry in self.geometries
            and rotamer in self.rotamers
            and constraint in self.constraints
        )


def requested_by(history: str) -> Callable[[Labels], bool]:
    """Build a predicate: whether any campaign of a history requests a cell.

    Parameters
    ----------
    history : str
        Attribute ``history`` of a store (JSON). Campaigns that cannot be read request nothing.

    Returns
    -------
    callable
        Maps the labels of a cell, in the order of `structures.chains.CELL_DIMS`, to a bool.
    """
    return requested_by_specs(spec for event in json.loads(history) if (spec := _plain(event)) is not None)


def requested_by_specs(specs: Iterable[Mapping[str, Any]]) -> Callable[[Labels], bool]:
    """Build a predicate that tests whether any of these campaigns requests a cell.

    Parameters
    ----------
    specs : iterable of mapping
        Campaigns as plain JSON data. Those that are no campaigns of chains request nothing.
    """
    grids = [grid for spec in specs if (grid := _grid(spec)) is not None]
    return lambda labels: any(labels in grid for grid in grids)


def _plain(event: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        return dict(json.loads(event["spec"]))
    except (ValueError, KeyError, TypeError):
        return None


def _grid(spec: Mapping[str, Any]) -> _Grid | None:
    try:
        lengths = spec.get("lengths", [])
        return _Grid(
            frozenset(entry["name"] for entry in spec["models"]),
            frozenset(spec["patterns"]),
            {entry["name"]: frozenset(entry.get("lengths") or lengths) for entry in spec["capping"]},
            frozenset(PurePath(name).name for name in spec["geometry"]),
            frozenset(map(rotamer_label, spec["rotamer"])),
            frozenset(spec["constraint"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(slots=True)
class NotDone:
    """Cells or isolated dimers that are not done for one reason.

    Attributes
    ----------
    kind : {"cell", "dimer"}
    status : str
    reason : str
        Reason of the first of them.
    alike : bool
        Whether all reasons are equal word for word; otherwise they differ in numbers only.
    labels : list of dict
        Labels of each, by dim.
    """

    kind: Literal["cell", "dimer"]
    status: str
    reason: str
    alike: bool = True
    labels: list[dict[str, Any]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of cells or dimers."""
        return len(self.labels)

    def values(self, dim: str) -> list[Any]:
        """Distinct labels along one dim, in the order of the store."""
        return list(dict.fromkeys(labels[dim] for labels in self.labels))


def not_done(ds: xr.Dataset) -> list[NotDone]:
    """Group cells and isolated dimers that are not done by status and reason, largest group first.

    Reasons that differ in numbers only form one group. Pending dimers that no cell needs (`needed_dimers`) are left
    out.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.
    """
    groups: dict[tuple[str, str, str], NotDone] = {}
    for kind, status, reason, labels in _unfinished(readable(ds)):
        key = (kind, status, _NUMBER.sub("#", reason))
        group = groups.setdefault(key, NotDone(kind, status, reason))
        group.alike &= reason == group.reason
        group.labels.append(labels)
    return sorted(groups.values(), key=lambda group: (group.kind, STATUSES.index(group.status), -group.count))


def needed_dimers(ds: xr.Dataset) -> xr.DataArray:
    """Find the isolated dimers that some cell refers to: an arc needs no anti dimer, a skipped model none.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store.

    Returns
    -------
    xarray.DataArray
        bool, dims (model, geometry, rotamer, constraint, conformer).
    """
    store = readable(ds)
    if "hbond_conformer" not in store:
        return xr.ones_like(store["dimer_status"], dtype=bool)
    in_chain = store["hbond"] < store["length"]
    occurs = ((store["hbond_conformer"] == store["conformer"]) & in_chain).any("hbond")
    runs = (store["status"] != "skipped").any("capping")
    needed: xr.DataArray = (occurs & runs).any(("pattern", "length")).transpose(*DIMER_DIMS)
    return needed.compute()


def _unfinished(store: xr.Dataset) -> Iterator[tuple[Literal["cell", "dimer"], str, str, dict[str, Any]]]:
    cells = store["status"].transpose(*CELL_DIMS).compute()
    yield from (("cell", *entry) for entry in _labelled(cells, store["reason"], cells != "done"))
    if "dimer_status" in store:
        dimers = store["dimer_status"].transpose(*DIMER_DIMS).compute()
        missing = (dimers != "done") & ((dimers != "pending") | needed_dimers(store))
        yield from (("dimer", *entry) for entry in _labelled(dimers, store["dimer_reason"], missing))


def _labelled(
    status: xr.DataArray, reason: xr.DataArray, mask: xr.DataArray
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Status, reason and labels at every true value of a mask."""
    axes = {str(dim): status[dim].values.tolist() for dim in status.dims}
    statuses, reasons = status.values, reason.transpose(*status.dims).values
    for index in map(tuple, np.argwhere(mask.values).tolist()):
        labels = {dim: axis[i] for (dim, axis), i in zip(axes.items(), index, strict=True)}
        yield str(statuses[index]), str(reasons[index]), labels
