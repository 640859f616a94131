"""Reading, verification and zipped archives of stores; reading works also while a driver writes to them.

An archive is a store packed for publication into one zip file that Zarr reads in place, without details of the machine.
It is never written to again, so every variable is one chunk.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast

import numpy as np
import xarray as xr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import ZipStore

from hbcoop_dist.core.results import STATUSES
from hbcoop_dist.store.creation import recover, was_interrupted
from hbcoop_dist.store.group import check_attributes, check_store
from hbcoop_dist.store.journal import Journal
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.paths import StoreError, StorePaths, is_archive, reading
from hbcoop_dist.store.schema import FORMAT, Schema, Table

_LEVEL = 19


def open_store(path: str | Path, kind: str | None = None) -> xr.Dataset:
    """Open a store as a labelled dataset; numbers are read when they are used, text at once.

    The dataset is that of ``xarray.open_zarr(path, chunks=None)``, except that text comes as objects, which
    `xarray.Dataset.where` can mask (it cannot mask numpy's variable-length strings). A growth that was killed between
    its renames is finished first. An archive (`write_archive`) is read in place.

    Parameters
    ----------
    path : str or Path
        Folder or archive.
    kind : str, optional
        Campaign kind that the store is to be of; any by default.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    StoreSchemaError
        When there is no store, or it has another schema version or kind.
    StoreError
        When it cannot be read.
    """
    ds = _open(path)
    check_attributes(Path(path), ds.attrs, kind)
    return text_as_objects(ds)


def kind_of_store(path: str | Path) -> str:
    """Return the campaign kind of a store.

    Parameters
    ----------
    path : str or Path
        Folder or archive.

    Raises
    ------
    StoreError
        When there is no store.
    """
    store = StorePaths.of(path).store
    return str((open_archive(store).attrs if is_archive(store) else _folder_attributes(store))["kind"])


def history_of(path: str | Path) -> str:
    """Return the campaigns that a store was made and grown by, as its attribute ``history`` has them (JSON).

    Parameters
    ----------
    path : str or Path
        Folder.

    Raises
    ------
    StoreSchemaError
        When there is no store.
    """
    return str(_folder_attributes(StorePaths.of(path).store)["history"])


def _folder_attributes(store: Path) -> dict[str, object]:
    if was_interrupted(StorePaths.of(store)):
        recover(store)
    return check_store(store)


def text_as_objects(ds: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose text variables are read and have dtype object.

    Parameters
    ----------
    ds : xarray.Dataset

    Raises
    ------
    StoreError
        When a chunk cannot be read.
    """
    texts = {str(name): _read_text(str(name), array) for name, array in ds.variables.items() if array.dtype.kind == "T"}
    return ds.assign({name: texts[name] for name in map(str, ds.data_vars) if name in texts}).assign_coords(
        {name: texts[name] for name in map(str, ds.coords) if name in texts}
    )


def _read_text(name: str, variable: xr.Variable) -> xr.Variable:
    with reading(name):
        return xr.Variable(variable.dims, variable.values.astype(object), variable.attrs)


def _open(path: str | Path) -> xr.Dataset:
    store = StorePaths.of(path).store
    if is_archive(store):
        return open_archive(store)
    _folder_attributes(store)
    try:
        return cast(xr.Dataset, xr.open_zarr(store, chunks=None, consolidated=True))
    except (KeyError, ValueError, OSError) as error:
        raise StoreError(f"{store}: expected a readable store, {type(error).__name__}: {error}") from error


def verify(path: str | Path, schema: Schema) -> list[str]:
    """Check a store against its schema, rows that are done for missing values, and the journal for damage.

    Parameters
    ----------
    path : str or Path
        Folder or archive.
    schema : Schema

    Returns
    -------
    list of str
        One line per problem; empty when there is none.
    """
    try:
        ds = _open(path)
        check_attributes(Path(path), ds.attrs, schema.kind)
    except StoreError as error:
        return [str(error)]
    problems = list(_schema_problems(ds, schema))
    if not problems:
        for table in schema.tables:
            problems += _table_problems(ds, schema, table)
    return problems + list(_journal_problems(StorePaths.of(path).journal))


def _schema_problems(ds: xr.Dataset, schema: Schema) -> Iterator[str]:
    for axis in schema.axes:
        if axis.name not in ds.coords:
            yield f"{axis.name}: expected a coordinate, found none"
    for variable in schema.variables.values():
        if variable.name not in ds:
            yield f"{variable.name}: expected a variable, found none"
            continue
        array = ds[variable.name]
        if array.dims != variable.dims:
            yield f"{variable.name}, dims: expected {variable.dims}, found {array.dims}"
        if array.attrs.get("units", "") != variable.units:
            yield f"{variable.name}, units: expected {variable.units!r}, found {array.attrs.get('units', '')!r}"
        if array.dtype != variable.numpy_dtype:
            yield f"{variable.name}, dtype: expected {variable.numpy_dtype}, found {array.dtype}"


def _table_problems(ds: xr.Dataset, schema: Schema, table: Table) -> Iterator[str]:
    """Yield unreadable chunks, unknown statuses, and done rows that lack a required value."""
    loaded: dict[str, xr.DataArray] = {}
    for name in filter(None, (table.status, *table.required)):
        try:
            with reading(name):
                loaded[name] = ds[name].load()
        except StoreError as error:
            yield str(error)
    if table.status not in loaded:
        return
    status = loaded.pop(table.status).astype(object)
    for row in _labels_where(~status.isin(STATUSES)):
        yield f"{table.name} ({row}), {table.status}: expected one of {', '.join(STATUSES)}"
    layout = Layout(schema, {axis.name: ds[axis.name].values.tolist() for axis in schema.axes if axis.is_free})
    for name, array in loaded.items():
        variable = schema.variables[name]
        missing = array.copy(data=variable.is_missing(array.values)) & _expected(layout, table, array)
        for row in _labels_where((status == "done") & missing.any(table.value_dims(variable))):
            yield f"{table.name} ({row}), {name}: expected values in a row that is done, found missing ones"


def _expected(layout: Layout, table: Table, array: xr.DataArray) -> xr.DataArray:
    """Return where the values of done rows are expected, in the order of a dataset's own labels."""
    dims = array.dims[1:]
    variable = layout.schema.variables[str(array.name)]
    expected = xr.DataArray(
        layout.expected(table, variable), {dim: list(layout.labels(str(dim))) for dim in dims}, dims
    )
    return expected.reindex({dim: array[dim].values for dim in dims}, fill_value=False)


def _labels_where(mask: xr.DataArray) -> Iterator[str]:
    for index in np.argwhere(mask.values):
        labels = (f"{dim}={mask[dim].values[i]}" for dim, i in zip(mask.dims, index, strict=True))
        yield ", ".join(labels)


def _journal_problems(path: Path) -> Iterator[str]:
    try:
        journal = Journal(path, {})
    except StoreError as error:
        yield str(error)
        return
    for line in journal.corrupt_lines:
        yield f"{path}, line {line}: expected a matching checksum, found a corrupt line"
    if journal.torn_bytes:
        yield f"{path}: expected complete lines, found {journal.torn_bytes} bytes of an unfinished last one"


def write_archive(ds: xr.Dataset, output: Path) -> None:
    """Pack a store into a zip file.

    Names of hosts are left out, and of absolute paths in the campaigns (attribute ``history``) only the last part is
    kept.

    Parameters
    ----------
    ds : xarray.Dataset
        Dataset of a store (`open_store`), or a part of it with all its dims.
    output : Path
        File to create; an older archive is replaced once the new one is complete.
    """
    unfinished = output.with_name(output.name + ".growing")
    unfinished.unlink(missing_ok=True)
    zip_store = ZipStore(unfinished, mode="w")
    try:
        # zarr writes a group's metadata once when it makes it and once more with its attributes; a zip keeps both
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Duplicate name")
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            _write(ds, zip_store)
    finally:
        zip_store.close()
    os.replace(unfinished, output)


def open_archive(path: Path) -> xr.Dataset:
    """Open an archive, as `open_store` opens a folder, with text as numpy's variable-length strings.

    Parameters
    ----------
    path : Path

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    StoreError
        When there is none, or it is no archive of a store of this schema version.
    """
    if not path.is_file():
        raise StoreError(f"{path}: expected a store, found nothing there")
    try:
        ds: xr.Dataset = xr.open_zarr(ZipStore(path, mode="r"), chunks=None, consolidated=False)
    except Exception as error:  # zipfile, zarr and xarray each raise their own
        raise StoreError(
            f"{path}: expected a zipped {FORMAT} store, found one that cannot be read ({type(error).__name__}: {error})"
        ) from error
    if ds.attrs.get("schema") != FORMAT:
        raise StoreError(f"{path}: expected a zipped {FORMAT} store, found one of {ds.attrs.get('schema')}")
    check_attributes(path, ds.attrs)
    return ds


def _write(ds: xr.Dataset, zip_store: ZipStore) -> None:
    portable = _without_machine(ds.compute())
    encoding: dict[str, dict[str, Any]] = {}
    for name, array in portable.variables.items():
        array.encoding = {}
        # a flipped bit is then an error instead of another number
        encoding[str(name)] = {"compressors": (ZstdCodec(level=_LEVEL), Crc32cCodec())}
        if array.ndim:
            encoding[str(name)]["chunks"] = tuple(max(size, 1) for size in array.shape)
    portable.to_zarr(cast(Any, zip_store), mode="a", zarr_format=3, consolidated=True, encoding=encoding)


def _without_machine(ds: xr.Dataset) -> xr.Dataset:
    """Return a dataset without names of hosts and without folders in the specs of its history."""
    if "host" in ds:
        ds = ds.assign(host=(ds["host"].dims, ds["host"].astype(object).where(False, "").values, ds["host"].attrs))
    events = [
        {**event, "spec": json.dumps(_without_folders(json.loads(event["spec"])))} if event["spec"] else event
        for event in json.loads(ds.attrs["history"])
    ]
    return ds.assign_attrs(history=json.dumps(events))


def _without_folders(value: object) -> object:
    """Return plain JSON data in which every absolute path is its last part."""
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if isinstance(value, str):
        for flavour in (PurePosixPath, PureWindowsPath):
            if flavour(value).is_absolute():
                return flavour(value).name
    return value
