"""Results survive anything: each is on disk, fsynced, before anyone is told that it is kept.

The journal is a file of lines beside the store. It is only ever appended to; the last line of a key wins.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, KeysView
from pathlib import Path
from types import TracebackType

from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.store.codec import decode, encode, key_of, status_of
from hbcoop_dist.store.errors import StoreError, StoreWriteError

_log = logging.getLogger(__name__)


class Journal:
    """Task results by key, in an append-only file.

    Memory holds one offset per key (and the status of what is not done), never the results. Opening only reads; the
    file is created, and what a killed writer left of its last line removed, when something is appended. One writer at a
    time: hold the store's lock.

    Parameters
    ----------
    path : str or Path
        The journal file; a missing one is an empty journal.

    Attributes
    ----------
    corrupt_lines : list of int
        Numbers (from 1) of whole lines whose checksum is wrong. They are skipped and logged; all others count.
    torn_bytes : int
        Size of an unfinished last line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.corrupt_lines: list[int] = []
        self.torn_bytes = 0
        self._offsets: dict[str, int] = {}
        self._not_done: dict[str, str] = {}
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
                    _log.warning("%s: line %d was cut off while it was written; skipped", self.path, number)
                    return
                if (key := key_of(line)) is None:
                    self.corrupt_lines.append(number)
                    _log.warning("%s: line %d does not match its checksum; skipped", self.path, number)
                else:
                    self._remember(key, self._end, status_of(line))
                self._end += len(line)

    def _remember(self, key: str, offset: int, status: str) -> None:
        # Taken out first, so that the index stays in the order of the lines that count.
        self._offsets.pop(key, None)
        self._not_done.pop(key, None)
        self._offsets[key] = offset
        if status != "done":
            self._not_done[key] = status

    def append(self, result: TaskResult) -> None:
        """Keep one result; on return it is on disk."""
        self.append_many((result,))

    def append_many(self, results: Iterable[TaskResult]) -> None:
        """Keep several results with one fsync; on return all are on disk.

        Raises
        ------
        StoreError
            When a value cannot be kept exactly (nothing is written then), or the disk refuses.
        """
        lines = [(result.key, result.status, encode(result)) for result in results]
        if not lines:
            return
        file = self._writable()
        try:
            _write(file, b"".join(line for _, _, line in lines))
            os.fsync(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(file, self._end)
            raise StoreWriteError(f"{self.path}: expected room for {len(lines)} results, {error}") from error
        for key, status, line in lines:
            self._remember(key, self._end, status)
            self._end += len(line)

    def _writable(self) -> int:
        if self._writer is None:
            created = not self.path.exists()
            try:
                self._writer = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
                os.ftruncate(self._writer, self._end)
                if created:
                    _sync_folder(self.path.parent)
            except OSError as error:
                self.close()
                raise StoreWriteError(f"{self.path}: expected a writable journal, {error}") from error
            self.torn_bytes = 0
        return self._writer

    def get(self, key: str) -> TaskResult | None:
        """The last result kept under `key`, or None."""
        offset = self._offsets.get(key)
        if offset is None:
            return None
        with self.path.open("rb") as file:
            file.seek(offset)
            return decode(file.readline())

    def status(self, key: str) -> str | None:
        """The status of the last result kept under `key`, or None; nothing is read for it."""
        return self._not_done.get(key, "done") if key in self._offsets else None

    def keys(self) -> KeysView[str]:
        """Keys that have a result."""
        return self._offsets.keys()

    def replay(self) -> Iterator[TaskResult]:
        """The last result of every key, one after the other, in the order in which they were kept."""
        if not self._offsets:
            return
        with self.path.open("rb") as file:
            for offset in list(self._offsets.values()):
                file.seek(offset)
                yield decode(file.readline())

    def __contains__(self, key: object) -> bool:
        return key in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def close(self) -> None:
        """Close the file; appending opens it again."""
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
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
