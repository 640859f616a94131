"""Say what is not done, and why: hundreds of cells share a handful of reasons, so group and count them."""

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
"""A number that stands alone; those inside a name (ani-2x) are no numbers."""


@dataclass(slots=True)
class NotDone:
    """Cells or isolated dimers that are not done for one and the same reason.

    Attributes
    ----------
    kind : {"cell", "dimer"}
    status : str
    reason : str
        Of the first of them.
    alike : bool
        Whether all give the reason word for word; otherwise they differ in numbers only.
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
        """How many there are."""
        return len(self.labels)

    def values(self, dim: str) -> list[Any]:
        """Distinct labels along one dim, in the order of the store."""
        return list(dict.fromkeys(labels[dim] for labels in self.labels))


def not_done(ds: xr.Dataset) -> list[NotDone]:
    """Groups of cells and of isolated dimers that are not done, by status and reason; the largest first.

    Reasons that differ in their numbers only are one group. Dimers that no cell needs (`needed_dimers`) are left out.
    """
    groups: dict[tuple[str, str, str], NotDone] = {}
    for kind, status, reason, labels in _each(readable(ds)):
        key = (kind, status, _NUMBER.sub("#", reason))
        group = groups.setdefault(key, NotDone(kind, status, reason))
        group.alike &= reason == group.reason
        group.labels.append(labels)
    return sorted(groups.values(), key=lambda group: (group.kind, STATUSES.index(group.status), -group.count))


def needed_dimers(ds: xr.Dataset) -> xr.DataArray:
    """Which isolated dimers some cell compares with: an arc needs no anti dimer, a skipped model none at all."""
    found = readable(ds)
    if "hbond_conformer" not in found:
        return xr.ones_like(found["dimer_status"], dtype=bool)
    in_chain = found["hbond"] < found["length"]
    occurs = ((found["hbond_conformer"] == found["conformer"]) & in_chain).any("hbond")
    runs = (found["status"] != "skipped").any("capping")
    needed: xr.DataArray = (occurs & runs).any(("pattern", "length")).transpose(*DIMER_DIMS)
    return needed.compute()


def _each(found: xr.Dataset) -> Iterator[tuple[Literal["cell", "dimer"], str, str, dict[str, Any]]]:
    cells = found["status"].transpose(*CELL_DIMS).compute()
    yield from (("cell", *one) for one in _labelled(cells, found["reason"], cells != "done"))
    if "dimer_status" in found:
        dimers = found["dimer_status"].transpose(*DIMER_DIMS).compute()
        missing = (dimers != "done") & ((dimers != "pending") | needed_dimers(found))
        yield from (("dimer", *one) for one in _labelled(dimers, found["dimer_reason"], missing))


def _labelled(
    status: xr.DataArray, reason: xr.DataArray, wanted: xr.DataArray
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    axes = {str(dim): status[dim].values.tolist() for dim in status.dims}
    words, why = status.values, reason.transpose(*status.dims).values
    for index in map(tuple, np.argwhere(wanted.values).tolist()):
        labels = {dim: axis[i] for (dim, axis), i in zip(axes.items(), index, strict=True)}
        yield str(words[index]), str(why[index]), labels
