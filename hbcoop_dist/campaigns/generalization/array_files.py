"""Files beside the store of a generalization campaign: results too large for the journal, and trained networks.

Descriptors and structures of a set of 20,000 are hundreds of megabytes. A worker writes them to disk before the result
that names them reaches the driver; other workers read them from the file system that all share. A file that was removed
is computed again when a task needs it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hbcoop_dist.campaigns.generalization.spec import TrainingCell
from hbcoop_dist.campaigns.generalization.tasks import StoredArrays, TrainingResult, TrainingTask
from hbcoop_dist.core.files import atomic_write
from hbcoop_dist.learning.networks.trained_files import write_trained
from hbcoop_dist.store import Journal, models_path
from hbcoop_dist.store.paths import writing


class ArrayFile(Mapping[str, Any]):
    """Arrays and texts of one file; each is read when it is looked up, and not kept in memory.

    Parameters
    ----------
    stored : StoredArrays
    folder : Path
    """

    def __init__(self, stored: StoredArrays, folder: Path) -> None:
        self._path, self._sha256 = folder / stored.file, stored.sha256
        self._checked = False

    def __getitem__(self, name: str) -> Any:
        self._check()
        with np.load(self._path, allow_pickle=False) as arrays:
            array = arrays[name]
        return str(array) if array.dtype.kind == "U" else array

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
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise OSError(
                f"{self._path}: expected a file that an earlier task has written, found none ({error}); every worker "
                "must see the store's folder, and the same command computes again what was removed"
            ) from error
        if digest != self._sha256:
            raise ValueError(
                f"{self._path}: expected the file that an earlier task has written, found another; remove it, and the "
                "same command computes it again"
            )
        self._checked = True


def write_arrays(folder: Path, key: str, arrays: Mapping[str, object]) -> StoredArrays:
    """Write the arrays of a task's result; they are on disk when the function returns.

    Parameters
    ----------
    folder : Path
    key : str
        Key of the task, which names the file.
    arrays : mapping of str to array or str
    """
    path = folder / f"{key}.npz"
    with atomic_write(path, sync=True) as file:
        np.savez(file, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredArrays(path.name, digest, path.stat().st_size)


def lost_files(tasks: Mapping[str, TrainingTask], pending: Collection[str], journal: Journal, folder: Path) -> set[str]:
    """Return keys of results whose file is gone although a pending task needs it.

    Parameters
    ----------
    tasks : mapping of str to TrainingTask
    pending : collection of str
        Keys of tasks that are to be computed.
    journal : Journal
    folder : Path
        Folder of large results.
    """
    lost: set[str] = set()
    stack = list(pending)
    while stack:
        for key in tasks[stack.pop()].inputs:
            if key in lost or tasks[key].kind not in ("read", "describe") or journal.status(key) != "done":
                continue
            result = journal.get(key)
            assert result is not None
            stored = result.payload_as(StoredArrays)
            path = folder / stored.file
            if not path.is_file() or path.stat().st_size != stored.size:
                lost.add(key)
                stack.append(key)
    return lost


def model_path(store: str | Path, cell: TrainingCell) -> Path:
    """Return the path of the file of one network."""
    return models_path(store) / f"{cell.name}.npz"


def write_model(store: str | Path, cell: TrainingCell, result: TrainingResult) -> Path:
    """Write a trained network; return its path.

    Raises
    ------
    StoreWriteError
        When the disk refuses.
    """
    path = model_path(store, cell)
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        write_trained(path, result.network, result.metadata)
    return path
