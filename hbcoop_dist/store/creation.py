"""Creation and growth of stores, without a moment at which a reader or a killed driver finds half of one.

Labels of the partition are appended in place: the new shapes become visible in one write of the root metadata. Any
other growth changes the shape of every chunk, so the store is written anew beside the old one and swapped in by two
renames; a process killed before or between them is recovered from the folders that it left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np

from hbcoop_dist.core.arrays import AnyArray
from hbcoop_dist.core.files import sync_path
from hbcoop_dist.core.results import Label, Value
from hbcoop_dist.store.group import OpenGroup, build, check_store, consolidate, is_store, open_group
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.paths import ProtocolMismatchError, StoreError, StorePaths, refuse_archive
from hbcoop_dist.store.schema import Schema, Variable

Definitions = Mapping[str, Mapping[Label, Value]]
"""Values of static variables: variable name -> label of its first dim -> value along its other dims."""

_ABSENT = "nothing"


def prepare_store(
    path: str | Path,
    schema: Schema,
    labels: Mapping[str, Iterable[Label]],
    *,
    protocol: Mapping[str, object],
    spec: str = "",
    definitions: Definitions = MappingProxyType({}),
    lock: StoreLock | None = None,
) -> Layout:
    """Create a store, or let it grow by the labels that it lacks.

    Parameters
    ----------
    path : str or Path
    schema : Schema
    labels : mapping of str to iterable of str or int
        Labels of the free axes that the campaign needs; an existing store keeps those beyond them.
    protocol : mapping of str to object
        What must be equal for results to stand in one store; plain JSON data.
    spec : str
        Campaign spec as text; the store keeps a history of them.
    definitions : mapping of str to mapping
        Values of static variables that do not follow from the labels alone: variable name -> label -> value.
    lock : StoreLock, optional
        Lock of the store when the caller holds it; otherwise it is taken for the duration of the call.

    Returns
    -------
    Layout
        Axes of the store after the call.

    Raises
    ------
    StoreSchemaError
        When the path is something else, or a store of another kind or schema version; it is left untouched.
    ProtocolMismatchError
        When the store was made with another protocol, or a label in it has another definition; names the fields.
    StoreLockedError
        When another driver holds the store.
    """
    paths = StorePaths.of(path)
    refuse_archive(paths.store)
    if paths.store.exists():
        check_store(paths.store, schema.kind)
    with contextlib.nullcontext() if lock else StoreLock(paths.store):
        recover_locked(paths)
        requested = json.loads(json.dumps(protocol))
        if not paths.store.exists():
            layout = Layout(schema, labels)
            attributes = {
                "protocol": json.dumps(requested, sort_keys=True),
                "history": extended_history([], "created", spec),
            }
            build(paths.growing, layout, attributes, _static_values(layout, None, definitions))
            swap(paths)
            return layout
        store = open_group(paths.store, schema, "r+")
        _check_same(store, requested, definitions)
        return _extend(paths, store, store.layout.union(labels), spec, definitions)


def recover(path: str | Path) -> None:
    """Finish or undo the growth of a store that was killed; without effect when there was none.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    StoreLockedError
        When the growth is still in progress.
    """
    paths = StorePaths.of(path)
    with StoreLock(paths.store):
        recover_locked(paths)


def was_interrupted(paths: StorePaths) -> bool:
    """Return whether a growth stopped between its two renames, so that there is no store at its path.

    Parameters
    ----------
    paths : StorePaths
    """
    return paths.replaced.exists() and not paths.store.exists()


def recover_locked(paths: StorePaths) -> None:
    """Finish or undo a killed growth, for the holder of the store's lock.

    Parameters
    ----------
    paths : StorePaths

    Raises
    ------
    StoreError
        When something other than a store is where a growth builds.
    """
    if was_interrupted(paths):
        # The former store is moved away only after its successor is complete and on disk.
        os.rename(paths.growing if is_store(paths.growing) else paths.replaced, paths.store)
        sync_path(paths.store.parent)
    for leftover in (paths.growing, paths.replaced):
        _remove(leftover)
    # A killed flush leaves the chunk that it was writing under a temporary name.
    for unfinished in paths.store.glob("*/*.partial"):
        unfinished.unlink()


def _remove(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not is_store(path)):
        raise StoreError(f"{path}: expected nothing, or a store left by a killed growth, found something else")
    for child in path.iterdir():
        # The root metadata goes last: without it a killed removal could not be told from a foreign folder.
        if child.is_dir():
            shutil.rmtree(child)
        elif child.name != "zarr.json":
            child.unlink()
    (path / "zarr.json").unlink(missing_ok=True)
    path.rmdir()


def swap(paths: StorePaths) -> None:
    """Flush the store under construction to disk and rename it into its place.

    Parameters
    ----------
    paths : StorePaths
    """
    consolidate(paths.growing)
    for folder, _, files in os.walk(paths.growing):
        for name in files:
            sync_path(Path(folder, name))
        sync_path(Path(folder))
    if paths.store.exists():
        os.rename(paths.store, paths.replaced)
    os.rename(paths.growing, paths.store)
    sync_path(paths.store.parent)
    _remove(paths.replaced)


def extended_history(events: list[dict[str, str]], event: str, spec: str) -> str:
    """Return a history with one more event, as the attribute ``history`` holds it (JSON).

    Parameters
    ----------
    events : list of dict
    event : str
        What happened, e.g. ``created``.
    spec : str
        Campaign spec as text.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps([*events, {"at": now, "event": event, "spec": spec}])


