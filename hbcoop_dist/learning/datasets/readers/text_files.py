"""Where things begin in a file: found by reading it through once, and kept for the next time.

A file of gigabytes is opened by every task that reads a part of it, on every worker.  What is kept lies in the user's
cache folder under a name made of the file's path, size and time of change, so a file that changes is read anew.

Read extended XYZ: the file is read through once for where its frames begin, then any frame is parsed by ASE.

Read ASE trajectories.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.models.checkpoints import cache_folder

if TYPE_CHECKING:
    from ase import Atoms
from typing import TYPE_CHECKING

Index = Mapping[str, NDArray[np.int64] | NDArray[np.str_]]

LEAST_BYTES = 32 * 2**20
"""Smaller files are read through faster than a cache is worth."""


def file_index(path: Path, kind: str, build: Callable[[Path], Index]) -> Index:
    """The index of a file; built by `build`, or as it was kept.

    Parameters
    ----------
    path : Path
    kind : str
        What is indexed, as another word for another content of the index.
    build : callable
        Path to arrays by name.
    """
    status = path.stat()
    if status.st_size < LEAST_BYTES:
        return build(path)
    text = f"{kind}\n{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    kept = cache_folder() / "indices" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
    with contextlib.suppress(OSError, ValueError, EOFError, zipfile.BadZipFile), np.load(kept) as arrays:
        return dict(arrays)
    found = build(path)
    partial = kept.with_suffix(f".{os.getpid()}.partial")
    # a cache that cannot be written costs time, and nothing else
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, **found)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
        os.replace(partial, kept)
    return found


class ExtxyzRows:
    """Frames of an extended XYZ file.

    Raises
    ------
    ReadError
        When it is none.
    """

    form = "extended XYZ"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begins = file_index(path, "frames of extended XYZ", _index)["begins"]
        self._file = path.open("rb")

    def __len__(self) -> int:
        return len(self._begins) - 1

    def place(self, number: int) -> str:
        return f"frame {number}"

    def atoms(self, number: int) -> Atoms:
        from ase.io import read

        begin, end = (int(one) for one in self._begins[number : number + 2])
        self._file.seek(begin)
        try:
            text = self._file.read(end - begin).decode()
            found: Atoms = read(io.StringIO(text), format="extxyz")
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            where = f"{self.path}, {self.place(number)}"
            raise ReadError(
                f"{where}: expected a frame of extended XYZ, found: {error}", "expected a frame of extended XYZ"
            ) from error
        return found

    def close(self) -> None:
        self._file.close()


def _index(path: Path) -> Index:
    """Offsets of the frames, and the end of the last: (frames + 1,)."""
    begins = [0]
    with path.open("rb") as file:
        while (header := file.readline()).strip():
            if header.lstrip().startswith(b"VEC"):
                # up to three lattice vectors after the atoms, as AMS writes them, belong to the frame
                begins[-1] += len(header)
                continue
            try:
                count = int(header)
            except ValueError:
                raise ReadError(
                    f"{path}, frame {len(begins) - 1}: expected an extended XYZ file, with a number of atoms on this "
                    f"line, found {header[:60]!r}"
                ) from None
            begins.append(begins[-1] + len(header) + _skip(file, count + 1))
    return {"begins": np.array(begins, dtype=np.int64)}


def _skip(file: BinaryIO, lines: int) -> int:
    """Bytes of so many lines, or of those that there are."""
    return sum(map(len, islice(file, lines)))


class TrajectoryRows:
    """Frames of an ASE trajectory.

    Raises
    ------
    ReadError
        When it is none.
    """

    form = "ASE trajectory"

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

    def place(self, number: int) -> str:
        return f"frame {number}"

    def atoms(self, number: int) -> Atoms:
        try:
            found: Atoms = self._reader[number]
        except Exception as error:  # a damaged file is decoded into whatever, and raises whatever comes of it
            raise ReadError(
                f"{self.path}, {self.place(number)}: expected a frame of an ASE trajectory, found: {error!r}",
                "expected a frame of an ASE trajectory",
            ) from error
        return found

    def close(self) -> None:
        self._reader.close()
