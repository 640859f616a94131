"""Records are checked, written at their labels, and never half written beside the status done."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
import zarr
from small_store import FLUIDS, density, make_fluids

from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.core.results import Label, Record, Value
from hbcoop_dist.store import (
    Journal,
    StoreError,
    StoreSchemaError,
    StoreWriteError,
    StoreWriter,
    creation,
    journal_path,
    open_store,
    verify,
)

pytestmark = pytest.mark.filterwarnings("error")

TOY = ("toy", "arc", 3, "none", "own", "default", "mirror")
WHERE = {"model": "toy", "pattern": "arc", "length": 3, "capping": "none", "geometry": "own", "rotamer": "default"}
WHERE |= {"constraint": "mirror"}


def test_values_stand_at_their_labels_and_nowhere_else(
    store: Path, cell: Callable[..., Record], dimer: Callable[..., Record]
) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(), dimer(conformer="anti", dimer_saddle=True)])
    found = open_store(store).load()
    one = found.sel(WHERE)
    assert one.cooperative_energy.values.tolist() == [1.5, 3.0, 1.5]
    np.testing.assert_array_equal(one.hbond_cooperative_energy, [1.5, 1.5, np.nan])
    assert one.positions.count() == 36 * 3
    assert one.atomic_cooperative_energy.count() == 2 * 36
    assert found.energy.count() == 1
    assert found.cooperative_energy.count() == 3
    assert (found.status == "done").sum() == 1
    pair = found.sel(model="toy", conformer="anti").squeeze()
    assert pair.dimer_status == "done"
    assert pair.dimer_saddle == 1
    assert pair.dimer_positions.count() == 72
    assert found.dimer_energy.count() == 1
    assert found.where(found.status == "done").task_key.sel(WHERE) == "key-1.5"


def test_text_and_non_finite_numbers_come_back(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(host="höst\n\u03c6", energy=np.inf, max_force=np.nan, near_ring=np.True_, seconds=3)])
    one = open_store(store).sel(WHERE).load()
    assert one.host == "höst\n\u03c6"
    assert one.energy == np.inf
    assert np.isnan(one.max_force)
    assert one.near_ring == 1
    assert one.seconds == 3.0


def test_a_record_replaces_its_cell_whole(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(), cell(length=4)])
        writer.flush()
        writer.write([Record("cell", cell().labels, "failed", "out of memory", {"host": "other"})])
    found = open_store(store).load()
    one = found.sel(WHERE)
    assert one.status == "failed"
    assert one.reason == "out of memory"
    assert one.host == "other"
    assert one.energy.isnull()
    assert one.cooperative_energy.isnull().all()
    assert one.saddle == -1
    assert one.task_key == ""
    assert one.positions.isnull().all()
    assert found.energy.count() == 1


def test_mark_leaves_values_alone(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell()])
        writer.mark("cell", [TOY], "stale", "another checkpoint")
        assert writer.statuses("cell")[TOY] == "stale"
        writer.flush()
        writer.mark("cell", [TOY], "done", "")
        assert writer.statuses("cell")[TOY] == "done"
        writer.mark("cell", [TOY], "stale", "again")
    one = open_store(store).sel(WHERE).load()
    assert one.status == "stale"
    assert one.reason == "again"
    assert one.energy == -1.5


def test_statuses_and_keys(store: Path, cell: Callable[..., Record], dimer: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        assert set(writer.statuses("cell").values()) == {"pending"}
        assert len(writer.statuses("cell")) == 24
        writer.write([cell(), cell("so3lr", 2, value=2.0), dimer(dimer_task_key="pair")])
        writer.mark("cell", [("so3lr", "arc", 4, "none", "own", "default", "mirror")], "stale", "why")
        writer.mark("cell", [("so3lr", "arc", 4, "water", "own", "default", "mirror")], "failed", "why")
        writer.mark("dimer", [("so3lr", "own", "default", "mirror", "anti")], "failed", "why")
        statuses = Counter(writer.statuses("cell").values())
        assert statuses == {"pending": 20, "done": 2, "stale": 1, "failed": 1}
        shorter = ("so3lr", "arc", 2, "none", "own", "default", "mirror")
        assert writer.stored_keys("cell") == {TOY: "key-1.5", shorter: "key-2.0"}
        assert writer.stored_keys("dimer") == {("toy", "own", "default", "mirror", "syn"): "pair"}
        assert writer.statuses("dimer") == {
            ("so3lr", "own", "default", "mirror", "syn"): "pending",
            ("so3lr", "own", "default", "mirror", "anti"): "failed",
            ("toy", "own", "default", "mirror", "syn"): "done",
            ("toy", "own", "default", "mirror", "anti"): "pending",
        }


@pytest.mark.parametrize("name", ["cooperative_energy", "hbond_cooperative_energy"])
def test_done_cells_whose_values_are_lost_are_incomplete(name: str, store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(), cell(length=4), cell("so3lr")])
        writer.mark("cell", [("so3lr", "linear", 2, "none", "own", "default", "mirror")], "failed", "why")
        assert writer.incomplete("cell") == set()
    (lost,) = (store / name).glob("c.1.*")
    lost.unlink()
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        assert writer.incomplete("cell") == {TOY, (*TOY[:2], 4, *TOY[3:])}


def test_flush_by_count_and_by_time(store: Path, cell: Callable[..., Record]) -> None:
    def done() -> int:
        return int((open_store(store).status == "done").sum())

    with StoreWriter(store, HBOND_SCHEMA, flush_records=2, flush_seconds=1e9) as writer:
        writer.write([cell()])
        assert done() == 0
        writer.write([cell(length=2)])
        assert done() == 2
        writer.write([cell(length=4)])
        assert done() == 2
    assert done() == 3
    with StoreWriter(store, HBOND_SCHEMA, flush_records=100, flush_seconds=0.0) as writer:
        writer.write([cell("so3lr")])
        assert done() == 4
    with StoreWriter(store, HBOND_SCHEMA, flush_records=100, flush_seconds=1e9) as writer:
        writer.write([cell("so3lr", 2)])
        writer.flush_if_due()
        assert done() == 4
        writer._flush_seconds = 0.0
        writer.flush_if_due()
        assert done() == 5


def test_a_flush_inside_a_running_event_loop_as_in_a_notebook(store: Path, cell: Callable[..., Record]) -> None:
    async def work() -> None:
        with StoreWriter(store, HBOND_SCHEMA) as writer:
            writer.write([cell()])

    asyncio.run(work())
    assert (open_store(store).status == "done").sum() == 1


def test_full_models_are_flushed_first_and_one_that_still_fills_is_left_alone(
    store: Path, cell: Callable[..., Record]
) -> None:
    with StoreWriter(store, HBOND_SCHEMA, flush_records=4, flush_seconds=1e9) as writer:
        writer.write([cell("so3lr"), cell(length=2), cell(), cell(length=4)])
        assert (open_store(store).status == "done").sum() == 3
        writer.flush_partition("so3lr")
        assert (open_store(store).status == "done").sum() == 4


def test_a_first_flush_reads_nothing_back(
    store: Path, cell: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = zarr.Array.__getitem__
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        monkeypatch.setattr(zarr.Array, "__getitem__", lambda self, key: (read.append(self.name), real(self, key))[1])
        writer.write([cell(), cell("so3lr")])
        writer.flush()
        assert read == []
        writer.write([cell(length=2)])
        writer.flush()
        assert read


@pytest.mark.parametrize(
    ("labels", "values", "message"),
    [
        ({}, {"colour": 1.0}, r"cell \(model=toy, .*length=3.*\), colour: expected a variable of the table cell"),
        ({}, {"dimer_energy": 1.0}, "dimer_energy: expected a variable of the table cell"),
        ({}, {"status": "done"}, "status: expected a variable of the table cell other than status"),
        ({}, {"hbond_angle": np.zeros(3)}, r"hbond_angle: expected shape \(hbond\) of at most \(2,\), found \(3,\)"),
        ({}, {"positions": np.zeros((37, 3))}, r"positions: expected shape .* \(36, 3\), found \(37, 3\)"),
        ({}, {"positions": np.zeros(3)}, r"positions: expected shape \(atom, xyz\)"),
        ({}, {"energy": [1.0]}, r"energy: expected shape \(\) of at most \(\), found \(1,\)"),
        ({}, {"energy": "low"}, "energy: expected float64, found <U3"),
        ({}, {"steps": 1.5}, "steps: expected int64, found float64"),
        ({}, {"saddle": 1}, "saddle: expected bool, found int64"),
        ({}, {"host": 3}, "host: expected str, found int64"),
        ({}, {"versions": {"torch": "2"}}, "versions: expected str, found object"),
        ({"length": 7}, {}, r"cell \(.*length=7.*\), length: expected one of 2, 3, 4, found 7"),
        ({"model": "mace"}, {}, "model: expected one of so3lr, toy, found 'mace'"),
        ({"colour": "red"}, {}, "labels: expected model, pattern"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    store: Path, labels: dict[str, Label], values: dict[str, Value], message: str
) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        with pytest.raises(StoreError, match=message):
            writer.write([Record("cell", {**WHERE, **labels}, "done", "", values)])
        with pytest.raises(StoreError, match="status: expected one of pending, done"):
            writer.write([Record("cell", WHERE, "fine")])  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="labels: expected a tuple of"):
            writer.mark("cell", TOY, "stale", "")  # type: ignore[arg-type]
    assert (open_store(store).status == "pending").all()


def test_a_dimer_takes_two_units_only(store: Path, dimer: Callable[..., Record]) -> None:
    with (
        StoreWriter(store, HBOND_SCHEMA) as writer,
        pytest.raises(StoreError, match=r"dimer \(model=toy.*at most \(24, 3\)"),
    ):
        writer.write([dimer(dimer_positions=np.zeros((25, 3)))])


def test_writing_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreSchemaError, match="expected a store, found nothing there"):
        StoreWriter(tmp_path / "quick.zarr", HBOND_SCHEMA)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["energy", "positions", "reason"])
def test_status_is_written_last_and_taken_back_first(
    name: str, store: Path, cell: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StoreWriter._write

    def stop(self: StoreWriter, model: int, blocks: dict[str, np.ndarray | None]) -> None:
        if name in blocks:
            before = dict(itertools.takewhile(lambda item: item[0] != name, blocks.items()))
            real(self, model, before)  # type: ignore[arg-type]
            raise OSError(28, "No space left on device")
        real(self, model, blocks)  # type: ignore[arg-type]

    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(), cell(length=2)])
        writer.flush()
        monkeypatch.setattr(StoreWriter, "_write", stop)
        writer.write([cell(value=9.0)])
        with pytest.raises(OSError, match="No space"):
            writer.flush()
        found = open_store(store).load()
        assert found.status.sel(WHERE) == "pending"
        assert (found.status == "done").sum() == 1
        monkeypatch.setattr(StoreWriter, "_write", real)
        assert writer.statuses("cell")[TOY] == "done", "what waits is kept until it is written"
    assert open_store(store).energy.sel(WHERE) == -9.0


def test_cells_are_written_after_their_dimers(
    store: Path, cell: Callable[..., Record], dimer: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the two must not leave a done cell without its dimer, which no resumed run would look for."""
    real = StoreWriter._write

    def stop(self: StoreWriter, place: int, blocks: dict[str, np.ndarray | None]) -> None:
        real(self, place, blocks)  # type: ignore[arg-type]
        if "status" in blocks or "dimer_status" in blocks:
            raise KeyboardInterrupt

    writer = StoreWriter(store, HBOND_SCHEMA)
    writer.write([cell(), dimer()])
    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            writer.flush()
    ds = open_store(store).load()
    assert (ds.dimer_status == "done").sum() == 1
    assert (ds.status == "done").sum() == 0
    writer.close()
    assert (open_store(store).status == "done").sum() == 1


