"""Group the cells and isolated dimers that are not done by status and reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr

from hbcoop_dist.analysis.selection import readable
from hbcoop_dist.core.results import STATUSES
from hbcoop_dist.structures.chains import CELL_DIMS, DIMER_DIMS

_NUMBER = re.compile(r"(?<![\w.-])-?\d[\d.]*(?:e[+-]?\d+)?(?![\w-])", re.IGNORECASE)
"""A number that stands alone, not one inside a name (ani-2x)."""


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
        bool, dims (model, geometry, rotamer, conformer).
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
