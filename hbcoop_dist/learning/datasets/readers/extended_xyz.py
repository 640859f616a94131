"""Read extended XYZ by frame, and keep indices of large files in a cache.

A large file is opened by every task that reads a part of it, on every worker. Its index, the offsets of its frames, is
therefore kept in the user's cache folder, under a name made of the file's path, size and modification time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from hbcoop_dist.core.arrays import IntArray, TextArray
from hbcoop_dist.core.files import atomic_write
from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.models.checkpoints import cache_folder

if TYPE_CHECKING:
    from ase import Atoms

Index = Mapping[str, IntArray | TextArray]
"""Arrays by name that locate the entries of a file."""

LEAST_BYTES = 32 * 2**20
"""Size from which an index is cached; smaller files are read faster than a cache helps."""


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


class ExtxyzRows:
    """Frames of an extended XYZ file; see `hbcoop_dist.learning.datasets.readers.file_rows.Rows`.

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

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begins = file_index(path, "frames of extended XYZ", _frame_offsets)["begins"]
        self._file = path.open("rb")

    def __len__(self) -> int:
        return len(self._begins) - 1

    def position(self, number: int) -> str:
        return f"frame {number}"

    def atoms(self, number: int) -> Atoms:
        from ase.io import read

        begin, end = (int(offset) for offset in self._begins[number : number + 2])
        self._file.seek(begin)
        try:
            text = self._file.read(end - begin).decode()
            atoms: Atoms = read(io.StringIO(text), format="extxyz")
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ReadError(
                f"{self.path}, {self.position(number)}: expected a frame of extended XYZ, found: {error}",
                "expected a frame of extended XYZ",
            ) from error
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
            begins.append(begins[-1] + len(header) + _skip_lines(file, count + 1))
    return {"begins": np.array(begins, dtype=np.int64)}


def _skip_lines(file: BinaryIO, lines: int) -> int:
    """Skip lines, or as many as there are; return their bytes."""
    return sum(map(len, islice(file, lines)))
