"""Append-only journal of task results, which makes every result durable before it is acknowledged, and its encoding."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import math
import os
import zlib
from collections.abc import Iterable, Iterator, KeysView, Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np

from hbcoop_dist.core.files import sync_path
from hbcoop_dist.core.results import STATUSES, Provenance, Status, TaskResult
from hbcoop_dist.store.paths import StoreError, StoreWriteError

PayloadTypes = Mapping[str, type]
"""Dataclasses that payloads consist of, by class name."""

_HEAD = b'{"crc32":"'
_BODY = len(_HEAD) + 8 + len(b'",')
_KEY = b'"key":'
_STATUS = b',"result":{"status":"'
_ARRAY, _DEFLATED, _FLOAT, _TYPE = "$array", "$deflated", "$float", "$type"
_TAGS = (_ARRAY, _DEFLATED, _FLOAT, _TYPE)

_DEFLATE_BYTES, _DEFLATE_ZEROS = 1024, 0.25
"""Size and share of zero bytes from which an array is deflated. Per-atom energies of fragments, mostly zeros, are half
of a journal and shrink to 0.44; Hessians would shrink to 0.80 only, at twice the time, so they are left alone."""
_log = logging.getLogger(__name__)
PREFERENCE: Mapping[str, int] = {
    status: rank
    for rank, status in enumerate(
        ("done", "unconverged", "broken-geometry", "failed", "quarantined", "stale", "skipped", "pending")
    )
}
"""Rank of every status where several stores have a result: the lowest is kept."""
_COPIED_AT_ONCE = 1000


def payload_types(*classes: type) -> PayloadTypes:
    """Return dataclasses by their class names, as `Journal` takes them.

    Parameters
    ----------
    *classes : type
        Every dataclass that occurs in a payload, nested ones included.

    Raises
    ------
    ValueError
        When two have the same name.
    """
    types = {cls.__name__: cls for cls in classes}
    if len(types) != len(classes):
        raise ValueError(f"payloads: expected different class names, found {[cls.__name__ for cls in classes]}")
    return types


def encode(result: TaskResult, payloads: PayloadTypes) -> bytes:
    """Return the journal line of a result, newline included.

    Parameters
    ----------
    result : TaskResult
    payloads : mapping of str to type
        Dataclasses that may occur in the payload.

    Raises
    ------
    StoreError
        When a value cannot be restored exactly, or the status is unknown.
    """
    where = f"result {result.key}"
    if result.status not in STATUSES:
        raise StoreError(f"{where}, status: expected one of {', '.join(STATUSES)}, found {result.status!r}")
    packed = {
        "status": result.status,
        "reason": result.reason,
        "seconds": _pack(result.seconds, where, payloads),
        "payload": _pack(result.payload, where, payloads),
        "provenance": {field.name: getattr(result.provenance, field.name) for field in fields(Provenance)},
    }
    text = json.dumps(packed, separators=(",", ":"), allow_nan=False)
    body = f'"key":{json.dumps(result.key)},"result":{text}}}'.encode()
    return _HEAD + b"%08x" % zlib.crc32(body) + b'",' + body + b"\n"


def key_of(line: bytes) -> str | None:
    """Return the task key of a journal line, or None when the line is damaged.

    Parameters
    ----------
    line : bytes
        Newline included.
    """
    body = line[_BODY:-1]
    if not line.startswith(_HEAD) or not line.endswith(b"}\n") or not body.startswith(_KEY + b'"'):
        return None
    if line[len(_HEAD) : len(_HEAD) + 8] != b"%08x" % zlib.crc32(body):
        return None
    end = body.index(b',"result":')
    return str(scanstring(body[: end + 1].decode(), len(_KEY) + 1)[0])


def status_of(line: bytes) -> Status:
    """Return the status in a journal line.

    Parameters
    ----------
    line : bytes
        A line that `key_of` accepts.
    """
    begin = line.index(_STATUS) + len(_STATUS)
    return cast(Status, line[begin : line.index(b'"', begin)].decode())


def decode(line: bytes, payloads: PayloadTypes) -> TaskResult:
    """Return the result in a journal line.

    Parameters
    ----------
    line : bytes
        A line that `key_of` accepts.
    payloads : mapping of str to type
        Dataclasses that may occur in the payload.

    Raises
    ------
    StoreError
        When the payload holds a dataclass that `payloads` lacks, or one with other fields.
    """
    whole = json.loads(line)
    result = whole["result"]
    return TaskResult(
        key=whole["key"],
        status=result["status"],
        reason=result["reason"],
        payload=_unpack(result["payload"], f"result {whole['key']}", payloads),
        provenance=Provenance(**result["provenance"]),
        seconds=float(_unpack(result["seconds"], "seconds", payloads)),
    )


def _pack(value: object, where: str, payloads: PayloadTypes) -> object:
    """Return a value as JSON data."""
    if isinstance(value, np.ndarray):
        return _pack_array(value, where)
    if isinstance(value, np.generic):
        return _pack(value.item(), where, payloads)
    if value is None or isinstance(value, bool | int | float | str):
        return {_FLOAT: repr(value)} if isinstance(value, float) and not math.isfinite(value) else value
    if isinstance(value, tuple):
        return [_pack(item, where, payloads) for item in value]
    return _pack_fields(value, where, payloads)


def _pack_fields(value: object, where: str, payloads: PayloadTypes) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        if payloads.get(name) is not type(value):
            raise StoreError(f"{where}: expected one of the payloads {', '.join(payloads) or '(none)'}, found {name}")
        names = [field.name for field in fields(value) if field.init]
        return {_TYPE: name} | {name: _pack(getattr(value, name), f"{where}.{name}", payloads) for name in names}
    if isinstance(value, Mapping):
        if bad := [name for name in value if not isinstance(name, str) or name in _TAGS]:
            raise StoreError(f"{where}: expected text keys other than {', '.join(_TAGS)}, found {bad[0]!r}")
        return {name: _pack(item, f"{where}.{name}", payloads) for name, item in value.items()}
    raise StoreError(
        f"{where}: expected an array, number, text, bool, tuple, mapping or dataclass, found {type(value).__name__}"
    )


def _pack_array(value: np.ndarray[Any, Any], where: str) -> object:
    if value.dtype.kind not in "biufU":
        raise StoreError(f"{where}: expected an array of numbers, bools or text, found dtype {value.dtype}")
    little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
    data, tag = little.tobytes(), _ARRAY
    if len(data) >= _DEFLATE_BYTES and data.count(0) >= _DEFLATE_ZEROS * len(data):
        data, tag = zlib.compress(data, 1), _DEFLATED
    return {tag: [little.dtype.str, list(value.shape), base64.b64encode(data).decode("ascii")]}


def _unpack(value: Any, where: str, payloads: PayloadTypes) -> Any:
    """Return the value of JSON data that `_pack` made."""
    if isinstance(value, list):
        return tuple(_unpack(item, where, payloads) for item in value)
    if not isinstance(value, dict):
        return value
    for tag in (_ARRAY, _DEFLATED):
        if tag in value:
            dtype, shape, text = value[tag]
            data = base64.b64decode(text)
            return np.frombuffer(zlib.decompress(data) if tag == _DEFLATED else data, dtype=dtype).reshape(shape).copy()
    if _FLOAT in value:
        return float(value[_FLOAT])
    content = {name: _unpack(item, where, payloads) for name, item in value.items() if name != _TYPE}
    if _TYPE not in value:
        return content
    cls = payloads.get(value[_TYPE])
    if cls is None:
        raise StoreError(f"{where}: expected one of the payloads {', '.join(payloads)}, found {value[_TYPE]}")
    try:
        return cls(**content)
    except TypeError as error:
        raise StoreError(f"{where}: expected the fields of {value[_TYPE]}, found {', '.join(content)}") from error


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
