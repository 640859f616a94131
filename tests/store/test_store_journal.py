"""What the journal acknowledged is there again, bit by bit, whatever happened to the process or the file."""

from __future__ import annotations

import base64
import logging
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest

from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.store import Journal, StoreError

pytestmark = pytest.mark.filterwarnings("error")


def result(key: str, value: float = 1.0) -> TaskResult:
    data = {"energy": value, "positions": np.full((4, 3), value)}
    return TaskResult(key, "done", "", data, {"host": "here", "versions": "{}"}, 0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "quick.zarr.journal"


def test_round_trip_is_exact(path: Path) -> None:
    floats = np.array([0.1, -0.0, np.nan, np.inf, -np.inf, 5e-324, np.pi, 1e308]).reshape(2, 4)
    data = {
        "floats": floats,
        "strided": np.arange(12.0).reshape(3, 4)[:, ::2],
        "big_endian": np.arange(3, dtype=">f8"),
        "empty": np.zeros((0, 3)),
        "scalar": np.array(2.5),
        "ints": np.array([1, -(2**62)], dtype=np.int64),
        "bools": np.array([True, False]),
        "texts": np.array(["a", "bé"]),
        "nan": float("nan"),
        "inf": float("-inf"),
        "third": 1 / 3,
        "count": np.int64(3),
        "flag": True,
        "none": None,
        "nested": {"list": [1, 2.5, "x", float("inf")]},
        "text": 'line\nbreak "quote" ,"result": é',
    }
    with Journal(path) as journal:
        journal.append(TaskResult('odd "key",\n"result":é', "unconverged", "why\nso", data, {"host": "h"}, 1 / 7))
    (found,) = Journal(path).replay()
    assert (found.key, found.status, found.reason) == ('odd "key",\n"result":é', "unconverged", "why\nso")
    assert found.seconds == 1 / 7
    assert found.provenance == {"host": "h"}
    for name in ("floats", "strided", "big_endian", "empty", "scalar", "ints", "bools", "texts"):
        array = found.data[name]
        assert isinstance(array, np.ndarray)
        assert array.shape == data[name].shape
        assert array.dtype == data[name].dtype.newbyteorder("<")  # type: ignore[attr-defined]
        np.testing.assert_array_equal(array, data[name])  # type: ignore[arg-type]
    assert found.data["floats"].tobytes() == floats.tobytes()  # type: ignore[attr-defined]
    assert np.isnan(found.data["nan"])
    assert found.data["inf"] == -np.inf
    assert found.data["third"] == 1 / 3
    assert found.data["count"] == 3
    assert found.data["flag"] is True
    assert found.data["none"] is None
    assert found.data["text"] == data["text"]
    assert found.data["nested"] == data["nested"]


def test_arrays_of_zeros_are_deflated_and_come_back_exactly(path: Path) -> None:
    sparse = np.zeros((40, 60))
    sparse[3] = np.pi
    sparse[5] = -0.0
    with Journal(path) as journal:
        journal.append(TaskResult("a", "done", "", {"sparse": sparse}))
    assert path.stat().st_size < sparse.nbytes / 10
    (found,) = Journal(path).replay()
    assert found.data["sparse"].tobytes() == sparse.tobytes()  # type: ignore[attr-defined]


def test_a_line_from_before_arrays_were_deflated_is_read(path: Path) -> None:
    numbers = base64.b64encode(np.zeros(300).tobytes()).decode()
    body = (
        '"key":"old","result":{"status":"done","reason":"","seconds":0.5,'
        f'"data":{{"x":{{"$array":["<f8",[300],"{numbers}"]}}}},"provenance":{{}}}}}}'
    ).encode()
    path.write_bytes(b'{"crc32":"%08x",' % zlib.crc32(body) + body + b"\n")
    journal = Journal(path)
    assert journal.corrupt_lines == []
    (found,) = journal.replay()
    assert np.array_equal(found.data["x"], np.zeros(300))  # type: ignore[arg-type]


def test_every_line_is_json(path: Path) -> None:
    import json

    with Journal(path) as journal:
        journal.append(result("a", float("nan")))
    line = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert line["key"] == "a"
    assert line["result"]["data"]["energy"] == {"$float": "nan"}


def test_last_line_of_a_key_wins(path: Path) -> None:
    with Journal(path) as journal:
        journal.append_many(result(key, value) for key, value in (("a", 1.0), ("b", 2.0), ("a", 3.0)))
        assert journal.get("a").data["energy"] == 3.0  # type: ignore[union-attr]
    reopened = Journal(path)
    assert [(found.key, found.data["energy"]) for found in reopened.replay()] == [("b", 2.0), ("a", 3.0)]
    assert set(reopened.keys()) == {"a", "b"}
    assert len(reopened) == 2
    assert "a" in reopened
    assert "c" not in reopened
    assert reopened.get("c") is None


def test_missing_file_is_an_empty_journal_and_is_not_created(path: Path) -> None:
    assert list(Journal(path).replay()) == []
    assert not path.exists()


def test_one_fsync_per_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = os.fsync
    with Journal(path) as journal:
        journal.append(result("first"))
        monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(handle), real(handle))[1])
        journal.append(result("a"))
        journal.append_many([result("b"), result("c")])
        journal.append_many([])
    assert len(calls) == 2


