"""Exceptions of the store, its journal and its lock, all derived from `StoreError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


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
