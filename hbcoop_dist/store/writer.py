"""Writer of a store: it buffers records and rewrites each chunk once per flush, the status last.

A chunk holds one label of the partition, so a flush costs the same for one row as for all rows of that label;
buffering by count and time makes it cheap. What a killed driver loses from the buffer is in the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np

from hbcoop_dist.core.arrays import AnyArray
from hbcoop_dist.core.results import LabelTuple, Record, Status
from hbcoop_dist.store.creation import grow
from hbcoop_dist.store.edits import Edit, edit_of
from hbcoop_dist.store.group import ZarrArray, check_store, open_group
from hbcoop_dist.store.layout import Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.paths import StoreError, StorePaths, reading, writing
from hbcoop_dist.store.schema import Schema, Table, Variable

FLUSH_RECORDS = 2000
"""About 50 MB of waiting records."""
FLUSH_SECONDS = 30.0


class StoreWriter:
    """Writes records at their labels into an existing store, and holds its lock.

    Parameters
    ----------
    path : str or Path
        A store that `prepare_store` made.
    schema : Schema
    flush_records : int
        Flush when this many records wait, labels of the partition with most of them first, until half as many wait.
    flush_seconds : float
        Flush a label of the partition when its first waiting record is this old, at the next `write` or
        `flush_if_due`, s.
    lock : StoreLock, optional
        Lock of the store when the caller holds it, who then releases it; otherwise it is taken until `close`.

    Attributes
    ----------
    path : Path
        The store.
    layout : Layout
        Axes of the store. They grow when records bring new labels along a dim.

    Raises
    ------
    StoreLockedError
        When another driver holds the store.
    StoreSchemaError
        When there is no store of this kind and schema version.
    """

    layout: Layout

    def __init__(
        self,
        path: str | Path,
        schema: Schema,
        *,
        flush_records: int = FLUSH_RECORDS,
        flush_seconds: float = FLUSH_SECONDS,
        lock: StoreLock | None = None,
    ) -> None:
        self._paths = StorePaths.of(path)
        self.path = self._paths.store
        self._schema = schema
        check_store(self._paths.store, schema.kind)
        self._own_lock = StoreLock(self._paths.store) if lock is None else None
        try:
            self._open()
        except BaseException:
            self._release()
            raise
        self._flush_records = flush_records
        self._flush_seconds = flush_seconds
        # labels of the partition in the order of their first waiting edit, each with the time of that
        self._waiting: dict[int, list[Edit]] = {}
        self._since: dict[int, float] = {}
        self._count = 0
        # a thread of its own, because a notebook runs an event loop in the caller's
        self._thread, self._runner = ThreadPoolExecutor(1), asyncio.Runner()

    def _open(self) -> None:
        self._store = open_group(self._paths.store, self._schema, "r+")
        self.layout = self._needed = self._store.layout
        self._arrays: dict[str, ZarrArray] = {name: self._store.array(name) for name in self._schema.variables}

    def write(self, records: Iterable[Record]) -> None:
        """Take records; they reach the store at the next flush.

        A record replaces its row as a whole: a variable that it lacks, and entries that its arrays are too short for,
        become missing.

        Parameters
        ----------
        records : iterable of Record

        Raises
        ------
        StoreError
            When a record does not fit the schema or the axes; those before it are taken.
        """
        for record in records:
            edit = edit_of(record, self.layout, is_whole=True)
            if any(not self._needed.has(dim, label) for dim, labels in edit.along.items() for label in labels):
                self._needed = self._needed.union(edit.along)
            self._take(edit)

    def mark(self, table: str, labels: Iterable[LabelTuple], status: Status, reason: str) -> None:
        """Set status and reason of rows and leave their values as they are.

        Parameters
        ----------
        table : str
            Name of a table that has a status.
        labels : iterable of tuple
            Labels of the rows, in the order of the table's dims.
        status : Status
        reason : str

        Raises
        ------
        StoreError
            When labels do not fit the table or the axes.
        """
        dims = self._schema.table(table).dims
        for row in labels:
            if not isinstance(row, tuple) or len(row) != len(dims):
                raise StoreError(f"labels: expected a tuple of ({', '.join(dims)}), found {row!r}")
            record = Record(table, dict(zip(dims, row, strict=True)), status, reason)
            self._take(edit_of(record, self.layout, is_whole=False))

    def _take(self, edit: Edit) -> None:
        self._since.setdefault(edit.index[0], time.monotonic())
        self._waiting.setdefault(edit.index[0], []).append(edit)
        self._count += 1
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Flush when enough records wait or one has waited long enough; call it while nothing else happens."""
        if self._count >= self._flush_records:
            # a flush costs the same for one record as for many, so labels that still fill are better left waiting
            for place in sorted(self._waiting, key=lambda place: len(self._waiting[place]), reverse=True):
                if self._count <= self._flush_records // 2:
                    break
                self._flush_place(place)
        while self._since and time.monotonic() - next(iter(self._since.values())) >= self._flush_seconds:
            self._flush_place(next(iter(self._since)))

    def flush(self) -> None:
        """Write everything that waits; on return it is in the store."""
        for place in sorted(self._waiting):
            self._flush_place(place)

    def flush_partition(self, label: str | int) -> None:
        """Write what waits of one label of the partition, e.g. because it is complete; on return it is in the store.

        Parameters
        ----------
        label : str or int

        Raises
        ------
        StoreError
            When the partition lacks the label.
        """
        place = self.layout.place(self._schema.partition, label)
        if place in self._waiting:
            self._flush_place(place)

    def _flush_place(self, place: int) -> None:
        if self._needed is not self.layout:
            with writing(self._paths.store):
                grow(self._paths, self._store, self._needed)
            self._open()
        # cells last: a resumed run looks for no other rows of cells that are done
        for table in reversed(self._schema.tables):
            if edits := [edit for edit in self._waiting[place] if edit.table is table]:
                self._flush_chunks(place, table, edits)
        self._count -= len(self._waiting.pop(place))
        del self._since[place]

    def _flush_chunks(self, place: int, table: Table, edits: list[Edit]) -> None:
        if whole := [edit for edit in edits if edit.is_whole]:
            self._suspend(place, table, whole)
            variables = [v for v in table.variables if v.name not in (table.status, table.reason)]
            self._write(place, {v.name: self._edited(place, v, whole) for v in variables})
        if table.status:
            for name in (table.reason, table.status):
                self._write(place, {name: self._edited(place, self._schema.variables[name], edits)})

    def _suspend(self, place: int, table: Table, edits: list[Edit]) -> None:
        """Take back the status of rows while their values change.

        A kill in the middle of the flush must not leave "done" beside values of which some are old and some new.
        """
        if not table.status or (block := self._read(place, table.status)) is None:
            return
        before = block.copy()
        for edit in edits:
            block[edit.index[1:]] = self._schema.variables[table.status].fill
        if not np.array_equal(block, before):
            self._write(place, {table.status: block})

    def _edited(self, place: int, variable: Variable, edits: list[Edit]) -> AnyArray | None:
        """Return the new values of a chunk, or None where all of them stay missing."""
        block = self._read(place, variable.name)
        if block is None:
            if not any(variable.name in edit.values for edit in edits):
                return None
            block = variable.missing(self.layout.shape(variable.dims[1:]))
        for edit in edits:
            edit.apply(variable, block, self.layout)
        return block

    def _write(self, place: int, blocks: Mapping[str, AnyArray | None]) -> None:
        """Write chunks of one label concurrently, which takes half as long as one after the other."""
        present = {name: block for name, block in blocks.items() if block is not None}

        async def write_all() -> list[BaseException | None]:
            writes = [self._arrays[name].async_array.setitem((place,), block) for name, block in present.items()]
            return await asyncio.gather(*writes, return_exceptions=True)

        failures = self._thread.submit(lambda: self._runner.run(write_all())).result()
        for name, failure in zip(present, failures, strict=True):
            if failure is not None:
                with writing(f"{self._paths.store}, {self._where(name, place)}"):
                    raise failure

    def _read(self, place: int, name: str) -> AnyArray | None:
        """Return the values of a chunk, or None where nothing was ever written."""
        array = self._arrays[name]
        if not self._store.has_chunk(array, place):
            return None
        with reading(self._where(name, place)):
            return np.asarray(array[place])

    def _where(self, name: str, place: int) -> str:
        return f"{name}, {self._schema.partition} {self.layout.labels(self._schema.partition)[place]}"

    def values(self, name: str) -> AnyArray:
        """Return all values of one variable, after a flush of everything that waits.

        Parameters
        ----------
        name : str

        Returns
        -------
        array
            On the dims of the variable.

        Raises
        ------
        StoreError
            When a chunk cannot be read.
        """
        self.flush()
        with reading(name):
            return np.asarray(self._arrays[name][:])

    def texts(self, name: str) -> dict[LabelTuple, str]:
        """Return a text variable of every row of its table, by the labels of the row.

        Parameters
        ----------
        name : str
            A variable without dims beside the label dims of its table.

        Raises
        ------
        StoreError
            When a chunk cannot be read.
        """
        values = self.values(name).ravel().tolist()
        return dict(zip(self.layout.rows(self._schema.table_of(name)), values, strict=True))

    def statuses(self, table: str) -> dict[LabelTuple, str]:
        """Return the status of every row of a table, by its labels.

        Parameters
        ----------
        table : str
            Name of a table that has a status.
        """
        return self.texts(self._schema.table(table).status)

    def stored_keys(self, table: str) -> dict[LabelTuple, str]:
        """Return the key of the task that gave a row, by its labels; rows without a key are left out.

        Parameters
        ----------
        table : str
            Name of a table that has task keys.
        """
        return {labels: key for labels, key in self.texts(self._schema.table(table).key).items() if key}

    def incomplete(self, table: str) -> set[LabelTuple]:
        """Return the labels of rows that are done and lack required values, because a chunk was lost.

        The values of the first required variable are read; of the others it suffices that their chunks are on disk.

        Parameters
        ----------
        table : str
            Name of a table that has a status.

        Raises
        ------
        StoreError
            When a chunk cannot be read.
        """
        described = self._schema.table(table)
        done = self.values(described.status) == "done"
        lacking = np.zeros(done.shape, dtype=bool)
        for number, name in enumerate(described.required):
            variable = self._schema.variables[name]
            expected = self.layout.expected(described, variable)
            value_axes = tuple(range(done.ndim - 1, expected.ndim))
            if number:
                present = [self._store.has_chunk(self._arrays[name], place) for place in range(done.shape[0])]
                lacking[~np.array(present)] |= expected.any(axis=value_axes)
            else:
                missing = variable.is_missing(self.values(name)) & expected
                lacking |= missing.any(axis=tuple(axis + 1 for axis in value_axes))
        rows = self.layout.rows(described)
        return {rows[place] for place in np.flatnonzero(done & lacking)}

    def close(self) -> None:
        """Flush and close the store; the lock is released even when the flush fails."""
        try:
            self.flush()
        finally:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()
            self._release()

    def _release(self) -> None:
        if self._own_lock is not None:
            self._own_lock.release()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