def test_lock_is_released_when_the_last_flush_fails(
    store: Path, cell: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = StoreWriter(store, HBOND_SCHEMA)
    writer.write([cell()])
    monkeypatch.setattr(StoreWriter, "_write", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        writer.close()
    StoreWriter(store, HBOND_SCHEMA).close()


def test_unreadable_chunk_is_named(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell()])
    (chunk,) = (store / "energy").glob("c.*")
    chunk.write_bytes(b"torn")
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(length=2)])
        with pytest.raises(StoreError, match="energy, model toy: expected readable chunks"):
            writer.flush()
        writer._waiting.clear()


def test_axes_grow_by_the_labels_that_records_bring(tmp_path: Path) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300, 280)
    with StoreWriter(path, FLUIDS) as writer:
        writer.write([density(300, 1.0, 20, 10)])
        writer.flush()
        writer.write([density(280, 2.0, 15, 20), density(300, 3.0, 5)])
        writer.write([Record("fluid", {"fluid": "water"}, values={"pressure": [7, 8]}, along={"time": [30, 15]})])
        assert open_store(path)["time"].values.tolist() == [10, 20], "axes grow at the flush"
    ds = open_store(path).squeeze("fluid").load()
    assert ds["time"].values.tolist() == [5, 10, 15, 20, 30]
    nan = np.nan
    np.testing.assert_array_equal(ds.volume.sel(temperature=280), [nan, nan, 30.0, 40.0, nan])
    np.testing.assert_array_equal(ds.volume.sel(temperature=300), [15.0, nan, nan, nan, nan])
    assert ds.pressure.values.tolist() == [-1, -1, 8, -1, 7]
    assert ds.atomic_number.values.tolist() == [8, 1, 1]
    assert ds.formula.item() == "H2O"
    np.testing.assert_allclose(ds.celsius, [6.85, 26.85])
    assert verify(path, FLUIDS) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f.zarr", "f.zarr.lock"]


