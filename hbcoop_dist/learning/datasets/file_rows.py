"""Open files of structures by their contents, and several files or folders as one list of rows."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hbcoop_dist.learning.datasets.ase_files import ExtxyzRows, LmdbRows, SqliteRows, TrajectoryRows, count_lmdb
from hbcoop_dist.learning.datasets.frames import ReadError, Rows
from hbcoop_dist.learning.datasets.qmof import QmofRows, find_qmof, qmof_files

SUFFIXES = {
    ".xyz": "extended XYZ",
    ".extxyz": "extended XYZ",
    ".db": "ASE databases",
    ".aselmdb": "ASE LMDBs",
    ".traj": "ASE trajectories",
}
"""Suffixes of the files that are looked for in a folder."""

_SQLITE = b"SQLite format 3\0"
_LMDB, _LMDB_OFFSET = b"\xde\xc0\xef\xbe", 16
_ULM = b"- of Ulm"
_ZIP = b"PK\x03\x04"


class Shards:
    """All rows of some files and folders.

    Parameters
    ----------
    paths : iterable of path
        Files, and folders of files.

    Attributes
    ----------
    files : tuple of Path
        The files, in order.
    counts : (files,) int array
        Rows of each.

    Raises
    ------
    ReadError
        When a file cannot be read.
    """

    def __init__(self, paths: Iterable[Path | str]) -> None:
        self.files = tuple(file for path in paths for file in files_of(path))
        self.counts = np.array([_count_rows_in(file) for file in self.files], dtype=np.int64)
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.files else 0

    def rows(self, indices: Iterable[int] | None = None) -> Iterator[tuple[Rows, int]]:
        """Yield the open file and the number in it of every row; one file is open at a time.

        Parameters
        ----------
        indices : iterable of int, optional
            Indices of rows among those of all files, ascending; all rows by default.
        """
        numbers = np.arange(len(self)) if indices is None else np.asarray(list(indices), dtype=np.int64)
        file_of = np.searchsorted(self._ends, numbers, side="right")
        for file in np.unique(file_of):
            with open_rows(self.files[file]) as rows:
                first = self._ends[file] - self.counts[file]
                for number in numbers[file_of == file]:
                    yield rows, int(number - first)


def count_rows(paths: Iterable[Path | str]) -> int:
    """Return the number of rows of all files; errors as of `Shards`."""
    return len(Shards(paths))


def files_of(path: Path | str) -> list[Path]:
    """Return the files of a set.

    Parameters
    ----------
    path : path
        A file, a folder that is a QMOF database, or a folder with files of one format at any depth.

    Returns
    -------
    list of Path
        Sorted by name; a QMOF folder stands for itself.

    Raises
    ------
    ReadError
        When there are no files, or files of several formats.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ReadError(f"{root}: expected a file or a folder, found none")
    if find_qmof(root) is not None:
        return [root]
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    forms = sorted({SUFFIXES[file.suffix.lower()] for file in files})
    if len(forms) != 1:
        raise ReadError(
            f"{root}: expected a QMOF database, or files of one format ({', '.join(SUFFIXES)}), "
            f"found {', '.join(forms) or 'none'}"
        )
    return files


def content_files(path: Path | str) -> list[Path]:
    """Return the files whose content decides what is read from a path; errors as of `files_of`."""
    return [part for file in files_of(path) for part in (qmof_files(file) if file.is_dir() else [file])]


def open_rows(path: Path) -> closing[Rows]:
    """Open the structures of one file, or of a folder that is one set.

    Raises
    ------
    ReadError
        When its format is not supported, or its content is not of that format.
    """
    return closing(_reader(path)(path))


def _count_rows_in(path: Path) -> int:
    if _reader(path) is LmdbRows:
        return count_lmdb(path)
    with open_rows(path) as rows:
        return len(rows)


def _reader(path: Path) -> Callable[[Path], Rows]:
    """Choose a reader by the first bytes of a file, whatever its name."""
    if path.is_dir():
        return QmofRows
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ReadError(f"{path}: expected a readable file, found: {error}") from error
    if head.startswith(_SQLITE):
        return SqliteRows
    if head[_LMDB_OFFSET:].startswith(_LMDB):
        if find_spec("ase_db_backends") is None:
            raise ReadError(f"{path}: expected the package ase-db-backends, which reads ASE LMDBs, found none")
        return LmdbRows
    if head.startswith(_ULM):
        return TrajectoryRows
    if head.startswith(_ZIP):
        if not zipfile.is_zipfile(path) or find_qmof(path) is None:
            raise ReadError(f"{path}: expected a QMOF database in this zip file, found another or a damaged one")
        return QmofRows
    if head.split(b"\n")[0].strip().isdigit():
        return ExtxyzRows
    expected = ", ".join(sorted(set(SUFFIXES.values())))
    raise ReadError(
        f"{path}: expected an extended XYZ file or one of {expected}, or a QMOF database, found "
        + (f"a file that begins with {head[:24]!r}" if head else "an empty file")
    )
