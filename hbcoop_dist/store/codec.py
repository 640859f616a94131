"""One journal line to one `TaskResult` and back, without losing a bit.

A line is JSON: ``{"crc32":"<8 hex digits>","key":"<task key>","result":{...}}``. The checksum covers everything
behind it, and the key stands in front of the result, so that a scan needs no JSON parser.
Arrays go as base64 of little-endian bytes, deflated where that pays; numbers that JSON has no word for (nan, inf) are
tagged.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]

import numpy as np

from hbcoop_dist.core.results import STATUSES, TaskResult
from hbcoop_dist.store.errors import StoreError

_HEAD = b'{"crc32":"'
_BODY = len(_HEAD) + 8 + len(b'",')
_KEY = b'"key":'
_STATUS = b',"result":{"status":"'
_TAGS = ("$array", "$deflated", "$float")

_DEFLATE_BYTES, _DEFLATE_ZEROS = 1024, 0.25
"""Size and share of zero bytes from which an array is deflated. Per-atom energies of fragments, mostly zeros, are half
of a journal and shrink to 0.44; Hessians would shrink to 0.80 only, at twice the time, so they are left alone."""


def _pack(value: object, where: str) -> object:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufU":
            raise StoreError(f"{where}: expected an array of numbers, bools or text, found dtype {value.dtype}")
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        data, tag = little.tobytes(), "$array"
        if len(data) >= _DEFLATE_BYTES and data.count(0) >= _DEFLATE_ZEROS * len(data):
            data, tag = zlib.compress(data, 1), "$deflated"
        return {tag: [little.dtype.str, list(value.shape), base64.b64encode(data).decode("ascii")]}
    if isinstance(value, np.generic):
        return _pack(value.item(), where)
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_pack(item, where) for item in value]
    if isinstance(value, Mapping):
        if bad := [name for name in value if not isinstance(name, str) or name in _TAGS]:
            raise StoreError(f"{where}: expected text keys other than {', '.join(_TAGS)}, found {bad[0]!r}")
        return {name: _pack(item, f"{where}.{name}") for name, item in value.items()}
    raise StoreError(f"{where}: expected an array, number, text or bool, found {type(value).__name__}")


def _unpack(value: object) -> object:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        dtype, shape, data = value["$array"]
        return np.frombuffer(base64.b64decode(data), dtype=dtype).reshape(shape).copy()
    if "$deflated" in value:
        dtype, shape, data = value["$deflated"]
        return np.frombuffer(zlib.decompress(base64.b64decode(data)), dtype=dtype).reshape(shape).copy()
    if "$float" in value:
        return float(value["$float"])
    return {name: _unpack(item) for name, item in value.items()}


def encode(result: TaskResult) -> bytes:
    """The journal line of `result`, newline included.

    Raises
    ------
    StoreError
        When a value cannot be kept exactly, or the status is unknown.
    """
    where = f"result {result.key}"
    if result.status not in STATUSES:
        raise StoreError(f"{where}, status: expected one of {', '.join(STATUSES)}, found {result.status!r}")
    packed = {
        "status": result.status,
        "reason": result.reason,
        "seconds": _pack(result.seconds, where),
        "data": _pack(result.data, where),
        "provenance": _pack(result.provenance, where),
    }
    text = json.dumps(packed, separators=(",", ":"), allow_nan=False)
    body = f'"key":{json.dumps(result.key)},"result":{text}}}'.encode()
    return _HEAD + b"%08x" % zlib.crc32(body) + b'",' + body + b"\n"


def key_of(line: bytes) -> str | None:
    """The task key of a journal line, or None when the line is not whole."""
    body = line[_BODY:-1]
    if not line.startswith(_HEAD) or not line.endswith(b"}\n") or not body.startswith(_KEY + b'"'):
        return None
    if line[len(_HEAD) : len(_HEAD) + 8] != b"%08x" % zlib.crc32(body):
        return None
    end = body.index(b',"result":')
    return str(scanstring(body[: end + 1].decode(), len(_KEY) + 1)[0])


def status_of(line: bytes) -> str:
    """The status in a journal line that `key_of` accepts."""
    begin = line.index(_STATUS) + len(_STATUS)
    return line[begin : line.index(b'"', begin)].decode()


def decode(line: bytes) -> TaskResult:
    """The result in a journal line that `key_of` accepts."""
    whole = json.loads(line)
    found = whole["result"]
    return TaskResult(
        key=whole["key"],
        status=found["status"],
        reason=found["reason"],
        data=_unpack(found["data"]),  # type: ignore[arg-type]
        provenance=_unpack(found["provenance"]),  # type: ignore[arg-type]
        seconds=_unpack(found["seconds"]),  # type: ignore[arg-type]
    )
