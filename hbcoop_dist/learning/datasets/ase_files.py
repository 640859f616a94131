"""Read the formats that ASE parses: extended XYZ, databases (SQLite, and fairchem's LMDB), and trajectories.

Beside the results of its calculator, a row of a database has key-value pairs and ``data``, where OMol25 and ODAC25 keep
what ASE has no name for; both become ``info``.

A large file of text is opened by every task that reads a part of it, on every worker. Its index, the offsets of its
frames, is therefore kept in the user's cache folder, under a name made of the file's path, size and modification time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbcoop_dist.core.arrays import IntArray, TextArray
from hbcoop_dist.core.files import atomic_write
from hbcoop_dist.learning.datasets.frames import ReadError, Rows
from hbcoop_dist.models.checkpoints import cache_folder

if TYPE_CHECKING:
    from ase import Atoms

Index = Mapping[str, IntArray | TextArray]
"""Arrays by name that locate the entries of a file."""

LEAST_BYTES = 32 * 2**20
"""Size from which an index is cached; smaller files are read faster than a cache helps."""


_MISSING_PAGES = 2**20
"""Bytes that an LMDB file may be shorter than its header states: pages that were freed before they were written."""


def file_index(path: Path, kind: str, build: Callable[[Path], Index]) -> Index:
    """Return the index of a file, from the cache if it is there.

    Parameters
    ----------
    path : Path
    kind : str
        Kind of index, part of its name in the cache.
    build : callable
        Builds the index from the path.
    """
    status = path.stat()
    if status.st_size < LEAST_BYTES:
        return build(path)
    text = f"{kind}\n{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    cached = cache_folder() / "indices" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
    with contextlib.suppress(OSError, ValueError, EOFError, zipfile.BadZipFile), np.load(cached) as arrays:
        return dict(arrays)
    index = build(path)
    # a cache that cannot be written only costs time
    with contextlib.suppress(OSError), atomic_write(cached) as file:
        np.savez(file, **index)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    return index


class ExtxyzRows(Rows):
    """Frames of an extended XYZ file.

    The file is read once for the offsets of its frames; each frame is then parsed by ASE.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ReadError
        When the file is not extended XYZ.
    """

    form = "extended XYZ"
    entry = "frame of extended XYZ"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begins = file_index(path, "frames of extended XYZ", _frame_offsets)["begins"]
        self._file = path.open("rb")

    def __len__(self) -> int:
        return len(self._begins) - 1

    def _read(self, number: int) -> Atoms:
        from ase.io import read

        begin, end = (int(offset) for offset in self._begins[number : number + 2])
        self._file.seek(begin)
        atoms: Atoms = read(io.StringIO(self._file.read(end - begin).decode()), format="extxyz")
        return atoms

    def close(self) -> None:
        self._file.close()


def _frame_offsets(path: Path) -> Index:
    """Offsets of the frames, and the end of the last: (frames + 1,)."""
    begins = [0]
    with path.open("rb") as file:
        while (header := file.readline()).strip():
            if header.lstrip().startswith(b"VEC"):
                # AMS writes up to three lattice vectors after the atoms, which belong to the frame
                begins[-1] += len(header)
                continue
            try:
                count = int(header)
            except ValueError:
                raise ReadError(
                    f"{path}, frame {len(begins) - 1}: expected an extended XYZ file, with a number of atoms on this "
                    f"line, found {header[:60]!r}"
                ) from None
            begins.append(begins[-1] + len(header) + sum(map(len, islice(file, count + 1))))
    return {"begins": np.array(begins, dtype=np.int64)}


class _DatabaseRows(Rows):
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
    entry = "row of an ASE database (SQLite)"

    def __init__(self, path: Path) -> None:
        from ase.db import connect

        self.path = path
        # ids are read without ASE, which would create its tables in a foreign database and fetch whole rows
        try:
            with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as raw:
                self._ids = [number for (number,) in raw.execute("SELECT id FROM systems ORDER BY id")]
        except sqlite3.Error as error:
            raise ReadError(f"{path}: expected an ASE database with a table of systems, found: {error}") from error
        self._database = connect(path, type="db", use_lock_file=False, create_indices=False)


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
    entry = "row of an ASE LMDB"

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


class TrajectoryRows(Rows):
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
    entry = "frame of an ASE trajectory"

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
