"""The group of marked systems inside a store: one value per model and system, beside the chains of the root group.

``xarray.open_zarr(path, group="systems")`` reads it.  It is made whole and renamed into its place, and grows the same
way; a cell is written with its status last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from hbcoop_dist.cooperativity.equation import FRAGMENTS
from hbcoop_dist.core.results import Status
from hbcoop_dist.store.archive import has_group, is_archive, open_archive
from hbcoop_dist.store.errors import StoreError, writing
from hbcoop_dist.store.group import ZarrArray, add_missing, check_schema, consolidate, create_array
from hbcoop_dist.store.paths import SYSTEMS, StorePaths
from hbcoop_dist.store.read import as_objects
from hbcoop_dist.store.schema import SCHEMA, SCHEMA_VERSION, SYSTEM_CELL_VARIABLES, SYSTEM_VARIABLES
from hbcoop_dist.structures.complexes import Complex

_TEXT_LABELS = ("model", "system", "xyz", "fragment")


@dataclass(frozen=True, slots=True)
class SystemAxes:
    """Labels along the axes of the group."""

    models: tuple[str, ...]
    systems: tuple[str, ...]
    atoms: int

    def labels(self, dim: str) -> tuple[str | int, ...]:
        """Labels along `dim`, in order."""
        known: dict[str, tuple[str | int, ...]] = {
            "model": self.models,
            "system": self.systems,
            "atom": tuple(range(self.atoms)),
            "xyz": ("x", "y", "z"),
            "fragment": FRAGMENTS,
        }
        return known[dim]

    def shape(self, dims: Sequence[str]) -> tuple[int, ...]:
        """Sizes of the axes named by `dims`."""
        return tuple(len(self.labels(dim)) for dim in dims)


class SystemsWriter:
    """Writes into the group of a store whose lock the caller holds; makes or grows it first.

    Parameters
    ----------
    path : str or Path
        The store.
    models : sequence of str
    systems : sequence of Complex
        What a campaign asks for; what the group has beyond that stays.

    Raises
    ------
    StoreError
        When the group has another system under one of the names.
    """

    def __init__(self, path: str | Path, models: Sequence[str], systems: Sequence[Complex]) -> None:
        root = StorePaths.of(path).store
        check_schema(root)
        self._path = root / SYSTEMS
        _recover(self._path)
        self.axes = self._grown(tuple(models), systems)
        self._group = zarr.open_group(self._path, mode="r+", zarr_format=3)
        if add_missing(self._group, SYSTEM_VARIABLES, self.axes):
            consolidate(self._path)
            consolidate(root)
        before = dict(zip(self.axes.systems, map(str, np.asarray(self._array("digest")[...])), strict=True))
        for system in systems:
            if before[system.name] not in ("", system.digest):
                raise StoreError(
                    f"{self._path}: expected the system {system.name!r} that it has, found other atoms, marks or "
                    "geometry under that name; give it another name, or use another store"
                )
        for system in systems:
            self._describe(system)

    def _grown(self, models: tuple[str, ...], systems: Sequence[Complex]) -> SystemAxes:
        group = systems_group(self._path.parent)
        old = None if group is None else axes_of(group)
        asked = SystemAxes(models, tuple(one.name for one in systems), max(one.n_atoms for one in systems))
        if old is None:
            joined = asked
        else:
            joined = SystemAxes(
                tuple(dict.fromkeys((*old.models, *asked.models))),
                tuple(dict.fromkeys((*old.systems, *asked.systems))),
                max(old.atoms, asked.atoms),
            )
        if joined != old:
            with writing(self._path):
                self._build(joined)
        return joined

    def _build(self, axes: SystemAxes) -> None:
        growing = _beside(self._path, "growing")
        group = new_group(growing, axes)
        if self._path.exists():
            old = zarr.open_group(self._path, mode="r", zarr_format=3)
            for variable in SYSTEM_VARIABLES:
                if variable.name not in old:
                    continue
                values = np.asarray(cast(ZarrArray, old[variable.name])[...])
                cast(ZarrArray, group[variable.name])[tuple(slice(n) for n in values.shape)] = values
        consolidate(growing)
        if self._path.exists():
            os.rename(self._path, _beside(self._path, "replaced"))
        os.rename(growing, self._path)
        shutil.rmtree(_beside(self._path, "replaced"), ignore_errors=True)
        # a reader of the whole tree goes by the root
        consolidate(self._path.parent)

    def _describe(self, system: Complex) -> None:
        """What follows from a system alone."""
        place = self.axes.systems.index(system.name)
        numbers, parts = np.full(self.axes.atoms, -1), np.full(self.axes.atoms, "", dtype=np.dtypes.StringDType())
        numbers[: system.n_atoms] = system.structure.numbers
        parts[: system.n_atoms] = np.array(["A", "B", "C"])[system.structure.molecules]
        with writing(self._path):
            for name, values in (
                ("atomic_number", numbers),
                ("part", parts),
                ("geometry", "free" if system.free else "fixed"),
                ("digest", system.digest),
            ):
                self._array(name)[place] = values

    def stored(self) -> dict[tuple[str, str], tuple[str, str, str]]:
        """Status, reason and task key of everything in the group, by model and system."""
        found = [np.asarray(self._array(name)[...]) for name in ("status", "reason", "task_key")]
        return {
            (model, system): (str(found[0][i, j]), str(found[1][i, j]), str(found[2][i, j]))
            for i, model in enumerate(self.axes.models)
            for j, system in enumerate(self.axes.systems)
        }

    def write(self, labels: tuple[str, str], status: Status, reason: str, values: Mapping[str, object] | None) -> None:
        """Write one model and system; `values` None leaves what is there.

        Raises
        ------
        StoreError
            When the labels are not on the axes.
        """
        try:
            place = self.axes.models.index(labels[0]), self.axes.systems.index(labels[1])
        except ValueError:
            raise StoreError(f"systems: expected labels of the group, found {labels}") from None
        with writing(self._path):
            if values is not None:
                self._array("status")[place] = "pending"
                for variable in SYSTEM_CELL_VARIABLES:
                    if variable.name not in ("status", "reason"):
                        block = _block(variable.missing(self.axes.shape(variable.dims[2:])), values.get(variable.name))
                        self._array(variable.name)[place] = block
            self._array("reason")[place] = reason
            self._array("status")[place] = status

    def _array(self, name: str) -> ZarrArray:
        return cast(ZarrArray, self._group[name])


def new_group(path: Path, axes: SystemAxes) -> zarr.Group:
    """A new group at `path` in which every value is missing."""
    group = zarr.create_group(
        path, zarr_format=3, attributes={"schema": f"{SCHEMA}/systems", "schema_version": SCHEMA_VERSION}
    )
    for dim in ("model", "system", "atom", "xyz", "fragment"):
        labels = axes.labels(dim)
        text = dim in _TEXT_LABELS
        array = group.create_array(
            dim,
            shape=(len(labels),),
            dtype=str if text else "int64",
            dimension_names=(dim,),
            fill_value="" if text else -1,
        )
        array[:] = np.array(labels, dtype=np.dtypes.StringDType() if text else np.int64)
    for variable in SYSTEM_VARIABLES:
        create_array(group, variable, axes)
    return group


def _block(missing: NDArray[Any], value: object) -> Any:
    """A value on the whole of its axes; what it is too short for stays missing."""
    if value is None:
        return missing[()] if missing.ndim == 0 else missing
    if missing.ndim == 0:
        return value
    array = np.asarray(value)
    missing[tuple(slice(n) for n in array.shape)] = array
    return missing


def systems_group(store: Path) -> zarr.Group | None:
    """The group of marked systems of a store, a folder or an archive, to be read; None where it has none."""
    if not has_systems(store):
        return None
    if is_archive(store):
        return zarr.open_group(ZipStore(store, mode="r"), path=SYSTEMS, mode="r", zarr_format=3)
    return zarr.open_group(store / SYSTEMS, mode="r", zarr_format=3)


def axes_of(group: zarr.Group) -> SystemAxes:
    """Labels along the axes of a group of marked systems."""
    models, systems = (tuple(map(str, np.asarray(cast(ZarrArray, group[dim])[...]))) for dim in ("model", "system"))
    return SystemAxes(models, systems, int(cast(ZarrArray, group["atom"]).shape[0]))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")


def _recover(path: Path) -> None:
    """Finish or undo what a killed growth left."""
    growing, replaced = _beside(path, "growing"), _beside(path, "replaced")
    if replaced.exists() and not path.exists():
        os.rename(replaced, path)
    for left in (growing, replaced):
        shutil.rmtree(left, ignore_errors=True)


def has_systems(path: str | Path) -> bool:
    """Whether a store has marked systems."""
    if is_archive(path):
        return Path(path).is_file() and has_group(Path(path), SYSTEMS)
    return (StorePaths.of(path).store / SYSTEMS).exists()


def open_systems(path: str | Path) -> xr.Dataset:
    """Open the marked systems of a store, labelled by model and system; text comes as objects.

    Raises
    ------
    StoreError
        When the store has none.
    """
    store = StorePaths.of(path).store
    if not is_archive(store):
        check_schema(store)
    if not has_systems(path):
        raise StoreError(f"{store}: expected marked systems (a spec with systems), found none")
    if is_archive(store):
        return as_objects(open_archive(store, SYSTEMS))
    return as_objects(cast(xr.Dataset, xr.open_zarr(store, group=SYSTEMS, chunks=None)))
