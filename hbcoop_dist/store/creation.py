"""Stores come into being whole and grow without a moment at which a reader, or a killed driver, sees half of one.

Models are appended in place: new arrays' shapes become visible in one write of the root metadata. Any other growth
changes the shape of every chunk, so the store is written anew beside and swapped in by two renames; whatever is found
between or before them tells how to go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hbcoop_dist.store.archive import refuse_archive
from hbcoop_dist.store.errors import ProtocolMismatchError, StoreError
from hbcoop_dist.store.group import (
    HBOND,
    OpenGroup,
    add_missing,
    build,
    check_kind,
    check_schema,
    consolidate,
    is_ours,
    open_group,
    write_coordinate,
)
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.paths import SYSTEMS, StorePaths
from hbcoop_dist.store.schema import CELL_VARIABLES, DIMER_VARIABLES, VARIABLES, Variable

_TITLE = "Hydrogen-bond cooperativity of force fields"
_ABSENT = "nothing"


def prepare_store(
    path: str | Path,
    layout: Layout,
    *,
    protocol: Mapping[str, object],
    spec: str = "",
    title: str = _TITLE,
    lock: StoreLock | None = None,
) -> Layout:
    """Make the store at `path` hold at least the cells of `layout`: create it, grow it, or leave it.

    Parameters
    ----------
    path : str or Path
    layout : Layout
        What the campaign asks for; an existing store keeps what it has beyond that.
    protocol : mapping
        What must be equal for results to stand in one store; plain JSON data.
    spec : str
        The campaign spec as text; the store keeps a history of them.
    title : str
        Title of a new store.
    lock : StoreLock, optional
        The store's lock when the caller holds it already; otherwise it is taken for the duration of the call.

    Returns
    -------
    Layout
        The axes of the store as they are now.

    Raises
    ------
    StoreSchemaError
        When `path` is something else, or another schema version; it is left untouched.
    ProtocolMismatchError
        When the store was made with another protocol; names the field.
    StoreLockedError
        When another driver holds the store.
    """
    paths = StorePaths.of(path)
    refuse_archive(paths.store)
    if paths.store.exists():
        check_schema(paths.store)
    with contextlib.nullcontext() if lock else StoreLock(paths.store):
        recover_held(paths)
        asked = json.loads(json.dumps(protocol))
        if not paths.store.exists():
            attributes = {"title": title, "protocol": json.dumps(asked, sort_keys=True)}
            build(paths.growing, layout, {**attributes, "history": history([], "created", spec)})
            swap(paths)
            return layout
        attributes_found = check_schema(paths.store)
        check_kind(paths.store, attributes_found, HBOND)
        _check_protocol(paths.store, json.loads(str(attributes_found["protocol"])), asked)
        old = open_group(paths.store, "r+")
        if add_missing(old.group, VARIABLES.values(), old.layout):
            consolidate(paths.store)
        return _grow(paths, layout, json.loads(str(attributes_found["history"])), spec)


def recover(path: str | Path) -> None:
    """Finish, or undo, a growth of the store at `path` that was killed; harmless when there was none.

    Raises
    ------
    StoreLockedError
        When the growth is still going on.
    """
    paths = StorePaths.of(path)
    with StoreLock(paths.store):
        recover_held(paths)


def was_interrupted(paths: StorePaths) -> bool:
    """Whether a growth stopped between its two renames, so that no store stands at its path."""
    return paths.replaced.exists() and not paths.store.exists()


def recover_held(paths: StorePaths) -> None:
    """As `recover`, for the holder of the store's lock."""
    if was_interrupted(paths):
        # The former store is moved away only after its successor is complete and on disk.
        os.rename(paths.growing if is_ours(paths.growing) else paths.replaced, paths.store)
        _sync(paths.store.parent)
    for left in (paths.growing, paths.replaced):
        _remove(left)
    # What a killed flush leaves of the chunk it was writing; the chunk itself is replaced by a rename.
    for unfinished in paths.store.glob("*/*.partial"):
        unfinished.unlink()


