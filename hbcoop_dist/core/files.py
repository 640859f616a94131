"""Files: atomic writes, and the campaigns, cluster profiles and templates that come with the package.

A reader of an atomically written file sees it as it was before, or the complete new one. A wheel holds the bundled
files as package data; an editable install reads the folders of the checkout.
"""

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


_PACKAGE = Path(__file__).resolve().parents[1]


def bundled_folder(name: str) -> Path:
    """Folder of bundled files.

    Parameters
    ----------
    name : {"campaigns", "cluster_profiles", "templates"}

    Returns
    -------
    Path
    """
    in_wheel = _PACKAGE / "_data" / name
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / name


def bundled_names(folder: str) -> list[str]:
    """Names of the bundled YAML files of a folder.

    Parameters
    ----------
    folder : {"campaigns", "cluster_profiles"}

    Returns
    -------
    list of str
        File names without ``.yaml``, sorted.
    """
    return sorted(path.stem for path in bundled_folder(folder).glob("*.yaml"))


def find_file(name: str | Path, folder: str) -> Path:
    """Path of a file that is given by its path or by the name of a bundled one.

    Parameters
    ----------
    name : str or Path
        An existing file, which takes precedence, or a bundled name such as ``quickstart``.
    folder : {"campaigns", "cluster_profiles"}
        Where to look for a bundled name.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        When `name` is neither; the message lists the bundled names.
    """
    path = Path(name)
    if path.is_file():
        return path
    bundled = bundled_folder(folder) / f"{name}.yaml"
    if path.suffix == "" and bundled.is_file():
        return bundled
    names = ", ".join(bundled_names(folder)) or "none"
    raise FileNotFoundError(f"{name}: expected a file, or the name of a bundled one ({names})")