@pytest.mark.parametrize(
    ("values", "along", "message"),
    [
        ({"volume": [1.0]}, {"time": [1, 2]}, "volume: expected a value for each of the 2 labels along time, found 1"),
        ({"volume": [1.0, 2.0]}, {"time": [1]}, r"volume: expected shape \(time\) of at most \(1,\), found \(2,\)"),
        ({"volume": [1.0]}, {"time": ["now"]}, "time: expected labels of type int64, found 'now'"),
        ({"volume": [1.0]}, {"temperature": [1]}, "along: expected dims that records may extend, found 'temperature'"),
        ({"volume": [1.0]}, {"colour": [1]}, "along: expected dims that records may extend, found 'colour'"),
    ],
)
def test_labels_along_that_do_not_fit_are_refused(
    tmp_path: Path, values: dict[str, Value], along: dict[str, list[Label]], message: str
) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300)
    with StoreWriter(path, FLUIDS) as writer, pytest.raises(StoreError, match=message):
        writer.write([Record("cell", {"fluid": "water", "temperature": 300}, values=values, along=along)])
    assert open_store(path).sizes["time"] == 0


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300)
    with (
        StoreWriter(path, FLUIDS) as writer,
        pytest.raises(StoreError, match="expected one of cell, fluid, found 'gas'"),
    ):
        writer.write([Record("gas", {"fluid": "water"})])


