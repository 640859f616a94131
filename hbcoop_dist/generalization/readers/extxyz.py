"""Read extended XYZ: the file is read through once for where its frames begin, then any frame is parsed by ASE."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from hbcoop_dist.generalization.readers.file_index import Index, file_index
from hbcoop_dist.generalization.reading import ReadError

if TYPE_CHECKING:
    from ase import Atoms


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
