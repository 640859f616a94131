"""The one writer of a store: it buffers records and rewrites each chunk once per flush, statuses last.

A chunk holds one model, so a flush costs the same for one cell as for all cells of that model; buffering by count and
time is what makes it cheap. What a kill loses from the buffer is in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.core.results import Record, Status
from hbcoop_dist.store.blocks import Edit, edit_of, lay
from hbcoop_dist.store.errors import StoreError, writing
from hbcoop_dist.store.group import ZarrArray, check_schema, open_group
from hbcoop_dist.store.journal import Journal
from hbcoop_dist.store.layout import Labels, Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.paths import StorePaths
from hbcoop_dist.store.schema import LABEL_DIMS, STATUS_NAMES, VARIABLES, Kind, variables_of

FLUSH_RECORDS = 2000
"""About 50 MB of waiting records."""
FLUSH_SECONDS = 30.0


@contextlib.contextmanager
def _readable(chunk: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        raise StoreError(f"{chunk}: expected a readable chunk, {type(error).__name__}: {error}") from error


class StoreWriter:
    """Writes records into an existing store at their labels; holds its lock and its journal.

    Parameters
    ----------
    path : str or Path
        A store that `prepare_store` made.
    flush_records : int
        Flush when so many records wait, the models with most of them first, until half as many are left.
    flush_seconds : float
        Flush a model when its first waiting record is that old, at the next `write` or `flush_if_due`.
    lock : StoreLock, optional
        The store's lock when the caller holds it already (it stays his); otherwise it is taken until `close`.

    Attributes
    ----------
    layout : Layout
        Axes of the store.
    journal : Journal
        The store's journal.

    Raises
    ------
    StoreLockedError
        When another driver holds the store.
    StoreSchemaError
        When there is no store of this schema version.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        flush_records: int = FLUSH_RECORDS,
        flush_seconds: float = FLUSH_SECONDS,
        lock: StoreLock | None = None,
    ) -> None:
        paths = StorePaths.of(path)
        check_schema(paths.store)
        self._path = paths.store
        self._own_lock = StoreLock(paths.store) if lock is None else None
        try:
            self._store = open_group(paths.store, "r+")
            self.journal = Journal(paths.journal)
        except BaseException:
            self._release()
            raise
        self.layout: Layout = self._store.layout
        self._flush_records = flush_records
        self._flush_seconds = flush_seconds
        self._arrays: dict[str, ZarrArray] = {name: self._store.array(name) for name in VARIABLES}
        # Models in the order of their first waiting edit, each with the time of that.
        self._waiting: dict[int, list[Edit]] = {}
        self._since: dict[int, float] = {}
        # A thread of their own, because a notebook has an event loop running in the caller's.
        self._thread, self._runner = ThreadPoolExecutor(1), asyncio.Runner()
        self._count = 0

    def write(self, records: Iterable[Record]) -> None:
        """Take records; they reach the store at the next flush.

        A record is the whole of its cell: a variable that it lacks, and entries that its arrays are too short for,
        become missing.

        Raises
        ------
        StoreError
            When a record does not fit the schema or the axes; those before it are taken.
        """
        for record in records:
            self._take(edit_of(record, self.layout, whole=True))

    def mark(self, labels: Iterable[Labels], status: Status, reason: str) -> None:
        """Set status and reason of cells and leave their values alone; `labels` as `pending` returns them."""
        for one in labels:
            if not isinstance(one, tuple) or len(one) != len(LABEL_DIMS["cell"]):
                raise StoreError(f"labels: expected a tuple of ({', '.join(LABEL_DIMS['cell'])}), found {one!r}")
            record = Record(dict(zip(LABEL_DIMS["cell"], one, strict=True)), status, reason)
            self._take(edit_of(record, self.layout, whole=False))

    def _take(self, edit: Edit) -> None:
        self._since.setdefault(edit.index[0], time.monotonic())
        self._waiting.setdefault(edit.index[0], []).append(edit)
        self._count += 1
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Flush when enough records wait, or one has waited long enough; call it while nothing else happens."""
        if self._count >= self._flush_records:
            # a flush costs the same for one record as for many, so a model that still fills is best left alone
            for model in sorted(self._waiting, key=lambda model: len(self._waiting[model]), reverse=True):
                if self._count <= self._flush_records // 2:
                    break
                self._flush_model(model)
        while self._since and time.monotonic() - next(iter(self._since.values())) >= self._flush_seconds:
            self._flush_model(next(iter(self._since)))

    def flush(self) -> None:
        """Write everything that waits; on return it is in the store."""
        for model in sorted(self._waiting):
            self._flush_model(model)

    def flush_model(self, name: str) -> None:
        """Write what waits of one model, e.g. because it is complete; on return it is in the store."""
        model = self.layout.place("model", name)
        if model in self._waiting:
            self._flush_model(model)

    def _flush_model(self, model: int) -> None:
        # isolated dimers first: no run looks for those of cells that are done
        kinds: tuple[Kind, ...] = ("dimer", "cell")
        for kind in kinds:
            if edits := [edit for edit in self._waiting[model] if edit.kind == kind]:
                self._flush_chunk(model, kind, edits)
        self._count -= len(self._waiting.pop(model))
        del self._since[model]

    def _flush_chunk(self, model: int, kind: Kind, edits: list[Edit]) -> None:
        status, reason = STATUS_NAMES[kind]
        if any(edit.whole for edit in edits):
            self._suspend(model, status, edits)
            whole = [edit for edit in edits if edit.whole]
            names = [variable.name for variable in variables_of(kind) if variable.name not in (status, reason)]
            self._write(model, {name: self._laid(model, name, whole) for name in names})
        self._write(model, {reason: self._laid(model, reason, edits)})
        self._write(model, {status: self._laid(model, status, edits)})

    def _suspend(self, model: int, status: str, edits: list[Edit]) -> None:
        # A kill in the middle of this flush must not leave "done" beside values that are half old, half new.
        block = self._read(model, status)
        if block is None:
            return
        before = block.copy()
        for edit in edits:
            if edit.whole:
                block[edit.index[1:]] = VARIABLES[status].fill
        if not np.array_equal(block, before):
            self._write(model, {status: block})

    def _laid(self, model: int, name: str, edits: list[Edit]) -> NDArray[np.generic] | None:
        """The new values of one model, or None where there still are none."""
        variable, block = VARIABLES[name], self._read(model, name)
        if block is None:
            if not any(name in edit.values for edit in edits):
                return None
            block = variable.missing(self.layout.shape(variable.dims[1:]))
        for edit in edits:
            lay(edit, variable, block)
        return block

    def _write(self, model: int, blocks: Mapping[str, NDArray[np.generic] | None]) -> None:
        """Write chunks of one model, all at once: one after the other took twice as long, most of it waiting."""
        there = {name: block for name, block in blocks.items() if block is not None}

        async def every() -> list[BaseException | None]:
            writes = [self._arrays[name].async_array.setitem((model,), block) for name, block in there.items()]
            return await asyncio.gather(*writes, return_exceptions=True)

        for name, failure in zip(there, self._thread.submit(lambda: self._runner.run(every())).result(), strict=True):
            if failure is not None:
                with writing(f"{self._path}, {name}, model {self.layout.models[model]}"):
                    raise failure

    def _read(self, model: int, name: str) -> NDArray[np.generic] | None:
        """The values of one model, or None where nothing was ever written."""
        array = self._arrays[name]
        if not self._store.chunk(array, model).exists():
            return None
        with _readable(f"{name}, model {self.layout.models[model]}"):
            return np.asarray(array[model])

    def values(self, name: str) -> NDArray[np.generic]:
        """All values of one variable as they are in the store, what waits included.

        Raises
        ------
        StoreError
            When a chunk cannot be read.
        """
        self.flush()
        with _readable(name):
            return np.asarray(self._arrays[name][:])

    def texts(self, name: str, kind: Kind = "cell") -> dict[Labels, str]:
        """A text variable of every cell or isolated dimer by its labels, in the order of their dims."""
        return dict(zip(self.layout.cells(kind), self.values(name).ravel().tolist(), strict=True))

    def statuses(self, kind: Kind = "cell") -> dict[Labels, str]:
        """Status of every cell or isolated dimer of the store by its labels, in the order of their dims."""
        return self.texts(STATUS_NAMES[kind][0], kind)

    def pending(self, statuses_to_redo: Collection[str] = ("pending", "stale"), kind: Kind = "cell") -> list[Labels]:
        """Labels of the cells or isolated dimers whose status is one of those to redo."""
        return [labels for labels, status in self.statuses(kind).items() if status in statuses_to_redo]

    def stored_keys(self, kind: Kind = "cell") -> Mapping[Labels, str]:
        """Key of the task that gave each cell or isolated dimer, by its labels; those that have none are left out."""
        name = "task_key" if kind == "cell" else "dimer_task_key"
        return {labels: key for labels, key in self.texts(name, kind).items() if key}

    def close(self) -> None:
        """Flush and let go of the store; the lock is released even when the flush fails."""
        try:
            self.flush()
        finally:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()
            self.journal.close()
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