@pytest.mark.parametrize("cut", [1, 2, 20, 150])
def test_torn_last_line_is_left_out_and_removed_by_the_next_append(
    path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    with Journal(path) as journal:
        journal.append_many([result("a"), result("b"), result("torn")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with caplog.at_level(logging.WARNING):
        journal = Journal(path)
    assert set(journal.keys()) == {"a", "b"}
    assert journal.torn_bytes
    assert "line 3 was cut off" in caplog.text
    assert path.read_bytes() == whole[:-cut], "opening only reads"
    journal.append(result("c"))
    journal.close()
    reopened = Journal(path)
    assert set(reopened.keys()) == {"a", "b", "c"}
    assert not reopened.torn_bytes
    assert not reopened.corrupt_lines


@pytest.mark.parametrize("damage", ["digit", "checksum", "text", "empty"])
def test_corrupt_line_is_named_and_costs_no_other(path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    with Journal(path) as journal:
        journal.append_many([result("a"), result("b", 12345.0), result("c")])
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = {
        "digit": lines[1].replace(b"12345.0", b"12346.0"),
        "checksum": lines[1].replace(b'"crc32":"', b'"crc32":"x'),
        "text": b"something else\n",
        "empty": b"\n",
    }[damage]
    path.write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING):
        journal = Journal(path)
    assert journal.corrupt_lines == [2]
    assert str(path) in caplog.text
    assert "line 2" in caplog.text
    assert [found.key for found in journal.replay()] == ["a", "c"]
    journal.append(result("d"))
    journal.close()
    assert [found.key for found in Journal(path).replay()] == ["a", "c", "d"]


def test_what_cannot_be_kept_exactly_is_refused_before_anything_is_written(path: Path) -> None:
    journal = Journal(path)
    for value in (object(), np.array([object()]), 1j, {"$array": 1}, {1: 2}):
        with pytest.raises(StoreError, match=r"result bad\.thing: expected"):
            journal.append_many([result("good"), TaskResult("bad", "done", "", {"thing": value})])
    with pytest.raises(StoreError, match="status: expected one of"):
        journal.append(TaskResult("bad", "fine"))  # type: ignore[arg-type]
    assert not path.exists()


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with Journal(path) as journal:
        journal.append(result("a"))

        def half(handle: int, data: memoryview) -> int:
            real(handle, bytes(data[: len(data) // 2]))
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(StoreError, match="No space left"):
            journal.append(result("b"))
        monkeypatch.setattr(os, "write", real)
        assert list(journal.keys()) == ["a"]
        journal.append(result("c"))
    reopened = Journal(path)
    assert list(reopened.keys()) == ["a", "c"]
    assert not reopened.corrupt_lines


def test_memory_holds_offsets_only(path: Path) -> None:
    with Journal(path) as journal:
        journal.append_many(result(f"key-{i}") for i in range(100))
        assert all(isinstance(offset, int) for offset in journal._offsets.values())
        assert [found.key for found in journal.replay()] == [f"key-{i}" for i in range(100)]


def test_statuses_are_known_without_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        journal.append_many([result("a"), TaskResult("b", "failed", 'x","result":{"status":"done"'), result("c")])
        journal.append(TaskResult("c", "unconverged"))
        journal.append(TaskResult("d", "failed"))
        journal.append(result("d"))
        reopened = Journal(path)
        for one in (journal, reopened):
            monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read"))
            assert [one.status(key) for key in "abcde"] == ["done", "failed", "unconverged", "done", None]


APPENDER = """
import sys
import numpy as np
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.store import Journal
journal = Journal(sys.argv[1])
for i in range(int(sys.argv[2]), 10**9):
    journal.append(TaskResult(f"key-{i}", "done", "", {"positions": np.full((2000, 3), float(i))}))
    print(i, flush=True)
"""


def test_sigkill_while_appending_loses_nothing_acknowledged(path: Path, python: Callable[..., Popen[str]]) -> None:
    acknowledged: list[int] = []
    for lines in (1, 40, 123):
        process = python(APPENDER, path, len(acknowledged))
        assert process.stdout is not None
        acknowledged += [int(process.stdout.readline()) for _ in range(lines)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().splitlines() if line]
        process.wait()
    found = Journal(path)
    assert not found.corrupt_lines
    for i in acknowledged:
        kept = found.get(f"key-{i}")
        assert kept is not None
        assert np.array_equal(kept.data["positions"], np.full((2000, 3), float(i)))
