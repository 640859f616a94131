"""Results too large for a line of the journal: arrays in files beside the store, and what the journal says of them.

The descriptors and structures of a set of 20,000 are hundreds of megabytes, which no driver should have in its memory,
and no journal read again at every start.  The worker writes them, durably and whole, before the result that names them
goes to the driver, so what the journal has is there; who needs them reads them from the file system that all share, as
checkpoints of trainings.  A file that somebody removed is computed again when it is needed.

Which results have lost their files, and are to be computed again because something needs them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hbcoop_dist.campaigns.generalization.tasks import KEPT, TrainingTask
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.store import Journal

_FILE, _SHA256, _BYTES = "kept file", "kept sha256", "kept bytes"


class KeptArrays(Mapping[str, Any]):
    """Arrays and text of one file; each is read when it is asked for, and not kept."""

    def __init__(self, path: Path, sha256: str) -> None:
        self._path, self._sha256 = path, sha256
        self._checked = False

    def __getitem__(self, name: str) -> Any:
        self._check()
        with np.load(self._path, allow_pickle=False) as arrays:
            found = arrays[name]
        return str(found) if found.dtype.kind == "U" else found

    def __iter__(self) -> Iterator[str]:
        self._check()
        with np.load(self._path, allow_pickle=False) as arrays:
            return iter(list(arrays.files))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _check(self) -> None:
        if self._checked:
            return
        try:
            with self._path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise OSError(
                f"{self._path}: expected a file that an earlier task has kept, found none ({error}); every worker has "
                "to see the store's folder, and the same command computes again what was removed"
            ) from error
        if found != self._sha256:
            raise ValueError(
                f"{self._path}: expected the file that an earlier task has kept, found another; remove it, and the "
                "same command computes it again"
            )
        self._checked = True


def keep(folder: Path, key: str, data: Mapping[str, object]) -> dict[str, object]:
    """Write the data of a task to its file; on return it is on disk, and what is returned names it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.npz"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("w+b") as file:
        np.savez(file, **{name: np.asarray(value) for name, value in data.items()})  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    os.replace(partial, path)
    return {_FILE: path.name, _SHA256: digest, _BYTES: path.stat().st_size}


def opened(result: TaskResult, folder: Path | None) -> Mapping[str, Any]:
    """The data of a result, wherever they are."""
    if _FILE not in result.data or folder is None:
        return result.data
    return KeptArrays(folder / str(result.data[_FILE]), str(result.data[_SHA256]))


def is_there(data: Mapping[str, object], folder: Path) -> bool:
    """Whether the file that a result names is there; one that names none needs none."""
    if _FILE not in data:
        return True
    path = folder / str(data[_FILE])
    return path.is_file() and path.stat().st_size == data[_BYTES]


def lost_arrays(tasks: Mapping[str, TrainingTask], needed: Collection[str], journal: Journal, folder: Path) -> set[str]:
    """Keys of tasks that are done, and whose file is not there although a task that is to be done needs it."""
    found: set[str] = set()
    stack = [key for key in needed if journal.status(key) != "done"]
    while stack:
        for key in tasks[stack.pop()].inputs:
            if key in found or tasks[key].kind not in KEPT or journal.status(key) != "done":
                continue
            result = journal.get(key)
            assert result is not None
            if not is_there(result.data, folder):
                found.add(key)
                stack.append(key)
    return found
