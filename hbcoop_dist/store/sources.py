"""A store as something to take values from, model by model: a folder, or an archive, which has no journal."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hbcoop_dist.store.archive import is_archive, open_archive
from hbcoop_dist.store.errors import StoreSchemaError
from hbcoop_dist.store.group import HBOND, OpenGroup, check_schema, open_group
from hbcoop_dist.store.layout import Label, Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.paths import StorePaths
from hbcoop_dist.store.read import as_objects
from hbcoop_dist.store.schema import DIMS

Block = NDArray[np.generic]


class Source(Protocol):
    """Values of a store whose axes its layout spells."""

    @property
    def layout(self) -> Layout: ...

    def block(self, name: str, model: int) -> Block | None:
        """One model's values of a variable; None where all are missing, or the store is older than the variable."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A store as drivers write it."""

    group: OpenGroup

    @property
    def layout(self) -> Layout:
        return self.group.layout

    def block(self, name: str, model: int) -> Block | None:
        if name not in self.group.group or not self.group.chunk(array := self.group.array(name), model).exists():
            return None
        return np.asarray(array[model])


@dataclass(frozen=True, slots=True)
class Archive:
    """A zipped store, or a zipped part of one, in the order of its layout."""

    ds: xr.Dataset
    layout: Layout

    def block(self, name: str, model: int) -> Block | None:
        return np.asarray(self.ds[name][model].values) if name in self.ds else None


def attributes_of(path: Path) -> dict[str, object]:
    """Attributes of a store of hydrogen bonds.

    Raises
    ------
    StoreError
        When there is none, it is not of this schema version, or of another kind of campaign.
    """
    found = {str(k): v for k, v in open_archive(path).attrs.items()} if is_archive(path) else check_schema(path)
    if (kind := found.get("kind", HBOND)) != HBOND:
        raise StoreSchemaError(f"{path}: expected a store of a campaign of kind {HBOND}, found one of kind {kind}")
    return found


def reading(path: Path) -> contextlib.AbstractContextManager[object]:
    """What keeps a store as it is while it is read: the lock of a folder; nobody writes to an archive."""
    return contextlib.nullcontext() if is_archive(path) else StoreLock(path)


def open_source(path: Path) -> Source:
    """Open a store at a path that `attributes_of` accepts."""
    if not is_archive(path):
        return Folder(open_group(StorePaths.of(path).store, "r"))
    found = as_objects(open_archive(path))
    layout = Layout.from_labels(_labels(found))
    # a part of a store has its axes in the order of who chose it, and those of H-bonds and atoms longer than it needs
    return Archive(found.sel({dim: list(layout.labels(dim)) for dim in DIMS}), layout)


def _labels(ds: xr.Dataset) -> Mapping[str, list[Label]]:
    return {dim: ds[dim].values.tolist() for dim in DIMS}
