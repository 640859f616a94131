"""Read ASE databases (SQLite, and LMDB as written by fairchem with ase-db-backends) and ASE trajectories.

Beside the results of its calculator, a row of a database has key-value pairs and ``data``, where OMol25 and ODAC25 keep
what ASE has no name for; both become ``info``.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbcoop_dist.learning.datasets.frames import ReadError

if TYPE_CHECKING:
    from ase import Atoms

_MISSING_PAGES = 2**20
"""Bytes that an LMDB file may be shorter than its header states: pages that were freed before they were written."""


class _AseRows:
    """Rows of a file that ASE reads; see `hbcoop_dist.learning.datasets.readers.file_rows.Rows`."""

    form: str
    unit = "row"
    path: Path

    def position(self, number: int) -> str:
        return f"{self.unit} {number}"

    def atoms(self, number: int) -> Atoms:
        try:
            return self._read(number)
        except Exception as error:  # decoding a damaged row may raise anything
            expected = f"expected a {self.unit} of an {self.form}"
            raise ReadError(f"{self.path}, {self.position(number)}: {expected}, found: {error!r}", expected) from error

    def _read(self, number: int) -> Atoms:
        raise NotImplementedError


class _DatabaseRows(_AseRows):
    """Rows of an open database, by ``_ids``."""

    _database: Any
    _ids: list[int]

    def __len__(self) -> int:
        return len(self._ids)

    def position(self, number: int) -> str:
        return f"row {self._ids[number]}"

    def _read(self, number: int) -> Atoms:
        row = self._database.get(self._ids[number])
        atoms: Atoms = row.toatoms()
        atoms.info = {**row.data, **row.key_value_pairs}
        return atoms


class SqliteRows(_DatabaseRows):
    """Rows of an ASE database in SQLite.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ReadError
        When the file is not an ASE database.
    """

    form = "ASE database (SQLite)"

    def __init__(self, path: Path) -> None:
        from ase.db import connect

        self.path = path
        # ids are read without ASE, which would create its tables in a foreign database and fetch whole rows
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as raw:
                self._ids = [number for (number,) in raw.execute("SELECT id FROM systems ORDER BY id")]
        except sqlite3.Error as error:
            raise ReadError(f"{path}: expected an ASE database with a table of systems, found: {error}") from error
        self._database = connect(path, type="db", use_lock_file=False, create_indices=False)

    def close(self) -> None:
        """Do nothing: no file stays open between two rows."""


class LmdbRows(_DatabaseRows):
    """Rows of an ASE database in LMDB, the format of OMol25 and ODAC25.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ReadError
        When the file is not an ASE LMDB, or truncated.
    """

    form = "ASE LMDB"

    def __init__(self, path: Path) -> None:
        self.path = path
        count_lmdb(path)
        from ase.db import connect

        try:
            self._database = connect(path, type="aselmdb", use_lock_file=False, readonly=True, readahead=False)
        except (ValueError, TypeError, zlib.error, json.JSONDecodeError) as error:
            raise ReadError(
                f"{path}: expected an LMDB of ASE rows (deflated JSON), found: {error!r}; LMDBs of pickled graphs, as "
                "of OC20, are not supported"
            ) from error
        self._ids = self._database.ids

    def close(self) -> None:
        self._database.close()


def count_lmdb(path: Path) -> int:
    """Return the number of rows of an LMDB without listing them.

    The size of the file is checked, because an LMDB is mapped into memory, and access to a truncated one kills the
    process.

    Raises
    ------
    ReadError
        When the file is not an LMDB, or truncated.
    """
    import lmdb
    from ase_db_backends.aselmdb import RESERVED_KEYS

    try:
        with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as env:
            expected = int(env.stat()["psize"]) * (int(env.info()["last_pgno"]) + 1)
            if (size := path.stat().st_size) < expected - _MISSING_PAGES:
                raise ReadError(
                    f"{path}: expected an LMDB of {expected:,} bytes, by its header, found {size:,}: it was cut off"
                )
            with env.begin() as transaction:
                reserved = sum(transaction.get(key.encode()) is not None for key in RESERVED_KEYS)
            return int(env.stat()["entries"]) - reserved
    except lmdb.Error as error:
        raise ReadError(f"{path}: expected an ASE LMDB, found: {error}") from error


class TrajectoryRows(_AseRows):
    """Frames of an ASE trajectory.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ReadError
        When the file is not an ASE trajectory.
    """

    form = "ASE trajectory"
    unit = "frame"

    def __init__(self, path: Path) -> None:
        from ase.io.trajectory import TrajectoryReader
        from ase.io.ulm import InvalidULMFileError

        self.path = path
        try:
            self._reader = TrajectoryReader(path)
        except (OSError, ValueError, InvalidULMFileError) as error:
            raise ReadError(f"{path}: expected an ASE trajectory, found: {error}") from error

    def __len__(self) -> int:
        return len(self._reader)

    def _read(self, number: int) -> Atoms:
        atoms: Atoms = self._reader[number]
        return atoms

    def close(self) -> None:
        self._reader.close()
