"""Several files as one list of rows: rows are asked for in ascending order, so one file is open at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from hbcoop_dist.generalization.readers.files import files_of
from hbcoop_dist.generalization.readers.open_rows import count_in, open_rows
from hbcoop_dist.generalization.readers.rows import Rows


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
