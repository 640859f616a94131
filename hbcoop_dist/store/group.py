"""Zarr group of a store: how a schema becomes arrays, and how a store is told from other folders."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hbcoop_dist.core.arrays import AnyArray
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.paths import StoreSchemaError
from hbcoop_dist.store.schema import FORMAT, FORMAT_VERSION, Axis, Schema, Variable

ZarrArray = zarr.Array[Any]

_COORDINATE_CHUNK = 1024
"""Constant, so that appending labels never changes the chunk grid of a coordinate."""


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """Zarr group of a store with the layout that its coordinates describe.

    Attributes
    ----------
    path : Path
    group : zarr.Group
    layout : Layout
    """

    path: Path
    group: zarr.Group
    layout: Layout

    def array(self, name: str) -> ZarrArray:
        """Return the Zarr array of a variable or coordinate.

        Parameters
        ----------
        name : str
        """
        return cast(ZarrArray, self.group[name])

    def has_chunk(self, array: ZarrArray, place: int) -> bool:
        """Return whether a chunk of the partition is on disk; it is not where all of its values are missing.

        Parameters
        ----------
        array : zarr.Array
        place : int
            Index along the partition.
        """
        key = array.metadata.encode_chunk_key((place, *[0] * (array.ndim - 1)))
        return (self.path / array.basename / key).exists()

    def write_coordinate(self, layout: Layout, dim: str) -> None:
        """Write the labels that another layout has along an axis.

        Parameters
        ----------
        layout : Layout
        dim : str
        """
        array = self.array(dim)
        array.resize(layout.shape((dim,)))
        array[:] = layout.coordinate(dim)


def root_attributes(path: Path) -> dict[str, object] | None:
    """Return the attributes of the Zarr group at a path; None when there is no Zarr 3 group.

    Parameters
    ----------
    path : Path
    """
    try:
        root = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(root, dict) or root.get("node_type") != "group":
        return None
    return dict(root.get("attributes") or {})


def is_store(path: Path) -> bool:
    """Return whether a path is a store of this package, of any kind and schema version.

    Parameters
    ----------
    path : Path
    """
    attributes = root_attributes(path)
    return attributes is not None and attributes.get("schema") == FORMAT


def check_store(path: Path, kind: str | None = None) -> dict[str, object]:
    """Return the attributes of the store at a path.

    Parameters
    ----------
    path : Path
    kind : str, optional
        Campaign kind that the store is to be of; any by default.

    Raises
    ------
    StoreSchemaError
        When there is no store, or it has another schema version or kind.
    """
    if not path.exists():
        raise StoreSchemaError(f"{path}: expected a store, found nothing there")
    attributes = root_attributes(path)
    if attributes is None or attributes.get("schema") != FORMAT:
        raise StoreSchemaError(f"{path}: expected a {FORMAT} store, found something else; it is left as it is")
    check_attributes(path, attributes, kind)
    return attributes


def check_attributes(path: Path, attributes: Mapping[Any, object], kind: str | None = None) -> None:
    """Check schema version and kind in the attributes of a store.

    Parameters
    ----------
    path : Path
        For the message.
    attributes : mapping
    kind : str, optional
        Campaign kind that the store is to be of; any by default.

    Raises
    ------
    StoreSchemaError
    """
    version = attributes.get("schema_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        hint = "a newer hbcoop_dist wrote it" if newer else "an older hbcoop_dist wrote it"
        raise StoreSchemaError(f"{path}, schema_version: expected {FORMAT_VERSION}, found {version} ({hint})")
    found = attributes.get("kind")
    if not isinstance(found, str):
        raise StoreSchemaError(f"{path}, kind: expected the name of a campaign kind, found {found!r}")
    if kind is not None and found != kind:
        raise StoreSchemaError(f"{path}: expected a store of a campaign of kind {kind}, found one of kind {found}")


def open_group(path: Path, schema: Schema, mode: Literal["r", "r+"]) -> OpenGroup:
    """Open a store.

    Parameters
    ----------
    path : Path
    schema : Schema
    mode : {"r", "r+"}

    Raises
    ------
    StoreSchemaError
        When there is no store, or it has another kind or schema version, or lacks a variable.
    """
    check_store(path, schema.kind)
    # A growth changes the consolidated metadata in a single step, so these are read.
    try:
        group = zarr.open_group(path, mode=mode, zarr_format=3, use_consolidated=True)
    except ValueError as error:
        raise StoreSchemaError(f"{path}: expected consolidated metadata, found none") from error
    names = set(group.array_keys())
    if lacking := [name for name in (*schema.axis, *schema.variables) if name not in names]:
        raise StoreSchemaError(f"{path}: expected the variables of kind {schema.kind}, found no {', '.join(lacking)}")
    labels = {
        axis.name: np.asarray(cast(ZarrArray, group[axis.name])[:]).tolist() for axis in schema.axes if axis.is_free
    }
    return OpenGroup(path, group, Layout(schema, labels))


def build(path: Path, layout: Layout, attributes: Mapping[str, object], static: Mapping[str, AnyArray]) -> OpenGroup:
    """Create a complete store in which every value of a table is missing.

    Parameters
    ----------
    path : Path
        Folder to create.
    layout : Layout
    attributes : mapping of str to object
        Attributes beside those that every store has.
    static : mapping of str to array
        Values of the static variables, on their whole axes.

    Returns
    -------
    OpenGroup
    """
    schema = layout.schema
    everything = {
        "title": schema.title,
        "schema": FORMAT,
        "schema_version": FORMAT_VERSION,
        "kind": schema.kind,
        **attributes,
    }
    group = zarr.create_group(path, zarr_format=3, attributes=everything)
    built = OpenGroup(path, group, layout)
    for axis in schema.axes:
        _create_coordinate(group, axis)
        built.write_coordinate(layout, axis.name)
    for variable in schema.variables.values():
        _create_array(group, variable, layout)
    for name, values in static.items():
        built.array(name)[...] = values
    return built


def _create_coordinate(group: zarr.Group, axis: Axis) -> None:
    group.create_array(
        axis.name,
        shape=(0,),
        chunks=(_COORDINATE_CHUNK,),
        dtype=str if axis.dtype == "str" else axis.dtype,
        fill_value="" if axis.dtype == "str" else -1,
        dimension_names=(axis.name,),
        attributes={"long_name": axis.long_name},
    )


def _create_array(group: zarr.Group, variable: Variable, layout: Layout) -> None:
    # With "." a variable is one flat folder; the default "/" would make one folder per dim of every chunk.
    group.create_array(
        variable.name,
        shape=layout.shape(variable.dims),
        chunks=layout.chunks(variable),
        chunk_key_encoding={"name": "default", "separator": "."},
        dtype=str if variable.dtype == "str" else variable.numpy_dtype,
        # a flipped bit on disk is then an error instead of another number
        compressors=(ZstdCodec(), Crc32cCodec()),
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes=variable.attributes(),  # type: ignore[arg-type]
    )


def consolidate(path: Path) -> None:
    """Make the metadata of all arrays visible to readers in one atomic write of the root.

    Parameters
    ----------
    path : Path
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path, zarr_format=3)
