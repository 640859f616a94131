"""Mask what is not done: a store holds cells of every status, and only some of them are results.

Every other function of this package starts here, so that a missing value is never taken for a zero.

Tell what was asked for and not computed from what nobody asked for.

Stores written before a run looked at the campaigns before it call cells of an interrupted campaign unasked as soon as
another one has run; their history says otherwise.

Refuse labels that a store has not: xarray's own KeyError says neither which there are nor of which axis.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import xarray as xr

from hbcoop_dist.campaigns.requested_cells import UNASKED, asked_for
from hbcoop_dist.core.results import STATUSES
from hbcoop_dist.structures.chains import CELL_DIMS, DIMER_DIMS

DONE: tuple[str, ...] = ("done",)
_STATUS_DIMS = {"status": CELL_DIMS, "dimer_status": DIMER_DIMS}
_KEPT = ("status", "reason", "dimer_status", "dimer_reason")
"""Left as they are, so that a masked value can still be asked why it is masked."""


def done(ds: xr.Dataset, statuses: Collection[str] = DONE) -> xr.Dataset:
    """Mask every variable of a cell, or of an isolated dimer, whose status is not among `statuses`.

    Masked numbers become NaN, masked integers and flags -1, masked text empty: the store's own missing values, so
    that the dtypes stay. Status and reason stay readable, attributes are kept, values stay lazy.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset, or some of its variables with their status.
    statuses : collection of str
        Statuses whose values count as results.

    Raises
    ------
    ValueError
        When a status is unknown, or a label dim was selected away.
    """
    wanted = (statuses,) if isinstance(statuses, str) else tuple(statuses)
    if unknown := sorted(set(wanted) - set(STATUSES)):
        raise ValueError(f"statuses: expected some of {', '.join(STATUSES)}, found {', '.join(unknown)}")
    found = readable(ds)
    for name, dims in _STATUS_DIMS.items():
        if name not in found:
            continue
        if lost := [dim for dim in dims if dim not in found[name].dims]:
            raise ValueError(
                f"{name}: expected dims {', '.join(dims)}, found none called {', '.join(lost)}; "
                f"select with a list to keep a dim, e.g. ds.sel({lost[0]}=[...])"
            )
        keep = found[name].compute().isin(wanted)
        own = [key for key, array in found.data_vars.items() if key not in _KEPT and set(dims) <= set(array.dims)]
        found = found.assign({key: _masked(found[key], keep) for key in own})
    return found


def readable(ds: xr.Dataset) -> xr.Dataset:
    """The dataset with text as objects, which can be masked and compared (numpy's variable-length strings cannot)."""
    found = ds.assign({name: array.astype(object) for name, array in ds.data_vars.items() if array.dtype.kind == "T"})
    coords = {
        name: (array.dims, array.values.astype(object), array.attrs)
        for name, array in ds.coords.items()
        if array.dtype.kind == "T"
    }
    return found.assign_coords(coords) if coords else found


def _masked(array: xr.DataArray, keep: xr.DataArray) -> xr.DataArray:
    missing: float | int | str = np.nan if array.dtype.kind == "f" else "" if array.dtype.kind in "OU" else -1
    masked = array.where(keep, missing)
    return masked.transpose(*array.dims).assign_attrs(array.attrs)


def as_asked(ds: xr.Dataset) -> xr.Dataset:
    """The dataset with those cells pending that are said to be unasked and that a campaign of its history asks for.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset; one without a history is handed back as it is.
    """
    found = readable(ds)
    if "history" not in found.attrs or "reason" not in found:
        return ds
    status, reason = (found[name].transpose(*CELL_DIMS).copy(deep=True) for name in ("status", "reason"))
    asked = asked_for(found.attrs["history"])
    axes = [status[dim].values.tolist() for dim in CELL_DIMS]
    changed = False
    for place in map(tuple, np.argwhere((status == "skipped").values).tolist()):
        if str(reason.values[place]).startswith(UNASKED) and asked(
            tuple(axis[at] for axis, at in zip(axes, place, strict=True))
        ):
            status.values[place], reason.values[place], changed = "pending", "", True
    if not changed:
        return ds
    return found.assign(status=status.transpose(*ds["status"].dims), reason=reason.transpose(*ds["reason"].dims))


def require_labels(ds: xr.Dataset, place: Mapping[str, object]) -> None:
    """Check that there is such a place.

    Parameters
    ----------
    ds : xarray.Dataset
        A store's dataset.
    place : mapping of str to object
        Dims and one label of each.

    Raises
    ------
    ValueError
        When a label is not among the dim's; says which are.
    """
    for dim, label in place.items():
        if label not in ds[dim].values:
            raise ValueError(f"{dim}: expected one of {', '.join(map(str, ds[dim].values))}, found {label}")
