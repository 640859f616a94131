"""The one writer of a store: it buffers records and rewrites each chunk once per flush, statuses last.

A chunk holds one model, so a flush costs the same for one cell as for all cells of that model; buffering by count and
time is what makes it cheap. What a kill loses from the buffer is in the journal.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.results import Record, Status
from hbcoop_dist.store.blocks import Edit, edit_of, lay
from hbcoop_dist.store.errors import StoreError
from hbcoop_dist.store.group import check_schema, open_group
from hbcoop_dist.store.journal import Journal
from hbcoop_dist.store.layout import Labels, Layout
from hbcoop_dist.store.lock import StoreLock
from hbcoop_dist.store.paths import StorePaths
from hbcoop_dist.store.schema import LABEL_DIMS, STATUS_NAMES, VARIABLES, Kind, variables_of

FLUSH_RECORDS = 500
FLUSH_SECONDS = 30.0
"""A flush takes about 0.05 s per model touched (measured): at ten models every 30 s, 2 % of the driver's time."""


class StoreWriter:
    """Writes records into an existing store at their labels; holds its lock and its journal.

    Parameters
    ----------
    path : str or Path
        A store that `prepare_store` made.
    flush_records : int
        Flush when so many records wait.
    flush_seconds : float
        Flush when the first waiting record is that old, at the next `write` or `flush_if_due`.
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
        self._waiting: dict[int, list[Edit]] = {}
        self._since = 0.0

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
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.setdefault(edit.index[0], []).append(edit)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Flush when enough records wait, or one has waited long enough; call it while nothing else happens."""
        waiting = sum(len(edits) for edits in self._waiting.values())
        if waiting >= self._flush_records or (waiting and time.monotonic() - self._since >= self._flush_seconds):
            self.flush()

    def flush(self) -> None:
        """Write everything that waits; on return it is in the store."""
        for model in sorted(self._waiting):
            for kind in ("cell", "dimer"):
                if edits := [edit for edit in self._waiting[model] if edit.kind == kind]:
                    self._flush_chunk(model, kind, edits)
            del self._waiting[model]

    def _flush_chunk(self, model: int, kind: Kind, edits: list[Edit]) -> None:
        status, reason = STATUS_NAMES[kind]
        if any(edit.whole for edit in edits):
            self._suspend(model, status, edits)
            for variable in variables_of(kind):
                if variable.name not in (status, reason):
                    self._rewrite(model, variable.name, [edit for edit in edits if edit.whole])
        self._rewrite(model, reason, edits)
        self._rewrite(model, status, edits)

    def _suspend(self, model: int, status: str, edits: list[Edit]) -> None:
        # A kill in the middle of this flush must not leave "done" beside values that are half old, half new.
        block = self._read(model, status)
        before = block.copy()
        for edit in edits:
            if edit.whole:
                block[edit.index[1:]] = VARIABLES[status].fill
        if not np.array_equal(block, before):
            self._store.array(status)[model] = block

    def _rewrite(self, model: int, name: str, edits: list[Edit]) -> None:
        block = self._read(model, name)
        for edit in edits:
            lay(edit, VARIABLES[name], block)
        self._store.array(name)[model] = block

    def _read(self, model: int, name: str) -> NDArray[np.generic]:
        try:
            return np.asarray(self._store.array(name)[model])
        except (RuntimeError, ValueError, OSError) as error:
            chunk = f"{name}, model {self.layout.models[model]}"
            raise StoreError(f"{chunk}: expected a readable chunk, {type(error).__name__}: {error}") from error

    def _texts(self, name: str, kind: Kind) -> dict[Labels, str]:
        self.flush()
        values = np.asarray(self._store.array(name)[:]).ravel().tolist()
        return dict(zip(self.layout.cells(kind), values, strict=True))

    def statuses(self, kind: Kind = "cell") -> dict[Labels, str]:
        """Status of every cell or isolated dimer of the store by its labels, in the order of their dims."""
        return self._texts(STATUS_NAMES[kind][0], kind)

    def pending(self, statuses_to_redo: Collection[str] = ("pending", "stale"), kind: Kind = "cell") -> list[Labels]:
        """Labels of the cells or isolated dimers whose status is one of those to redo."""
        return [labels for labels, status in self.statuses(kind).items() if status in statuses_to_redo]

    def stored_keys(self, kind: Kind = "cell") -> Mapping[Labels, str]:
        """Key of the task that gave each cell or isolated dimer, by its labels; those that have none are left out."""
        name = "task_key" if kind == "cell" else "dimer_task_key"
        return {labels: key for labels, key in self._texts(name, kind).items() if key}

    def close(self) -> None:
        """Flush and let go of the store; the lock is released even when the flush fails."""
        try:
            self.flush()
        finally:
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
