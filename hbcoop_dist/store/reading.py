"""Reading a store: anyone may, at any time, also while a driver writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr

from hbcoop_dist.core.results import STATUSES
from hbcoop_dist.store.archive import is_archive, open_archive
from hbcoop_dist.store.create import recover, was_interrupted
from hbcoop_dist.store.errors import StoreError
from hbcoop_dist.store.group import HBOND, check_kind, check_schema
from hbcoop_dist.store.journal import Journal
from hbcoop_dist.store.paths import StorePaths
from hbcoop_dist.store.schema import LATER, STATUS_NAMES, VARIABLES, Kind


def open_store(path: str | Path, *, kind: str = HBOND) -> xr.Dataset:
    """Open a store as a labelled dataset; numbers are read when they are used, text at once.

    The same as ``xarray.open_zarr(path, chunks=None)``, except that text comes as objects, which `Dataset.where` can
    mask (numpy's variable-length strings cannot be), and that errors say what is wrong. A growth that was killed
    between its renames is finished first. A zipped store (`write_archive`) is read in place.

    Parameters
    ----------
    path : str or Path
    kind : str
        Kind of campaign it is to be of: ``hbond`` or ``generalization``.

    Raises
    ------
    StoreSchemaError
        When nothing is at `path`, it is not a store of ours, its schema version is another, or its kind is.
    """
    found = _open(path)
    check_kind(Path(path), found.attrs, kind)
    return as_objects(found)


def kind_of_store(path: str | Path) -> str:
    """Kind of campaign a store is of; what is no store counts as one of hydrogen bonds, and is refused when opened."""
    try:
        return str(_open(path).attrs.get("kind", HBOND))
    except StoreError:
        return HBOND


def history_of(path: str | Path) -> str:
    """The campaigns that a store was made and grown by, as its attribute ``history`` has them (JSON).

    Raises
    ------
    StoreSchemaError
        When nothing is at `path`, or it is not a store of ours.
    """
    return str(check_schema(StorePaths.of(path).store)["history"])


def as_objects(found: xr.Dataset) -> xr.Dataset:
    """A dataset whose text is objects."""
    texts = {name: _text(str(name), array) for name, array in found.variables.items() if array.dtype.kind == "T"}
    return found.assign({name: texts[name] for name in found.data_vars if name in texts}).assign_coords(
        {name: texts[name] for name in found.coords if name in texts}
    )


def _open(path: str | Path) -> xr.Dataset:
    paths = StorePaths.of(path)
    if is_archive(paths.store):
        return open_archive(paths.store)
    if was_interrupted(paths):
        recover(paths.store)
    check_schema(paths.store)
    try:
        return cast(xr.Dataset, xr.open_zarr(paths.store, chunks=None, consolidated=True))
    except (KeyError, ValueError, OSError) as error:
        raise StoreError(f"{paths.store}: expected a readable store, {type(error).__name__}: {error}") from error


def _text(name: str, variable: xr.Variable) -> xr.Variable:
    try:
        values = variable.values.astype(object)
    except (RuntimeError, ValueError, OSError) as error:
        raise StoreError(f"{name}: expected readable chunks, {type(error).__name__}: {error}") from error
    return xr.Variable(variable.dims, values, variable.attrs)


def verify(path: str | Path) -> list[str]:
    """Check a store against its schema, and its done cells for missing values.

    Returns
    -------
    list of str
        One line per problem; empty when all is well.
    """
    try:
        found = _open(path)
    except StoreError as error:
        return [str(error)]
    problems = list(_schema_problems(found))
    if not problems:
        problems += _cell_problems(found)
    return problems + list(_journal_problems(StorePaths.of(path).journal))


def _schema_problems(found: xr.Dataset) -> Iterator[str]:
    for variable in VARIABLES.values():
        if variable.name not in found and variable.name in LATER:
            continue
        if variable.name not in found:
            yield f"{variable.name}: expected a variable, found none"
            continue
        array = found[variable.name]
        if array.dims != variable.dims:
            yield f"{variable.name}, dims: expected {variable.dims}, found {array.dims}"
        if array.attrs.get("units", "") != variable.units:
            yield f"{variable.name}, units: expected {variable.units!r}, found {array.attrs.get('units', '')!r}"
        if array.dtype != variable.numpy_dtype:
            yield f"{variable.name}, dtype: expected {variable.numpy_dtype}, found {array.dtype}"


def _cell_problems(found: xr.Dataset) -> Iterator[str]:
    loaded: dict[str, xr.DataArray] = {}
    for name in ("status", "dimer_status", "cooperative_energy", "hbond_cooperative_energy"):
        try:
            loaded[name] = found[name].load()
        except (RuntimeError, ValueError, OSError) as error:
            yield f"{name}: expected readable chunks, {type(error).__name__}: {error}"
    for kind in STATUS_NAMES:
        yield from _status_problems(kind, loaded)
    if len(loaded) < 4:
        return
    done = loaded["status"] == "done"
    in_chain = found["hbond"] < found["length"]
    for name, dim, wanted in (
        ("cooperative_energy", "position", True),
        ("hbond_cooperative_energy", "hbond", in_chain),
    ):
        lacks = (done & wanted & ~np.isfinite(loaded[name])).any(dim)
        for cell in _where(lacks):
            yield f"cell ({cell}), {name}: expected finite values in a done cell, found missing ones"


def _status_problems(kind: Kind, loaded: dict[str, xr.DataArray]) -> Iterator[str]:
    name = STATUS_NAMES[kind][0]
    if name in loaded:
        unknown = loaded[name].astype(object).isin(STATUSES)
        for cell in _where(~unknown):
            yield f"{kind} ({cell}), {name}: expected one of {', '.join(STATUSES)}"


def _where(mask: xr.DataArray) -> Iterator[str]:
    for index in np.argwhere(mask.values):
        labels = (f"{dim}={mask[dim].values[i]}" for dim, i in zip(mask.dims, index, strict=True))
        yield ", ".join(labels)


def _journal_problems(path: Path) -> Iterator[str]:
    try:
        journal = Journal(path)
    except StoreError as error:
        yield str(error)
        return
    for line in journal.corrupt_lines:
        yield f"{path}, line {line}: expected a matching checksum, found a corrupt line"
    if journal.torn_bytes:
        yield f"{path}: expected whole lines, found {journal.torn_bytes} bytes of an unfinished last one"
