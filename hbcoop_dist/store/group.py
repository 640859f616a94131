"""The only place that knows how the schema becomes Zarr arrays, and how one of our groups is told from another."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hbcoop_dist.store.errors import StoreSchemaError
from hbcoop_dist.store.layout import Label, Layout, chunks_of, coordinate, static_variables
from hbcoop_dist.store.schema import DIMS, SCHEMA, SCHEMA_VERSION, VARIABLES, Variable

ZarrArray = zarr.Array[Any]
HBOND = "hbond"

_COORDINATE_CHUNK = 1024
"""Constant, so that appending labels never changes the chunk grid of a coordinate."""


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """A Zarr group of ours, and the layout that its coordinates spell."""

    path: Path
    group: zarr.Group
    layout: Layout

    def array(self, name: str) -> ZarrArray:
        """The Zarr array of one variable or coordinate."""
        return cast(ZarrArray, self.group[name])

    def chunk(self, array: ZarrArray, model: int) -> Path:
        """The file of one model's values; there is none where all are missing."""
        key = array.metadata.encode_chunk_key((model, *[0] * (array.ndim - 1)))
        return self.path / array.basename / key


def root_attributes(path: Path) -> dict[str, object] | None:
    """Attributes of the Zarr group at `path`; None when there is no Zarr 3 group."""
    try:
        root = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(root, dict) or root.get("node_type") != "group":
        return None
    return dict(root.get("attributes") or {})


def is_ours(path: Path) -> bool:
    """Whether `path` is a store of this package, of whatever version."""
    attributes = root_attributes(path)
    return attributes is not None and attributes.get("schema") == SCHEMA


def check_schema(path: Path) -> dict[str, object]:
    """Attributes of the store at `path`.

    Raises
    ------
    StoreSchemaError
        When there is none, it is not ours, or its schema version is another.
    """
    if not path.exists():
        raise StoreSchemaError(f"{path}: expected a store, found nothing there")
    attributes = root_attributes(path)
    if attributes is None or attributes.get("schema") != SCHEMA:
        raise StoreSchemaError(f"{path}: expected a {SCHEMA} store, found something else; it is left as it is")
    found = attributes.get("schema_version")
    if found != SCHEMA_VERSION:
        newer = isinstance(found, int) and found > SCHEMA_VERSION
        hint = "a newer hbcoop_dist wrote it" if newer else "an older hbcoop_dist wrote it"
        raise StoreSchemaError(f"{path}, schema_version: expected {SCHEMA_VERSION}, found {found} ({hint})")
    return attributes


def check_kind(path: Path, attributes: Mapping[Any, object], kind: str) -> None:
    """Refuse a store of another kind of campaign than `kind`; those without one are of hydrogen bonds.

    Raises
    ------
    StoreSchemaError
    """
    if (found := attributes.get("kind", HBOND)) != kind:
        raise StoreSchemaError(f"{path}: expected a store of a campaign of kind {kind}, found one of kind {found}")


def open_group(path: Path, mode: Literal["r", "r+"]) -> OpenGroup:
    """Open the store at `path`, checked; `StoreSchemaError` says why not."""
    check_kind(path, check_schema(path), HBOND)
    # The consolidated metadata is the one thing that a growth changes in a single step, so it is what counts.
    try:
        group = zarr.open_group(path, mode=mode, zarr_format=3, use_consolidated=True)
    except ValueError as error:
        raise StoreSchemaError(f"{path}: expected consolidated metadata, found none") from error
    labels: dict[str, list[Label]] = {}
    for dim in DIMS:
        labels[dim] = np.asarray(cast(ZarrArray, group[dim])[:]).tolist()
    return OpenGroup(path, group, Layout.from_labels(labels))


class Axes(Protocol):
    """How long every axis is."""

    def labels(self, dim: str) -> tuple[Label, ...]: ...

    def shape(self, dims: Sequence[str]) -> tuple[int, ...]: ...


def create_array(group: zarr.Group, variable: Variable, layout: Axes) -> ZarrArray:
    """A new array in which every value is missing."""
    # With "." a variable is one flat folder; the default "/" would make one folder per dim of every chunk.
    return group.create_array(
        variable.name,
        shape=layout.shape(variable.dims),
        chunks=chunks_of(variable, layout),
        chunk_key_encoding={"name": "default", "separator": "."},
        dtype=str if variable.dtype == "str" else variable.numpy_dtype,
        # a flipped bit on disk is then an error instead of another number
        compressors=(ZstdCodec(), Crc32cCodec()),
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes=variable.attributes(),  # type: ignore[arg-type]
        # what a killed driver left behind that no reader has seen yet
        overwrite=True,
    )


def add_missing(group: zarr.Group, variables: Iterable[Variable], layout: Axes) -> bool:
    """Add variables that a group of an earlier version lacks, every value missing; whether there were any.

    The caller makes them visible by `consolidate`.
    """
    lacking = [variable for variable in variables if variable.name not in group]
    for variable in lacking:
        create_array(group, variable, layout)
    return bool(lacking)


def write_coordinate(open_group: OpenGroup, layout: Layout, dim: str) -> None:
    """Write the labels of `layout` along `dim`."""
    array = open_group.array(dim)
    array.resize(layout.shape((dim,)))
    array[:] = coordinate(layout, dim)


def build(path: Path, layout: Layout, attributes: Mapping[str, object]) -> OpenGroup:
    """A new, complete store at `path` in which every value is missing."""
    everything = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **attributes}
    group = zarr.create_group(path, zarr_format=3, attributes=everything)
    built = OpenGroup(path, group, layout)
    for dim in DIMS.values():
        group.create_array(
            dim.name,
            shape=layout.shape((dim.name,)),
            chunks=(_COORDINATE_CHUNK,),
            dtype=str if dim.dtype == "str" else dim.dtype,
            fill_value="" if dim.dtype == "str" else -1,
            dimension_names=(dim.name,),
            attributes={"long_name": dim.long_name},
        )
        write_coordinate(built, layout, dim.name)
    for variable in VARIABLES.values():
        create_array(group, variable, layout)
    for name, values in static_variables(layout).items():
        built.array(name)[...] = values
    return built


def consolidate(path: Path) -> None:
    """Make the metadata of all arrays visible in one atomic write of the root."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path, zarr_format=3)
