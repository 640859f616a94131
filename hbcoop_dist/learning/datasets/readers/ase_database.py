"""Read ASE databases: SQLite files, and LMDB files as fairchem writes them (``.aselmdb``, by ase-db-backends).

Beside the results of a row's calculator there are its key-value pairs and its ``data``, where OMol25 and ODAC25 keep
what ASE has no name for; all of them become ``info``.
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
"""Bytes that an LMDB file may be shorter than it says: pages that were freed before they were written."""


class _DatabaseRows:
    """Rows of an open database, by ``_ids``."""

    form: str
    path: Path
    _database: Any
    _ids: list[int]

    def __len__(self) -> int:
        return len(self._ids)

    def place(self, number: int) -> str:
        return f"row {self._ids[number]}"

    def atoms(self, number: int) -> Atoms:
        try:
            row = self._database.get(self._ids[number])
            atoms: Atoms = row.toatoms()
            atoms.info = {**row.data, **row.key_value_pairs}
        except Exception as error:  # a damaged row is decoded into whatever, and raises whatever comes of it
            raise ReadError(
                f"{self.path}, {self.place(number)}: expected a row of an {self.form}, found: {error!r}",
                f"expected a row of an {self.form}",
            ) from error
        return atoms


class SqliteRows(_DatabaseRows):
    """Rows of an ASE database in SQLite.

    Raises
    ------
    ReadError
        When it is none.
    """

    form = "ASE database (SQLite)"

    def __init__(self, path: Path) -> None:
        from ase.db import connect

        self.path = path
        # ASE would make its tables in a database that is not its own, and fetch whole rows for their numbers
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as raw:
                self._ids = [number for (number,) in raw.execute("SELECT id FROM systems ORDER BY id")]
        except sqlite3.Error as error:
            raise ReadError(f"{path}: expected an ASE database with a table of systems, found: {error}") from error
        self._database = connect(path, type="db", use_lock_file=False, create_indices=False)

    def close(self) -> None:
        """Nothing stays open between two rows."""


class LmdbRows(_DatabaseRows):
    """Rows of an ASE database in LMDB, as OMol25 and ODAC25 come.

    Raises
    ------
    ReadError
        When it is none, or cut off.
    """

    form = "ASE LMDB"

    def __init__(self, path: Path) -> None:
        self.path = path
        _check(path)
        from ase.db import connect

        try:
            self._database = connect(path, type="aselmdb", use_lock_file=False, readonly=True, readahead=False)
        except (ValueError, TypeError, zlib.error, json.JSONDecodeError) as error:
            raise ReadError(
                f"{path}: expected an LMDB of ASE rows (deflated JSON), found: {error!r}; LMDBs of pickled graphs, as "
                "OC20 came, are not read"
            ) from error
        self._ids = self._database.ids

    def close(self) -> None:
        self._database.close()


def count_lmdb(path: Path) -> int:
    """Rows of an LMDB, without a list of them; errors as of `LmdbRows`."""
    return _check(path)


def _check(path: Path) -> int:
    """Rows of an LMDB that is as long as it says: it is mapped into memory, and what is cut off kills a process."""
    import lmdb
    from ase_db_backends.aselmdb import RESERVED_KEYS

    try:
        with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as env:
            size = int(env.stat()["psize"]) * (int(env.info()["last_pgno"]) + 1)
            if (found := path.stat().st_size) < size - _MISSING_PAGES:
                raise ReadError(
                    f"{path}: expected an LMDB of {size:,} bytes, as it says, found {found:,}: it was cut off"
                )
            with env.begin() as transaction:
                reserved = sum(transaction.get(key.encode()) is not None for key in RESERVED_KEYS)
            return int(env.stat()["entries"]) - reserved
    except lmdb.Error as error:
        raise ReadError(f"{path}: expected an ASE LMDB, found: {error}") from error
