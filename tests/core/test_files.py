"""Atomic writes: the old file or the complete new one, and nothing left over."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hbcoop_dist.core.files import atomic_write, sync_path


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "data.bin"
    for content in (b"first", b"second"):
        with atomic_write(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"first"
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["data.bin"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_write_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), atomic_write(path) as file:  # noqa: PT012
        file.write(b"half of the n")
        raise error
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.bin"]


def test_a_failed_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.mkdir()
    with pytest.raises(OSError, match="directory"), atomic_write(path) as file:
        file.write(b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.bin"]


def test_the_file_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "data.bin", []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real_fsync(handle)

    def replace(source: Path, target: Path) -> None:
        calls.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with atomic_write(path, sync=True) as file:
        file.write(b"data")
    assert calls == ["file", "rename", "folder"]
    calls.clear()
    with atomic_write(path) as file:
        file.write(b"data")
    assert calls == ["rename"]
    calls.clear()
    sync_path(tmp_path)
    assert calls == ["folder"]


def test_threads_that_write_one_file_leave_one_complete_version(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    contents = [bytes([number]) * 4096 for number in range(16)]

    def write(content: bytes) -> None:
        with atomic_write(path) as file:
            for start in range(0, len(content), 64):
                file.write(content[start : start + 64])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert path.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.bin"]
