"""Results in files beside the store: read back, checked, and computed again when they are lost and needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hbcoop_dist.campaigns.generalization.array_files import ArrayFile, lost_files, write_arrays
from hbcoop_dist.campaigns.generalization.kind import KIND
from hbcoop_dist.campaigns.generalization.spec import DatasetEntry
from hbcoop_dist.campaigns.generalization.tasks import (
    DataSource,
    StoredArrays,
    TrainingTask,
    describe_task,
    map_task,
    read_task,
)
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.store import Journal

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "text": '["x", "y"]', "n": 3}


def test_arrays_named_by_a_journal_are_read_back(tmp_path: Path) -> None:
    key = "0" * 32
    with Journal(tmp_path / "journal", KIND.payloads) as journal:
        journal.append(TaskResult(key, "done", payload=write_arrays(tmp_path / "arrays", key, ARRAYS)))
        result = journal.get(key)
    assert result is not None
    file = ArrayFile(result.payload_as(StoredArrays), tmp_path / "arrays")
    assert set(file) == set(ARRAYS)
    assert len(file) == len(ARRAYS)
    np.testing.assert_array_equal(file["a"], ARRAYS["a"])
    assert file["b"].tolist() == [True, False]
    assert (file["text"], int(file["n"])) == ('["x", "y"]', 3)


def test_other_and_missing_files_are_refused_by_path(tmp_path: Path) -> None:
    stored = write_arrays(tmp_path, "0" * 32, ARRAYS)
    path = tmp_path / stored.file
    content = path.read_bytes()
    assert stored.size == len(content)
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match=rf"{stored.file}: expected the file that an earlier task has written, found"):
        ArrayFile(stored, tmp_path)["a"]
    path.unlink()
    with pytest.raises(OSError, match="every worker must see the store's folder"):
        ArrayFile(stored, tmp_path)["a"]


class TestLostFiles:
    """Two parts of a set, each read and described, and the map of the set."""

    @pytest.fixture
    def tasks(self) -> dict[str, TrainingTask]:
        data = DataSource(DatasetEntry(name="a", files=("a.xyz",)), sha256=("0" * 64,))
        read = [read_task(data, part) for part in range(2)]
        chunks = tuple(task.key for task in read)
        described = [describe_task(data, (task.key,), part) for part, task in enumerate(read)]
        mapped = map_task(DataSource(data.entry, chunks, described=tuple(task.key for task in described)))
        return {task.key: task for task in (*read, *described, mapped)}

    @pytest.fixture
    def journal(self, tasks: dict[str, TrainingTask], tmp_path: Path) -> Iterator[Journal]:
        with Journal(tmp_path / "journal", KIND.payloads) as journal:
            for key in list(tasks)[:4]:
                journal.append(TaskResult(key, "done", payload=write_arrays(tmp_path, key, ARRAYS)))
            yield journal

    def test_no_file_is_lost_at_first(self, tasks: dict[str, TrainingTask], journal: Journal, tmp_path: Path) -> None:
        assert lost_files(tasks, list(tasks)[4:], journal, tmp_path) == set()

    def test_lost_files_count_when_a_pending_task_needs_them(
        self, tasks: dict[str, TrainingTask], journal: Journal, tmp_path: Path
    ) -> None:
        first, second, described, _, mapped = tasks
        (tmp_path / f"{first}.npz").unlink()
        (tmp_path / f"{second}.npz").write_bytes(b"shorter")
        assert lost_files(tasks, [], journal, tmp_path) == set()
        assert lost_files(tasks, [described], journal, tmp_path) == {first}
        assert lost_files(tasks, [mapped], journal, tmp_path) == {first, second}

    def test_a_result_that_is_repeated_needs_its_own_inputs(
        self, tasks: dict[str, TrainingTask], journal: Journal, tmp_path: Path
    ) -> None:
        first, _, described, _, _ = tasks
        (tmp_path / f"{first}.npz").unlink()
        (tmp_path / f"{described}.npz").unlink()
        # the journal has the description as done, and the run repeats it
        assert lost_files(tasks, [described], journal, tmp_path) == {first}
