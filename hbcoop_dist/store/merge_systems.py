"""The groups of marked systems of several stores as one group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import zarr
from numpy.typing import NDArray

from hbcoop_dist.store.errors import StoreError
from hbcoop_dist.store.group import ZarrArray, consolidate
from hbcoop_dist.store.paths import SYSTEMS
from hbcoop_dist.store.schema import SYSTEM_CELL_VARIABLES, SYSTEM_VARIABLES
from hbcoop_dist.store.systems import SystemAxes, axes_of, new_group, systems_group


def merge_systems(stores: Sequence[Path], output: Path) -> None:
    """Put the marked systems of `stores` into the store under construction at `output`; nothing where there are none.

    Raises
    ------
    StoreError
        When a name stands for different systems, or a model's value for one comes from different tasks.
    """
    groups = [(store, group) for store in stores if (group := systems_group(store)) is not None]
    if not groups:
        return
    found = [(store, group, axes_of(group)) for store, group in groups]
    axes = SystemAxes(
        tuple(dict.fromkeys(model for *_, one in found for model in one.models)),
        tuple(dict.fromkeys(system for *_, one in found for system in one.systems)),
        max(one.atoms for *_, one in found),
    )
    new = new_group(output / SYSTEMS, axes)
    for store, group, one in found:
        _add(new, axes, store, group, one)
    consolidate(output / SYSTEMS)


def _add(new: zarr.Group, axes: SystemAxes, store: Path, group: zarr.Group, one: SystemAxes) -> None:
    """Add what a store has and the group lacks; what is done in both must come from the same task."""
    systems = [axes.systems.index(name) for name in one.systems]
    models = [axes.models.index(name) for name in one.models]
    before, digests = _values(new, "digest"), _values(group, "digest")
    for place, name, digest in zip(systems, one.systems, digests, strict=True):
        if before[place] not in ("", digest):
            raise StoreError(f"{store}, system {name}: expected the same system in all stores, found another")
    grid = np.ix_(models, systems)
    there, mine = _values(new, "status")[grid], _values(group, "status")
    keys = _values(new, "task_key")[grid], _values(group, "task_key")
    conflict = (there == "done") & (mine == "done") & (keys[0] != keys[1])
    for model, system in np.argwhere(conflict):
        raise StoreError(
            f"{store}, system {one.systems[system]}, model {one.models[model]}: expected the same task in all stores, "
            "found another"
        )
    take = (there != "done") & (mine != "pending")
    for variable in SYSTEM_VARIABLES:
        if variable.name not in group:
            continue
        target, source = cast(ZarrArray, new[variable.name]), np.asarray(cast(ZarrArray, group[variable.name])[...])
        block = np.asarray(target[...])
        rest = tuple(slice(n) for n in source.shape[variable.dims.index("system") + 1 :])
        if variable in SYSTEM_CELL_VARIABLES:
            for model, system in np.argwhere(take):
                cell: tuple[int | slice, ...] = (models[int(model)], systems[int(system)], *rest)
                block[cell] = source[model, system]
        else:
            for number, values in zip(systems, source, strict=True):
                one_system: tuple[int | slice, ...] = (number, *rest)
                block[one_system] = values
        target[...] = block


def _values(group: zarr.Group, name: str) -> NDArray[np.object_]:
    return np.asarray(cast(ZarrArray, group[name])[...]).astype(object)