GROWER = """
import os, signal, sys
import hbcoop_dist.store.creation as creation
from hbcoop_dist.store import StoreWriter
from small_store import FLUIDS, density
point, path = sys.argv[1:]
rename, renames = os.rename, []
def counted(source, target):
    renames.append(target)
    if point == f"before-rename-{len(renames)}":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
creation.os.rename = counted
if point == "copying":
    creation._copy = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
writer = StoreWriter(path, FLUIDS)
writer.write([density(280, 2.0, 15)])
writer.flush()
"""


@pytest.mark.parametrize("point", ["copying", "before-rename-1", "before-rename-2"])
def test_growth_by_records_killed_anywhere_loses_nothing_that_was_flushed(
    point: str, tmp_path: Path, python: Callable[..., Popen[str]]
) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300, 280)
    with StoreWriter(path, FLUIDS) as writer:
        writer.write([density(300, 1.0, 10, 20)])
    assert python(GROWER, point, path).wait(timeout=60) == -signal.SIGKILL
    ds = open_store(path).squeeze("fluid").load()
    assert ds.status.sel(temperature=300) == "done"
    assert ds.volume.sel(temperature=300, time=[10, 20]).values.tolist() == [10.0, 20.0]
    make_fluids(path, 300)
    with StoreWriter(path, FLUIDS) as writer:
        writer.write([density(280, 2.0, 15)])
    ds = open_store(path).squeeze("fluid").load()
    assert ds.volume.sel(temperature=280, time=15) == 30.0
    assert verify(path, FLUIDS) == []


