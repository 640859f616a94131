"""Acknowledged results come back bit for bit, whatever happens to the process or the file."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pytest

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.results import Provenance, Status, TaskResult
from hbcoop_dist.store import Journal, StoreError, payload_types

pytestmark = pytest.mark.filterwarnings("error")


@dataclass(frozen=True, slots=True)
class Minimum:
    energy: float
    positions: FloatArray


@dataclass(frozen=True, slots=True)
class Anything:
    thing: Any = None


@dataclass(frozen=True, slots=True)
class Nested:
    inner: Minimum
    others: tuple[Minimum, ...]
    by_name: Mapping[str, Any]
    count: int = field(init=False, default=3)


TYPES = payload_types(Minimum, Anything, Nested)


def result(key: str, value: float = 1.0) -> TaskResult:
    return TaskResult(key, "done", "", Minimum(value, np.full((4, 3), value)), Provenance(host="here"), 0.5)


def energy(result: TaskResult | None) -> float:
    assert result is not None
    return result.payload_as(Minimum).energy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "quick.zarr.journal"


def round_trip(path: Path, thing: Any) -> Any:
    with Journal(path, TYPES) as journal:
        journal.append(TaskResult("a", "done", "", Anything(thing)))
    (restored,) = Journal(path, TYPES).results()
    return restored.payload_as(Anything).thing


def test_fields_of_a_result_come_back(path: Path) -> None:
    key, reason = 'odd "key",\n"result":é', 'why\nso, "status":"done"'
    provenance = Provenance("höst", "cuda:0", "float64", "abc", '{"torch": "2.8"}', "2025-01-01")
    original = TaskResult(key, "unconverged", reason, None, provenance, 1 / 7)
    with Journal(path, TYPES) as journal:
        journal.append(original)
    (restored,) = Journal(path, TYPES).results()
    assert restored == original


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.1, -0.0, np.nan, np.inf, -np.inf, 5e-324, np.pi, 1e308]).reshape(2, 4),
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.arange(3, dtype=">f8"),
        np.float32([0.1, np.nan]),
        np.zeros((0, 3)),
        np.array(2.5),
        np.array([1, -(2**62)], dtype=np.int64),
        np.array([True, False]),
        np.array(["a", "bé"]),
    ],
    ids=["floats", "strided", "big-endian", "float32", "empty", "scalar", "ints", "bools", "texts"],
)
def test_arrays_come_back_bit_for_bit(path: Path, array: np.ndarray[Any, Any]) -> None:
    restored = round_trip(path, array)
    assert restored.shape == array.shape
    assert restored.dtype == array.dtype.newbyteorder("<")
    assert restored.tobytes() == array.astype(restored.dtype).tobytes()
    assert restored.flags.writeable


@pytest.mark.parametrize(
    "value", [1 / 3, float("-inf"), 3, 2**70, True, None, 'line\nbreak "quote" ,"result": é', (), -0.0]
)
def test_scalars_come_back(path: Path, value: Any) -> None:
    restored = round_trip(path, value)
    assert restored == value
    assert type(restored) is type(value)
    assert str(restored) == str(value)


def test_not_a_number_and_numpy_scalars_come_back(path: Path) -> None:
    first, second, third = round_trip(path, (float("nan"), np.int64(3), np.float64(1 / 3)))
    assert np.isnan(first)
    assert (second, third) == (3, 1 / 3)


def test_nested_dataclasses_tuples_and_mappings_come_back(path: Path) -> None:
    minimum = Minimum(1.5, np.eye(3))
    nested = Nested(minimum, (minimum, Minimum(np.inf, np.zeros((0, 3)))), {"a": (1, ("x", None)), "b": {}})
    with Journal(path, TYPES) as journal:
        journal.append(TaskResult("a", "done", "", nested))
    (restored,) = Journal(path, TYPES).results()
    payload = restored.payload_as(Nested)
    assert payload.inner.energy == 1.5
    assert payload.inner.positions.tobytes() == np.eye(3).tobytes()
    assert [type(other) for other in payload.others] == [Minimum, Minimum]
    assert payload.others[1].energy == np.inf
    assert payload.others[1].positions.shape == (0, 3)
    assert payload.by_name == {"a": (1, ("x", None)), "b": {}}
    assert payload.count == 3


def test_arrays_of_zeros_are_deflated_and_come_back_exactly(path: Path) -> None:
    sparse = np.zeros((40, 60))
    sparse[3] = np.pi
    sparse[5] = -0.0
    restored = round_trip(path, sparse)
    assert path.stat().st_size < sparse.nbytes / 10
    assert restored.tobytes() == sparse.tobytes()


def test_a_payload_of_an_unknown_type_or_other_fields_is_refused_by_name(path: Path) -> None:
    @dataclass(frozen=True)
    class Other:
        energy: float

    with Journal(path, TYPES) as journal:
        with pytest.raises(StoreError, match="result b: expected one of the payloads Minimum, Anything, Nested, found"):
            journal.append(TaskResult("b", "done", "", Other(1.0)))
        journal.append(result("a"))
    journal = Journal(path, {})
    assert journal.status("a") == "done"
    with pytest.raises(StoreError, match=r"result a: expected one of the payloads .*, found Minimum"):
        journal.get("a")
    with pytest.raises(StoreError, match="result a: expected the fields of Minimum, found energy, positions"):
        Journal(path, {"Minimum": Other}).get("a")
    with pytest.raises(TypeError, match="result a: expected a payload of type Anything, found Minimum"):
        Journal(path, TYPES).get("a").payload_as(Anything)  # type: ignore[union-attr]


def test_every_line_is_json(path: Path) -> None:
    import json

    with Journal(path, TYPES) as journal:
        journal.append(result("a", float("nan")))
    line = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert line["key"] == "a"
    assert line["result"]["payload"]["energy"] == {"$float": "nan"}


def test_last_line_of_a_key_wins(path: Path) -> None:
    with Journal(path, TYPES) as journal:
        journal.append_many(result(key, value) for key, value in (("a", 1.0), ("b", 2.0), ("a", 3.0)))
        assert energy(journal.get("a")) == 3.0
    reopened = Journal(path, TYPES)
    assert [(found.key, energy(found)) for found in reopened.results()] == [("b", 2.0), ("a", 3.0)]
    assert set(reopened.keys()) == {"a", "b"}
    assert len(reopened) == 2
    assert "a" in reopened
    assert "c" not in reopened
    assert reopened.get("c") is None


def test_missing_file_is_an_empty_journal_and_is_not_created(path: Path) -> None:
    assert list(Journal(path, TYPES).results()) == []
    assert not path.exists()


def test_one_fsync_per_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = os.fsync
    with Journal(path, TYPES) as journal:
        journal.append(result("first"))
        monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(handle), real(handle))[1])
        journal.append(result("a"))
        journal.append_many([result("b"), result("c")])
        journal.append_many([])
    assert len(calls) == 2


def test_the_folder_of_a_new_journal_is_fsynced_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)), real(handle))
    )
    for _ in range(2):
        with Journal(path, TYPES) as journal:
            journal.append(result("a"))
    assert synced == [True, False, False]


def test_lines_are_copied_without_decoding_and_the_better_status_stays(tmp_path: Path) -> None:
    statuses: dict[str, dict[str, Status]] = {
        "one": {"a": "done", "b": "failed", "c": "unconverged", "d": "failed", "e": "done"},
        "two": {"a": "failed", "b": "done", "c": "failed", "d": "unconverged", "e": "done", "f": "done"},
    }
    for name, by_key in statuses.items():
        with Journal(tmp_path / name, TYPES) as journal:
            journal.append_many(
                TaskResult(key, status, name, Minimum(1.0, np.zeros(3))) for key, status in by_key.items()
            )
    with Journal(tmp_path / "joined", {}) as joined:
        for name in statuses:
            joined.copy_from(Journal(tmp_path / name, {}))
        in_memory = {key: joined.status(key) for key in "abcdef"}
    restored = {found.key: found for found in Journal(tmp_path / "joined", TYPES).results()}
    expected = {"a": "done", "b": "done", "c": "unconverged", "d": "unconverged", "e": "done", "f": "done"}
    assert in_memory == expected
    assert {key: found.status for key, found in restored.items()} == expected
    origins = {"a": "one", "b": "two", "c": "one", "d": "two", "e": "one", "f": "two"}
    assert {key: found.reason for key, found in restored.items()} == origins
    assert all(energy(found) == 1.0 for found in restored.values())


@pytest.mark.parametrize("cut", [1, 2, 20, 150])
def test_torn_last_line_is_left_out_and_removed_by_the_next_append(
    path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    with Journal(path, TYPES) as journal:
        journal.append_many([result("a"), result("b"), result("torn")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with caplog.at_level(logging.WARNING):
        journal = Journal(path, TYPES)
    assert set(journal.keys()) == {"a", "b"}
    assert journal.torn_bytes
    assert "line 3 is unfinished" in caplog.text
    assert path.read_bytes() == whole[:-cut], "opening only reads"
    journal.append(result("c"))
    journal.close()
    reopened = Journal(path, TYPES)
    assert set(reopened.keys()) == {"a", "b", "c"}
    assert not reopened.torn_bytes
    assert not reopened.corrupt_lines


@pytest.mark.parametrize("damage", ["digit", "checksum", "text", "empty"])
def test_corrupt_line_is_named_and_costs_no_other(path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    with Journal(path, TYPES) as journal:
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
        journal = Journal(path, TYPES)
    assert journal.corrupt_lines == [2]
    assert str(path) in caplog.text
    assert "line 2" in caplog.text
    assert [found.key for found in journal.results()] == ["a", "c"]
    journal.append(result("d"))
    journal.close()
    assert [found.key for found in Journal(path, TYPES).results()] == ["a", "c", "d"]


def test_what_cannot_be_kept_exactly_is_refused_before_anything_is_written(path: Path) -> None:
    journal = Journal(path, TYPES)
    for value in (object(), np.array([object()]), 1j, {"$array": 1}, {"$type": "Minimum"}, {1: 2}, [1.0], {1}):
        with pytest.raises(StoreError, match=r"result bad\.thing: expected"):
            journal.append_many([result("good"), TaskResult("bad", "done", "", Anything(value))])
    with pytest.raises(StoreError, match="status: expected one of"):
        journal.append(TaskResult("bad", "fine"))  # type: ignore[arg-type]
    assert not path.exists()


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with Journal(path, TYPES) as journal:
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
    reopened = Journal(path, TYPES)
    assert list(reopened.keys()) == ["a", "c"]
    assert not reopened.corrupt_lines


def test_memory_holds_offsets_only(path: Path) -> None:
    with Journal(path, TYPES) as journal:
        journal.append_many(result(f"key-{i}") for i in range(100))
        assert all(isinstance(offset, int) for offset in journal._offsets.values())
        assert [found.key for found in journal.results()] == [f"key-{i}" for i in range(100)]


def test_statuses_are_known_without_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path, TYPES) as journal:
        journal.append_many([result("a"), TaskResult("b", "failed", 'x","result":{"status":"done"'), result("c")])
        journal.append(TaskResult("c", "unconverged"))
        journal.append(TaskResult("d", "failed"))
        journal.append(result("d"))
        reopened = Journal(path, TYPES)
        for one in (journal, reopened):
            monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read"))
            assert [one.status(key) for key in "abcde"] == ["done", "failed", "unconverged", "done", None]


APPENDER = """
import sys
from dataclasses import dataclass
import numpy as np
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.store import Journal, payload_types
@dataclass
class Minimum:
    energy: float
    positions: np.ndarray
journal = Journal(sys.argv[1], payload_types(Minimum))
for i in range(int(sys.argv[2]), 10**9):
    journal.append(TaskResult(f"key-{i}", "done", "", Minimum(float(i), np.full((2000, 3), float(i)))))
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
    found = Journal(path, TYPES)
    assert not found.corrupt_lines
    for i in acknowledged:
        kept = found.get(f"key-{i}")
        assert kept is not None
        assert np.array_equal(kept.payload_as(Minimum).positions, np.full((2000, 3), float(i)))
