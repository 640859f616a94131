"""Paths of a store and of the files beside it, and the exceptions of the store, all derived from `StoreError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ARCHIVE_SUFFIX = ".zip"


class StoreError(Exception):
    """A store, a journal or a lock cannot be used as requested; the message names what was expected and found."""


class StoreLockedError(StoreError):
    """Another driver holds the store."""


class StoreSchemaError(StoreError):
    """The path is not a store of this package, or the store has another kind or schema version."""


class StoreWriteError(StoreError):
    """The disk refuses a write. What was acknowledged before is on disk, and the same run can go on from it."""


class ProtocolMismatchError(StoreError):
    """The store was made with another protocol, or a label in it stands for something else."""


@contextlib.contextmanager
def writing(target: object) -> Iterator[None]:
    """Convert an OSError of the block into a StoreWriteError that names what was written.

    Parameters
    ----------
    target : object
        Path, or other words for what the block writes.

    Raises
    ------
    StoreWriteError
    """
    try:
        yield
    except OSError as error:
        raise StoreWriteError(f"{target}: expected free space and permission to write, found {error}") from error


@contextlib.contextmanager
def reading(source: object) -> Iterator[None]:
    """Convert an error of the block into a StoreError that names which chunks cannot be read.

    Parameters
    ----------
    source : object
        Words for what the block reads.

    Raises
    ------
    StoreError
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        raise StoreError(f"{source}: expected readable chunks, {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class StorePaths:
    """Paths of a store and its companions, all in one folder so that renames between them are atomic.

    Attributes
    ----------
    store : Path
        Zarr group.
    journal : Path
        Append-only journal of task results.
    lock : Path
        File that the driver holds a lock on.
    holder : Path
        Text that names the holder of the lock.
    growing : Path
        Store under construction, which no reader opens.
    replaced : Path
        Former store between the two renames of a growth.
    scratch : Path
        Folder of restart files of unfinished minimisations and trainings.
    arrays : Path
        Folder of results too large for the journal; the journal holds their hashes.
    models : Path
        Folder of model files that cells produce.
    logs : Path
        Folder of the logs of workers and jobs.
    progress : Path
        State of the run in progress, for ``hbcoop status``.
    """

    store: Path
    journal: Path
    lock: Path
    holder: Path
    growing: Path
    replaced: Path
    scratch: Path
    arrays: Path
    models: Path
    logs: Path
    progress: Path

    @classmethod
    def of(cls, path: str | Path) -> StorePaths:
        """Return the paths that belong to a store.

        Parameters
        ----------
        path : str or Path
            The store. Links are followed, so that every path to a store leads to the same lock.
        """
        store = Path(path).expanduser().resolve()

        def beside(suffix: str) -> Path:
            return store.with_name(store.name + suffix)

        return cls(
            store=store,
            journal=beside(".journal"),
            lock=beside(".lock"),
            holder=beside(".lock.txt"),
            growing=beside(".growing"),
            replaced=beside(".replaced"),
            scratch=beside(".scratch"),
            arrays=beside(".arrays"),
            models=beside(".models"),
            logs=beside(".logs"),
            progress=beside(".progress.json"),
        )


def journal_path(path: str | Path) -> Path:
    """Return the journal of a store.

    Parameters
    ----------
    path : str or Path
    """
    return StorePaths.of(path).journal


def scratch_path(path: str | Path) -> Path:
    """Return the folder of restart files of a store.

    Parameters
    ----------
    path : str or Path
    """
    return StorePaths.of(path).scratch


def arrays_path(path: str | Path) -> Path:
    """Return the folder of the results of a store that are too large for its journal.

    Parameters
    ----------
    path : str or Path
    """
    return StorePaths.of(path).arrays


def models_path(path: str | Path) -> Path:
    """Return the folder of the model files that the cells of a store produced.

    Parameters
    ----------
    path : str or Path
    """
    return StorePaths.of(path).models


def logs_path(path: str | Path) -> Path:
    """Return the folder of worker logs of a store.

    Parameters
    ----------
    path : str or Path
    """
    return StorePaths.of(path).logs


def progress_path(path: str | Path) -> Path:
    """Return the file with the state of the run in progress of a store.

    Parameters
    ----------
    path : str or Path
    """
    return StorePaths.of(path).progress


def is_archive(path: str | Path) -> bool:
    """Return whether a path names an archive, by its suffix alone.

    Parameters
    ----------
    path : str or Path
    """
    return Path(path).suffix.lower() == ARCHIVE_SUFFIX


def refuse_archive(path: Path) -> None:
    """Refuse a path that is to be written to and names an archive.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreSchemaError
    """
    if is_archive(path):
        raise StoreSchemaError(f"{path}: expected a folder, found an archive, which is only read")