def test_growth_on_a_full_disk_is_repeated_at_the_next_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_fluids(tmp_path / "f.zarr", 300)
    with StoreWriter(path, FLUIDS) as writer:
        writer.write([density(300, 1.0, 10)])
        with monkeypatch.context() as patch:
            patch.setattr(creation, "_copy", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(StoreWriteError, match=r"f\.zarr: expected free space .* No space left"):
                writer.flush()
        assert open_store(path).sizes["time"] == 0
    assert open_store(path).volume.values.tolist() == [[[10.0]]]


def test_one_file_per_variable_and_model(store: Path, cell: Callable[..., Record]) -> None:
    with StoreWriter(store, HBOND_SCHEMA) as writer:
        writer.write([cell(), cell(length=2), cell("so3lr")])
    assert len(list((store / "energy").glob("c.*"))) == 2
    assert not list((store / "angle").glob("c.*")), "what is missing throughout takes no file"


DRIVER = """
import itertools, sys
from dataclasses import dataclass
import numpy as np
from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.core.results import Record, TaskResult
from hbcoop_dist.store import Journal, StoreWriteError, StoreWriter, journal_path, payload_types
@dataclass
class Energy:
    energy: float
def record(i):
    labels, value = cells[i % len(cells)], float(i)
    values = {"energy": value, "cooperative_energy": np.full(3, value), "task_key": str(i),
              "hbond_cooperative_energy": np.full(labels[2] - 1, value),
              "positions": np.full((12 * labels[2], 3), value)}
    return Record("cell", dict(zip(HBOND_SCHEMA.cells.dims, labels)), values=values)
with (
    StoreWriter(sys.argv[1], HBOND_SCHEMA, flush_records=3) as writer,
    Journal(journal_path(sys.argv[1]), payload_types(Energy)) as journal,
):
    cells = writer.layout.rows(HBOND_SCHEMA.cells)
    newest = {int(key) % len(cells): int(key) for key in journal.keys()}
    done = {labels for labels, status in writer.statuses("cell").items() if status == "done"}
    stored = {int(key) for labels, key in writer.stored_keys("cell").items() if labels in done}
    writer.write(record(i) for i in newest.values() if i not in stored)
    writer.flush()
    print("replayed", len(newest), flush=True)
    if sys.argv[2] == "replay":
        sys.exit()
    for i in itertools.count(int(sys.argv[2])):
        journal.append(TaskResult(str(i), "done", "", Energy(float(i))))
        print("journal", i, flush=True)
        writer.write([record(i)])
        if i % 3 == 2:
            writer.flush()
            print("flushed", i, flush=True)
"""


def test_sigkill_at_any_moment_keeps_everything_acknowledged(store: Path, python: Callable[..., Popen[str]]) -> None:
    following = 0
    for lines in (3, 10, 30, 61, 90):
        process = python(DRIVER, store, following)
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(lines)]
        process.kill()
        said += [line.split() for line in process.stdout.read().splitlines()]
        process.wait()
        acknowledged = [int(i) for word, i in said if word == "journal"]
        flushed = max((int(i) for word, i in said if word == "flushed"), default=following - 1)
        assert {str(i) for i in acknowledged} <= set(Journal(journal_path(store), {}).keys())
        check_cells(store, flushed, acknowledged[-1])
        following = acknowledged[-1] + 2
    assert python(DRIVER, store, "replay").wait(timeout=60) == 0
    kept = map(int, Journal(journal_path(store), {}).keys())
    newest = {key % 24: key for key in kept}
    assert (open_store(store).status == "done").sum() == len(newest) == 24
    assert open_store(store).task_key.values.ravel().tolist() == [str(newest[i]) for i in range(24)]


def check_cells(store: Path, flushed: int, acknowledged: int) -> None:
    """What was flushed is there, unless a later, unfinished flush took it back; no done cell is a mixture."""
    found = open_store(store).load()
    status, key = found.status.values.ravel(), found.task_key.values.ravel()
    kept = set(map(int, Journal(journal_path(store), {}).keys()))
    for cell in range(24):
        last = max((i for i in kept if i <= flushed and i % 24 == cell), default=-1)
        if status[cell] == "done":
            assert int(key[cell]) >= last
        else:
            later = [i for i in kept if i > flushed and i % 24 == cell]
            assert last < 0 or later, f"cell {cell} lost result {last}"
    for name in ("energy", "cooperative_energy", "hbond_cooperative_energy", "positions"):
        values = found[name].values.reshape(24, -1)
        for cell in np.flatnonzero(status == "done"):
            finite = values[cell][np.isfinite(values[cell])]
            assert finite.size, f"cell {cell} lacks {name}"
            assert (finite == float(key[cell])).all(), f"cell {cell} is a mixture in {name}"
    assert [line for line in verify(store, HBOND_SCHEMA) if "unfinished" not in line] == []
    assert acknowledged in kept
