"""Tell what was asked for and not computed from what nobody asked for.

Stores written before a run looked at the campaigns before it call cells of an interrupted campaign unasked as soon as
another one has run; their history says otherwise.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from hbcoop_dist.analysis.mask import readable
from hbcoop_dist.asked import UNASKED, asked_for
from hbcoop_dist.results import CELL_DIMS


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
