"""Open a file of structures: its first bytes say which format it is, whatever it is called."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from hbcoop_dist.generalization.readers.ase_database import LmdbRows, SqliteRows, count_lmdb
from hbcoop_dist.generalization.readers.extxyz import ExtxyzRows
from hbcoop_dist.generalization.readers.files import SUFFIXES
from hbcoop_dist.generalization.readers.qmof import QmofRows, find_qmof
from hbcoop_dist.generalization.readers.rows import Rows
from hbcoop_dist.generalization.readers.trajectory import TrajectoryRows
from hbcoop_dist.generalization.reading import ReadError

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
