"""A store to give away: one zip file that zarr reads in place, without what is of this machine only.

A store on disk is hundreds of small files, made for one writer and many readers; an archive is never written to again,
so every variable is one chunk.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import xarray as xr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import ZipStore

from hbcoop_dist.store.errors import StoreError, StoreSchemaError
from hbcoop_dist.store.paths import SYSTEMS
from hbcoop_dist.store.schema import SCHEMA, SCHEMA_VERSION

SUFFIX = ".zip"
_PATHS = ("checkpoint", "file", "files", "geometry")
_LEVEL = 19


def is_archive(path: str | Path) -> bool:
    """Whether a path names an archive: by its suffix alone."""
    return Path(path).suffix.lower() == SUFFIX


def refuse_archive(path: Path) -> None:
    """Raise StoreSchemaError where something is to be written into an archive."""
    if is_archive(path):
        raise StoreSchemaError(f"{path}: expected a folder, found an archive, which is only read")


def write_archive(cells: xr.Dataset, systems: xr.Dataset | None, output: Path) -> None:
    """Pack a store's datasets into a new zip file.

    Hosts are left out, and of the paths in the campaigns (attribute ``history``) only the last part stays.

    Parameters
    ----------
    cells : xarray.Dataset
        A store's dataset, or a part of it with all its dims.
    systems : xarray.Dataset or None
        That of its marked systems, if it has any.
    output : Path
        What to make; an older archive is replaced once the new one is complete.
    """
    unfinished = output.with_name(output.name + ".growing")
    unfinished.unlink(missing_ok=True)
    packed = ZipStore(unfinished, mode="w")
    try:
        # zarr writes a group's metadata once when it makes it and once more with its attributes; a zip keeps both
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Duplicate name")
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            if systems is not None:
                _write(systems, packed, SYSTEMS)
            _write(cells, packed, None)
    finally:
        packed.close()
    os.replace(unfinished, output)


def has_group(path: Path, group: str) -> bool:
    """Whether an archive holds a group."""
    with zipfile.ZipFile(path) as packed:
        return f"{group}/zarr.json" in packed.namelist()


def open_archive(path: Path, group: str | None = None) -> xr.Dataset:
    """Open an archive; as `open_store` does for a folder.

    Raises
    ------
    StoreError
        When there is none, or it is no archive of a store of this version.
    """
    if not path.is_file():
        raise StoreError(f"{path}: expected a store, found nothing there")
    try:
        found: xr.Dataset = xr.open_zarr(ZipStore(path, mode="r"), group=group, chunks=None, consolidated=False)
        attributes = found.attrs if group is None else open_archive(path).attrs
    except Exception as error:
        raise StoreError(
            f"{path}: expected a zipped {SCHEMA} store, found one that cannot be read ({type(error).__name__}: {error})"
        ) from error
    if attributes.get("schema") != SCHEMA or attributes.get("schema_version") != SCHEMA_VERSION:
        raise StoreError(
            f"{path}: expected a zipped {SCHEMA} store of schema version {SCHEMA_VERSION}, found "
            f"{attributes.get('schema')} of version {attributes.get('schema_version')}"
        )
    return found


def _write(ds: xr.Dataset, packed: ZipStore, group: str | None) -> None:
    plain = _without_this_machine(ds.compute())
    encoding: dict[str, dict[str, Any]] = {}
    for name, array in plain.variables.items():
        array.encoding = {}
        # a flipped bit is then an error instead of another number
        encoding[str(name)] = {"compressors": (ZstdCodec(level=_LEVEL), Crc32cCodec())}
        if array.ndim:
            encoding[str(name)]["chunks"] = tuple(max(size, 1) for size in array.shape)
    plain.to_zarr(
        cast(Any, packed), group=group, mode="a", zarr_format=3, consolidated=group is None, encoding=encoding
    )


def _without_this_machine(ds: xr.Dataset) -> xr.Dataset:
    if "host" in ds:
        ds = ds.assign(host=(ds["host"].dims, ds["host"].astype(object).where(False, "").values, ds["host"].attrs))
    if "history" in ds.attrs:
        events = [
            {**event, "spec": json.dumps(_shortened(json.loads(event["spec"])))}
            for event in json.loads(ds.attrs["history"])
        ]
        ds = ds.assign_attrs(history=json.dumps(events))
    return ds


def _shortened(value: object) -> object:
    """A campaign in which every path is its last part."""
    if isinstance(value, Mapping):
        return {key: _names(item) if key in _PATHS else _shortened(item) for key, item in value.items()}
    return [_shortened(item) for item in value] if isinstance(value, list) else value


def _names(value: object) -> object:
    if isinstance(value, list):
        return list(_each_name(value))
    return Path(value).name if isinstance(value, str) else value


def _each_name(values: list[object]) -> Iterator[object]:
    yield from (Path(value).name if isinstance(value, str) else value for value in values)
