"""Encoding of task results as lines of the journal, without losing a bit.

A line is JSON: ``{"crc32":"<8 hex digits>","key":"<task key>","result":{"status":...}}``. The checksum covers
everything behind it. Key and status stand in front of the payload, so that a scan reads them without parsing the rest.

A dataclass is ``{"$type": class name, field: value, ...}``, an array is base64 of its little-endian bytes, deflated
where that pays, and a number that JSON cannot express (nan, inf) is tagged. JSON arrays stand for tuples.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, cast

import numpy as np

from hbcoop_dist.core.results import STATUSES, Provenance, Status, TaskResult
from hbcoop_dist.store.errors import StoreError

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
