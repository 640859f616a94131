"""Append-only journal of task results, which makes every result durable before it is acknowledged."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, KeysView, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType

from hbcoop_dist.core.files import sync_path
from hbcoop_dist.core.results import Status, TaskResult
from hbcoop_dist.store.codec import PayloadTypes, decode, encode, key_of, status_of
from hbcoop_dist.store.errors import StoreError, StoreWriteError

_log = logging.getLogger(__name__)

PREFERENCE: Mapping[str, int] = {
    status: rank
    for rank, status in enumerate(
        ("done", "unconverged", "broken-geometry", "failed", "quarantined", "stale", "skipped", "pending")
    )
}
"""Rank of every status where several stores have a result: the lowest is kept."""

_COPIED_AT_ONCE = 1000


class Journal:
    """Task results by key, in an append-only file of lines; the last line of a key counts.

    The index in memory holds one offset per key and the status of what is not done, never the results. Opening only
    reads. The first append creates the file, or removes an unfinished last line that a killed writer left. There may be
    one writer at a time: hold the store's lock.

    Parameters
    ----------
    path : str or Path
        Journal file; a missing one is an empty journal.
    payloads : mapping of str to type
        Dataclasses that may occur in payloads, by class name (`payload_types`). Keys and statuses are read without
        them.

    Attributes
    ----------
    corrupt_lines : list of int
        Numbers (from 1) of complete lines with a wrong checksum. They are skipped and logged; all others count.
    torn_bytes : int
        Size of an unfinished last line.

    Raises
    ------
    StoreError
        When the file exists and cannot be read.
    """

    def __init__(self, path: str | Path, payloads: PayloadTypes) -> None:
        self.path = Path(path)
        self.corrupt_lines: list[int] = []
        self.torn_bytes = 0
        self._payloads = payloads
        self._offsets: dict[str, int] = {}
        self._not_done: dict[str, Status] = {}
        self._end = 0
        self._writer: int | None = None
        self._scan()

    def _scan(self) -> None:
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self.path}: expected a readable journal, {error}") from error
        with file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    self.torn_bytes = len(line)
                    _log.warning("%s: line %d is unfinished; skipped", self.path, number)
                    return
                if (key := key_of(line)) is None:
                    self.corrupt_lines.append(number)
                    _log.warning("%s: line %d does not match its checksum; skipped", self.path, number)
                else:
                    self._add_to_index(key, self._end, status_of(line))
                self._end += len(line)

    def _add_to_index(self, key: str, offset: int, status: Status) -> None:
        # removed first, so that the index stays in the order of the lines that count
        self._offsets.pop(key, None)
        self._not_done.pop(key, None)
        self._offsets[key] = offset
        if status != "done":
            self._not_done[key] = status

    def append(self, result: TaskResult) -> None:
        """Append one result; on return it is on disk.

        Parameters
        ----------
        result : TaskResult

        Raises
        ------
        StoreError
            As `append_many`.
        """
        self.append_many((result,))

    def append_many(self, results: Iterable[TaskResult]) -> None:
        """Append several results with one fsync; on return all are on disk.

        Parameters
        ----------
        results : iterable of TaskResult

        Raises
        ------
        StoreError
            When a value cannot be encoded exactly; nothing is written then.
        StoreWriteError
            When the disk refuses.
        """
        self._append([(result.key, result.status, encode(result, self._payloads)) for result in results])

    def _append(self, lines: list[tuple[str, Status, bytes]]) -> None:
        if not lines:
            return
        file = self._opened()
        try:
            _write(file, b"".join(line for _, _, line in lines))
            os.fsync(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(file, self._end)
            raise StoreWriteError(f"{self.path}: expected space for {len(lines)} results, {error}") from error
        for key, status, line in lines:
            self._add_to_index(key, self._end, status)
            self._end += len(line)

    def _opened(self) -> int:
        """Return the file, opened for appending; an unfinished last line is removed."""
        if self._writer is None:
            is_new = not self.path.exists()
            try:
                self._writer = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
                os.ftruncate(self._writer, self._end)
                if is_new:
                    # the entry of a new file is on disk once its folder is
                    sync_path(self.path.parent)
            except OSError as error:
                self.close()
                raise StoreWriteError(f"{self.path}: expected a writable journal, {error}") from error
            self.torn_bytes = 0
        return self._writer

    def copy_from(self, other: Journal) -> None:
        """Append the lines of another journal without decoding them.

        A line whose key has a result here already is copied only where its status is preferred (`PREFERENCE`), so that
        a result that is done in either of them stays.

        Parameters
        ----------
        other : Journal

        Raises
        ------
        StoreWriteError
            When the disk refuses.
        """
        lines = (line for line in other._lines() if self._prefers(line[0], line[1]))
        while batch := list(islice(lines, _COPIED_AT_ONCE)):
            self._append(batch)

    def _prefers(self, key: str, status: Status) -> bool:
        present = self.status(key)
        return present is None or PREFERENCE[status] < PREFERENCE[present]

    def get(self, key: str) -> TaskResult | None:
        """Return the last result of a task, or None.

        Parameters
        ----------
        key : str

        Raises
        ------
        StoreError
            When the payload holds a dataclass that the journal was not opened with.
        """
        offset = self._offsets.get(key)
        if offset is None:
            return None
        with self.path.open("rb") as file:
            file.seek(offset)
            return decode(file.readline(), self._payloads)

    def status(self, key: str) -> Status | None:
        """Return the status of the last result of a task, or None, without reading the file.

        Parameters
        ----------
        key : str
        """
        return self._not_done.get(key, "done") if key in self._offsets else None

    def keys(self) -> KeysView[str]:
        """Return the keys that have a result."""
        return self._offsets.keys()

    def results(self) -> Iterator[TaskResult]:
        """Yield the last result of every key, in the order in which they were appended."""
        for _, _, line in self._lines():
            yield decode(line, self._payloads)

    def _lines(self) -> Iterator[tuple[str, Status, bytes]]:
        if not self._offsets:
            return
        with self.path.open("rb") as file:
            for key, offset in list(self._offsets.items()):
                file.seek(offset)
                yield key, self._not_done.get(key, "done"), file.readline()

    def __contains__(self, key: object) -> bool:
        return key in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def close(self) -> None:
        """Close the file; a later append opens it again."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _write(file: int, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(file, remaining) :]
