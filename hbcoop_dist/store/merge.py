"""Merging of stores: every row from the store that has it, and the results of all journals.

The new store is built beside its path and renamed into it when it is complete; the others are only read.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import xarray as xr

from hbcoop_dist.core.arrays import AnyArray, BoolArray, IntArray, ObjectArray
from hbcoop_dist.core.results import Label
from hbcoop_dist.store.creation import differences, extended_history, swap
from hbcoop_dist.store.group import OpenGroup, build, check_attributes, check_store, open_group
from hbcoop_dist.store.journal import PREFERENCE, Journal
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.paths import ProtocolMismatchError, StoreError, StorePaths, is_archive, refuse_archive, writing
from hbcoop_dist.store.reading import open_archive, text_as_objects
from hbcoop_dist.store.schema import Schema, Table, Variable

_NAMED_CONFLICTS = 5
_NOWHERE = -1


def merge_stores(stores: Sequence[str | Path], output: str | Path, schema: Schema) -> str:
    """Make one store of several of the same kind.

    Of a row that is in more than one store, a done one is taken, of several done ones the first; these must come from
    the same task. Of a row of a table without status, the first that has values is taken. Journals are joined, so that
    a campaign can go on in the new store where any of them stopped. An archive has no journal: what is done in it stays
    done, and what is requested beyond that is computed from the start.

    Parameters
    ----------
    stores : sequence of str or Path
        Folders or archives.
    output : str or Path
        Folder to create.
    schema : Schema

    Returns
    -------
    str
        Numbers of cells and of cells that are done, in words.

    Raises
    ------
    StoreSchemaError
        When one of them is no store of this kind and schema version.
    ProtocolMismatchError
        When their protocols differ; names the field.
    StoreLockedError
        When a driver is writing to one of them.
    StoreError
        When `output` exists, rows that are done in two stores come from different tasks, or a label stands for
        different things.
    """
    sources, paths = [StorePaths.of(store) for store in stores], StorePaths.of(output)
    refuse_archive(paths.store)
    if paths.store.exists() or paths.journal.exists():
        raise StoreError(f"{paths.store}: expected nothing there, and no journal beside it, found one")
    attributes = [_attributes_of(source.store, schema) for source in sources]
    _check_same_protocol(sources, attributes)
    with contextlib.ExitStack() as stack:
        stack.enter_context(StoreLock(paths.store))
        for source in sources:
            if not is_archive(source.store):
                stack.enter_context(StoreLock(source.store))
        opened = [_open_source(source.store, schema) for source in sources]
        layout = reduce(lambda joined, source: joined.union(source.layout.free), opened[1:], opened[0].layout)
        static = _merged_static(sources, opened, layout)
        origins = {table.name: _origins(layout, opened, table) for table in schema.tables}
        with writing(paths.store):
            common = {**attributes[0], "history": _merged_history(sources, attributes)}
            new = build(paths.growing, layout, common, static)
            for table in schema.tables:
                _fill(new, opened, table, origins[table.name])
            _join_companions(sources, paths)
            swap(paths)
    status = schema.variables[schema.cells.status]
    statuses = _texts(_Folder(open_group(paths.store, schema, "r")), layout, status)
    count = len(layout.labels(schema.partition))
    return f"{statuses.size} cells of {count} {schema.partition}s, {int((statuses == 'done').sum())} done"


class _Source(Protocol):
    """Values of a store to merge, by labels of its own layout."""

    @property
    def layout(self) -> Layout: ...

    def block(self, name: str, place: int) -> AnyArray | None:
        """Return a variable at one label of the partition; None where all values are missing."""

    def whole(self, name: str) -> AnyArray:
        """Return a variable on all its axes."""


@dataclass(frozen=True, slots=True)
class _Folder:
    group: OpenGroup

    @property
    def layout(self) -> Layout:
        return self.group.layout

    def block(self, name: str, place: int) -> AnyArray | None:
        array = self.group.array(name)
        return np.asarray(array[place]) if self.group.has_chunk(array, place) else None

    def whole(self, name: str) -> AnyArray:
        return np.asarray(self.group.array(name)[...])


@dataclass(frozen=True, slots=True)
class _Archive:
    ds: xr.Dataset
    layout: Layout

    def block(self, name: str, place: int) -> AnyArray | None:
        return np.asarray(self.ds[name][place].values)

    def whole(self, name: str) -> AnyArray:
        return np.asarray(self.ds[name].values)


def _attributes_of(path: Path, schema: Schema) -> dict[str, object]:
    if not is_archive(path):
        return check_store(path, schema.kind)
    attributes = {str(name): value for name, value in open_archive(path).attrs.items()}
    check_attributes(path, attributes, schema.kind)
    return attributes


def _open_source(path: Path, schema: Schema) -> _Source:
    if not is_archive(path):
        return _Folder(open_group(path, schema, "r"))
    ds = text_as_objects(open_archive(path))
    layout = Layout(schema, {axis.name: ds[axis.name].values.tolist() for axis in schema.axes if axis.is_free})
    # a part of a store may have its labels in another order, and derived axes that are longer than it needs
    return _Archive(ds.sel({dim: list(layout.labels(dim)) for dim in schema.axis}).compute(), layout)


def _check_same_protocol(sources: Sequence[StorePaths], attributes: Sequence[Mapping[str, object]]) -> None:
    first, *others = [json.loads(str(found["protocol"])) for found in attributes]
    for source, other in zip(sources[1:], others, strict=True):
        words = f"{sources[0].store.name} has {{}}, {source.store.name} has {{}}"
        if lines := list(differences(first, other, words=words)):
            raise ProtocolMismatchError(
                f"{source.store}: expected the protocol of {sources[0].store}, found another\n  " + "\n  ".join(lines)
            )


def _merged_history(sources: Sequence[StorePaths], attributes: Sequence[Mapping[str, object]]) -> str:
    # parts of one store share the events from before they were parted
    texts = dict.fromkeys(json.dumps(event) for found in attributes for event in json.loads(str(found["history"])))
    events = [json.loads(text) for text in texts]
    events.sort(key=lambda event: str(event["at"]))
    # the last spec is the one that the store is to hold, which is the last campaign of any of them
    names = ", ".join(source.store.name for source in sources)
    return extended_history(events, f"merged from {names}", events[-1]["spec"])


def _merged_static(sources: Sequence[StorePaths], opened: Sequence[_Source], layout: Layout) -> dict[str, AnyArray]:
    """Return the static variables on joined axes: computed, or from the first store that has a value."""
    schema = layout.schema
    merged = dict(schema.static_values(layout))
    for variable in schema.static:
        if variable.name in merged:
            continue
        block = variable.missing(layout.shape(variable.dims))
        for paths, source in zip(sources, opened, strict=True):
            place = layout.indexer(source.layout, variable.dims)
            present, own = block[place], source.whole(variable.name).astype(block.dtype)
            unset, lacking = variable.is_missing(present), variable.is_missing(own)
            if variable.name in schema.definitions:
                _check_same_definitions(paths, source, variable, ~unset & ~lacking & (present != own))
            block[place] = np.where(unset, own, present)
        merged[variable.name] = block
    return merged


def _check_same_definitions(paths: StorePaths, source: _Source, variable: Variable, differ: BoolArray) -> None:
    if differ.any():
        dim = variable.dims[0]
        label: Label = source.layout.labels(dim)[int(np.argwhere(differ)[0][0])]
        raise StoreError(
            f"{paths.store}, {dim} {label}: expected the same {variable.name} in all stores, found another"
        )


def _spread(source: _Source, layout: Layout, variable: Variable) -> Iterator[tuple[int, AnyArray]]:
    """Yield the values of a variable on joined axes by place along the partition, where there are any."""
    dims = variable.dims[1:]
    indexer, shape = layout.indexer(source.layout, dims), layout.shape(dims)
    for index, label in enumerate(source.layout.labels(variable.dims[0])):
        if (values := source.block(variable.name, index)) is None:
            continue
        block = variable.missing(shape)
        block[indexer] = values
        yield layout.place(variable.dims[0], label), block


def _texts(source: _Source, layout: Layout, variable: Variable) -> ObjectArray:
    texts = np.full(layout.shape(variable.dims), variable.fill, dtype=object)
    for place, block in _spread(source, layout, variable):
        texts[place] = block.astype(object)
    return texts


def _origins(layout: Layout, opened: Sequence[_Source], table: Table) -> IntArray:
    """Return the index of the store that every row is taken from, on the label dims of a table.

    Raises
    ------
    StoreError
        When two stores have a row done by different tasks; names the rows.
    """
    if not table.status:
        ranks = np.array([~_has_values(source, layout, table) for source in opened], dtype=np.int64)
        return cast(IntArray, np.where(ranks.min(axis=0) == 1, _NOWHERE, ranks.argmin(axis=0)))
    variables = layout.schema.variables
    statuses = np.array([_texts(source, layout, variables[table.status]) for source in opened])
    ranks = np.vectorize(PREFERENCE.__getitem__, otypes=[np.int64])(statuses)
    origin = ranks.argmin(axis=0)
    if table.key:
        keys = np.array([_texts(source, layout, variables[table.key]) for source in opened])
        chosen = np.take_along_axis(keys, origin[None], axis=0)[0]
        conflict = ((statuses == "done") & (keys != chosen)).any(axis=0)
        _refuse_conflicts(layout, table, conflict)
    return cast(IntArray, np.where(ranks.min(axis=0) == PREFERENCE["pending"], _NOWHERE, origin))


def _has_values(source: _Source, layout: Layout, table: Table) -> BoolArray:
    rows = np.zeros(layout.shape(table.dims), dtype=bool)
    for variable in table.variables:
        value_axes = tuple(range(len(table.dims) - 1, len(variable.dims) - 1))
        for place, block in _spread(source, layout, variable):
            rows[place] |= (~variable.is_missing(block)).any(axis=value_axes)
    return rows


def _refuse_conflicts(layout: Layout, table: Table, conflict: BoolArray) -> None:
    if not conflict.any():
        return
    labels = layout.rows(table)
    named = ["; ".join(map(str, labels[place])) for place in np.flatnonzero(conflict.ravel())]
    more = f" and {len(named) - _NAMED_CONFLICTS} more" if len(named) > _NAMED_CONFLICTS else ""
    raise StoreError(
        f"{table.title.lower()}: expected those that are done in two stores to come from the same tasks, found others "
        f"(another checkpoint, or geometry): {' | '.join(named[:_NAMED_CONFLICTS])}{more}"
    )


def _fill(new: OpenGroup, opened: Sequence[_Source], table: Table, origin: IntArray) -> None:
    for variable in table.variables:
        blocks: dict[int, AnyArray] = {}
        for number, source in enumerate(opened):
            for place, values in _spread(source, new.layout, variable):
                taken = origin[place] == number
                if taken.any():
                    block = blocks.setdefault(place, variable.missing(new.layout.shape(variable.dims[1:])))
                    block[taken] = values[taken]
        for place, block in blocks.items():
            new.array(variable.name)[place] = block


def _join_companions(sources: Sequence[StorePaths], paths: StorePaths) -> None:
    """Join the journals, and copy the files that journals and cells refer to."""
    with Journal(paths.journal, {}) as joined:
        for source in sources:
            with Journal(source.journal, {}) as journal:
                joined.copy_from(journal)
    for source in sources:
        for folder, target in ((source.arrays, paths.arrays), (source.models, paths.models)):
            if folder.is_dir():
                shutil.copytree(folder, target, dirs_exist_ok=True)
