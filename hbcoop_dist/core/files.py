"""Atomic writes: a reader sees the file as it was before, or the complete new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_write(path: Path, *, sync: bool = False) -> Iterator[BufferedRandom]:
    """Open a temporary file beside `path` and rename it to `path` when the block ends without an error.

    Parameters
    ----------
    path : Path
        File to create or replace; missing parent folders are created.
    sync : bool
        Flush the file and its folder to disk before and after the rename, so that the file survives a power cut.

    Yields
    ------
    BufferedRandom
        The temporary file, open for reading and writing. It is removed when the block raises.

    Raises
    ------
    OSError
        When the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # unique among the threads and machines that may write the same path
    partial = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
    try:
        with partial.open("w+b") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if sync:
        sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk.

    Parameters
    ----------
    path : Path
        An existing file or folder.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
