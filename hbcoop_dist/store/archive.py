"""Archives: stores packed for publication into one zip file that Zarr reads in place, without details of the machine.

A store on disk is hundreds of small files, made for one writer and many readers. An archive is never written to again,
so every variable is one chunk.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast

import xarray as xr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import ZipStore

from hbcoop_dist.store.group import check_attributes
from hbcoop_dist.store.paths import StoreError, StoreSchemaError
from hbcoop_dist.store.schema import FORMAT

SUFFIX = ".zip"
_LEVEL = 19


def is_archive(path: str | Path) -> bool:
    """Return whether a path names an archive, by its suffix alone.

    Parameters
    ----------
    path : str or Path
    """
    return Path(path).suffix.lower() == SUFFIX


def refuse_archive(path: Path) -> None:
    """Refuse a path that is to be written to and names an archive.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreSchemaError
    """
    if is_archive(path):
        raise StoreSchemaError(f"{path}: expected a folder, found an archive, which is only read")


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