def _remove(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not is_ours(path)):
        raise StoreError(f"{path}: expected nothing, or a store left by a killed growth, found something else")
    for child in path.iterdir():
        # The root metadata goes last: without it a killed removal could not be told from somebody's folder.
        if child.is_dir():
            shutil.rmtree(child)
        elif child.name != "zarr.json":
            child.unlink()
    (path / "zarr.json").unlink(missing_ok=True)
    path.rmdir()


def swap(paths: StorePaths) -> None:
    """Put the store under construction into its place, whole, and on disk."""
    consolidate(paths.growing)
    for folder, _, files in os.walk(paths.growing):
        for name in files:
            _sync(Path(folder, name))
        _sync(Path(folder))
    if paths.store.exists():
        os.rename(paths.store, paths.replaced)
    os.rename(paths.growing, paths.store)
    _sync(paths.store.parent)
    _remove(paths.replaced)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def history(before: list[dict[str, str]], event: str, spec: str) -> str:
    """A store's history with one event more, as it is stored."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps([*before, {"at": now, "event": event, "spec": spec}])


def differences(
    found: object, expected: object, field: str = "protocol", words: str = "the store has {}, this campaign asks for {}"
) -> Iterator[str]:
    """Fields in which two protocols differ, one line each."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in sorted({*found, *expected}):
            yield from differences(found.get(name, _ABSENT), expected.get(name, _ABSENT), f"{field}.{name}", words)
    elif found != expected:
        yield f"{field}: {words.format(repr(found), repr(expected))}"


def _check_protocol(path: Path, stored: object, asked: object) -> None:
    if lines := list(differences(stored, asked)):
        raise ProtocolMismatchError(
            f"{path}: expected the protocol that the store was made with, found another\n  "
            + "\n  ".join(lines)
            + "\nUse the stored protocol, or another store."
        )


def _grow(paths: StorePaths, layout: Layout, before: list[dict[str, str]], spec: str) -> Layout:
    old = open_group(paths.store, "r+")
    joined = old.layout.union(layout)
    if joined == old.layout:
        if spec != before[-1]["spec"]:
            old.group.update_attributes({"history": history(before, "run", spec)})
        return joined
    if joined.shape(_NOT_MODEL) == old.layout.shape(_NOT_MODEL):
        _append_models(paths.store, old, joined)
        grown = open_group(paths.store, "r+")
        grown.group.update_attributes({"history": history(before, "models appended", spec)})
        return joined
    attributes = {**old.group.attrs.asdict(), "history": history(before, "grown", spec)}
    new = build(paths.growing, joined, attributes)
    for variable in (*CELL_VARIABLES, *DIMER_VARIABLES):
        _copy(variable, old, new)
    if (paths.store / SYSTEMS).exists():
        shutil.copytree(paths.store / SYSTEMS, paths.growing / SYSTEMS)
    swap(paths)
    return joined


_NOT_MODEL = ("pattern", "length", "capping", "geometry", "rotamer")


def _append_models(path: Path, store: OpenGroup, layout: Layout) -> None:
    for variable in (*CELL_VARIABLES, *DIMER_VARIABLES):
        store.array(variable.name).resize(layout.shape(variable.dims))
    write_coordinate(store, layout, "model")
    consolidate(path)


def _copy(variable: Variable, old: OpenGroup, new: OpenGroup) -> None:
    source, target = old.array(variable.name), new.array(variable.name)
    dims = variable.dims[1:]
    places = [[new.layout.labels(dim).index(label) for label in old.layout.labels(dim)] for dim in dims]
    # models are only ever appended, so each keeps its place
    for index in range(len(old.layout.models)):
        block = variable.missing(new.layout.shape(dims))
        block[np.ix_(*places)] = source[index]
        target[index] = block
