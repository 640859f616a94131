"""Open a file of structures: its first bytes say which format it is, whatever it is called.

Several files as one list of rows: rows are asked for in ascending order, so one file is open at a time.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.learning.datasets.readers.ase_database import LmdbRows, SqliteRows, count_lmdb
from hbcoop_dist.learning.datasets.readers.base import SUFFIXES, Rows, files_of
from hbcoop_dist.learning.datasets.readers.qmof import QmofRows, find_qmof
from hbcoop_dist.learning.datasets.readers.text_files import ExtxyzRows, TrajectoryRows

_SQLITE = b"SQLite format 3\0"
_LMDB, _LMDB_AT = b"\xde\xc0\xef\xbe", 16
_ULM = b"- of Ulm"
_ZIP = b"PK\x03\x04"


@contextmanager
def open_rows(path: Path) -> Iterator[Rows]:
    """The structures of one file, or of a folder that is one set.

    Raises
    ------
    ReadError
        When its format is none of those that are read, or what is in it is not what it should be.
    """
    rows = _reader(path)(path)
    try:
        yield rows
    finally:
        rows.close()


def count_in(path: Path) -> int:
    """How many structures there are in one file; errors as of `open_rows`."""
    if _reader(path) is LmdbRows:
        return count_lmdb(path)
    with open_rows(path) as rows:
        return len(rows)


def _reader(path: Path) -> Callable[[Path], Rows]:
    if path.is_dir():
        return QmofRows
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ReadError(f"{path}: expected a readable file, found: {error}") from error
    if head.startswith(_SQLITE):
        return SqliteRows
    if head[_LMDB_AT:].startswith(_LMDB):
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


class Shards:
    """All rows of some files and folders.

    Parameters
    ----------
    paths : iterable of path
        Files, and folders of shards.

    Attributes
    ----------
    files : tuple of Path
        The files they stand for, in order.
    counts : (files,) int array
        Rows of each.

    Raises
    ------
    ReadError
        When one of them is not what can be read.
    """

    def __init__(self, paths: Iterable[Path | str]) -> None:
        self.files = tuple(file for path in paths for file in files_of(path))
        self.counts = np.array([count_in(file) for file in self.files], dtype=np.int64)
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.files else 0

    def rows(self, places: Iterable[int] | None = None) -> Iterator[tuple[Rows, int]]:
        """Open files and numbers of rows in them.

        Parameters
        ----------
        places : iterable of int, optional
            Numbers of rows in all files, ascending; all rows without them.
        """
        numbers = np.arange(len(self)) if places is None else np.asarray(list(places), dtype=np.int64)
        of = np.searchsorted(self._ends, numbers, side="right")
        for file in np.unique(of):
            with open_rows(self.files[file]) as rows:
                first = self._ends[file] - self.counts[file]
                for number in numbers[of == file]:
                    yield rows, int(number - first)


def count_rows(paths: Iterable[Path | str]) -> int:
    """Rows of all files; errors as of `Shards`."""
    return len(Shards(paths))
