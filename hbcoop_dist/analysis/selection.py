"""Select and mask the cells of a store: only cells whose status is `done` hold results.

The other modules of this package read values through `done`, so that a missing value is never taken for a zero.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import xarray as xr

from hbcoop_dist.analysis.requested_cells import UNREQUESTED, requested_by
from hbcoop_dist.core.results import STATUSES
from hbcoop_dist.structures.chains import CELL_DIMS, DIMER_DIMS

DONE: tuple[str, ...] = ("done",)
_STATUS_DIMS = {"status": CELL_DIMS, "dimer_status": DIMER_DIMS}
_UNMASKED = ("status", "reason", "dimer_status", "dimer_reason")


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
        if str(reason.values[index]).startswith(UNREQUESTED) and requested(labels):
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