def differences(
    stored: object,
    requested: object,
    field: str = "protocol",
    words: str = "the store has {}, this campaign asks for {}",
) -> Iterator[str]:
    """Yield the fields in which two protocols differ, one line each.

    Parameters
    ----------
    stored, requested : object
        Plain JSON data.
    field : str
        Name of the whole, for the messages.
    words : str
        Format of a message, with one place for each value.
    """
    if isinstance(stored, dict) and isinstance(requested, dict):
        for name in sorted({*stored, *requested}):
            yield from differences(stored.get(name, _ABSENT), requested.get(name, _ABSENT), f"{field}.{name}", words)
    elif stored != requested:
        yield f"{field}: {words.format(repr(stored), repr(requested))}"


def _check_same(store: OpenGroup, protocol: object, definitions: Definitions) -> None:
    lines = list(differences(json.loads(str(store.group.attrs["protocol"])), protocol))
    for name in store.layout.schema.definitions:
        dim = store.layout.schema.variables[name].dims[0]
        stored = dict(zip(store.layout.labels(dim), np.asarray(store.array(name)[:]).tolist(), strict=True))
        for label, value in definitions.get(name, {}).items():
            if before := stored.get(label):
                lines += differences(_parsed(before), _parsed(str(value)), f"{dim} {label}, {name}")
    if lines:
        raise ProtocolMismatchError(
            f"{store.path}: expected the protocol and definitions that the store was made with, found others\n  "
            + "\n  ".join(lines)
            + "\nUse what the store has, give what differs another name, or use another store."
        )


def _parsed(text: str) -> object:
    """Return the JSON data in a text, or the text itself."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text


def _extend(paths: StorePaths, store: OpenGroup, layout: Layout, spec: str, definitions: Definitions) -> Layout:
    """Let a store grow to a layout that has all of its labels, and add the event to its history."""
    events = json.loads(str(store.group.attrs["history"]))
    static = _static_values(layout, store, definitions)
    if layout == store.layout:
        _write_static(store, static)
        if spec != events[-1]["spec"]:
            store.group.update_attributes({"history": extended_history(events, "run", spec)})
        return layout
    partition = layout.schema.partition
    if all(layout.labels(dim) == store.layout.labels(dim) for dim in layout.schema.axis if dim != partition):
        _append(store, layout, static)
        grown = open_group(paths.store, layout.schema, "r+")
        grown.group.update_attributes({"history": extended_history(events, f"{partition}s appended", spec)})
        return layout
    _rebuild(paths, store, layout, static, extended_history(events, "grown", spec))
    return layout


def grow(paths: StorePaths, store: OpenGroup, layout: Layout) -> OpenGroup:
    """Write a store anew with longer axes and swap it in, for the holder of the store's lock.

    Parameters
    ----------
    paths : StorePaths
    store : OpenGroup
    layout : Layout
        Has all labels of the store.

    Returns
    -------
    OpenGroup
        The new store, open for writing.
    """
    recover_locked(paths)
    _rebuild(paths, store, layout, _static_values(layout, store, {}), str(store.group.attrs["history"]))
    return open_group(paths.store, layout.schema, "r+")


def _append(store: OpenGroup, layout: Layout, static: Mapping[str, AnyArray]) -> None:
    """Append labels of the partition in place."""
    for table in layout.schema.tables:
        for variable in table.variables:
            store.array(variable.name).resize(layout.shape(variable.dims))
    _write_static(store, static)
    store.write_coordinate(layout, layout.schema.partition)
    consolidate(store.path)


def _write_static(store: OpenGroup, static: Mapping[str, AnyArray]) -> None:
    for name, values in static.items():
        array = store.array(name)
        if array.shape != values.shape:
            array.resize(values.shape)
        if not np.array_equal(np.asarray(array[...]), values):
            array[...] = values


def _rebuild(paths: StorePaths, store: OpenGroup, layout: Layout, static: Mapping[str, AnyArray], history: str) -> None:
    attributes = {**store.group.attrs.asdict(), "history": history}
    new = build(paths.growing, layout, attributes, static)
    for table in layout.schema.tables:
        for variable in table.variables:
            _copy(variable, store, new)
    swap(paths)


def _copy(variable: Variable, old: OpenGroup, new: OpenGroup) -> None:
    source, target = old.array(variable.name), new.array(variable.name)
    dims = variable.dims[1:]
    indexer, shape = new.layout.indexer(old.layout, dims), new.layout.shape(dims)
    # labels of the partition are only ever appended, so each keeps its place
    for place in range(source.shape[0]):
        if old.has_chunk(source, place):
            block = variable.missing(shape)
            block[indexer] = source[place]
            target[place] = block


def _static_values(layout: Layout, store: OpenGroup | None, definitions: Definitions) -> dict[str, AnyArray]:
    """Return the values of all static variables: computed, kept from a store, or defined by the campaign."""
    values = dict(layout.schema.static_values(layout))
    for variable in layout.schema.static:
        if variable.name in values:
            continue
        block = variable.missing(layout.shape(variable.dims))
        if store is not None:
            block[layout.indexer(store.layout, variable.dims)] = np.asarray(store.array(variable.name)[...])
        for label, value in definitions.get(variable.name, {}).items():
            row = block[layout.place(variable.dims[0], label), ...]
            if variable.is_missing(row).all():
                array = np.asarray(value)
                row[tuple(slice(size) for size in array.shape)] = array
        values[variable.name] = block
    return values
