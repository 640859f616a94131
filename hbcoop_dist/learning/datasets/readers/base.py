"""What every reader promises.

Which files a path stands for: itself, or the shards of a folder, in the order of their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ase import Atoms
from hbcoop_dist.learning.datasets.frames import ReadError
from hbcoop_dist.learning.datasets.readers.qmof import find_qmof, qmof_parts


class Rows(Protocol):
    """Structures of one file or folder: any of them at any time, none kept in memory.

    What a structure has beside its geometry stands in ``arrays``, ``info`` and the results of its calculator, under
    the names of the file.
    """

    @property
    def form(self) -> str:
        """The format, in words."""
        ...

    @property
    def path(self) -> Path: ...

    def __len__(self) -> int: ...

    def place(self, number: int) -> str:
        """Where structure `number`, from 0, stands: ``frame 3``, ``row 17``."""
        ...

    def atoms(self, number: int) -> Atoms:
        """Structure `number`, from 0.

        Raises
        ------
        ReadError
            When it is damaged.
        """
        ...

    def close(self) -> None: ...


SUFFIXES = {
    ".xyz": "extended XYZ",
    ".extxyz": "extended XYZ",
    ".db": "ASE databases",
    ".aselmdb": "ASE LMDBs",
    ".traj": "ASE trajectories",
}
"""What is looked for in a folder."""


def files_of(path: Path | str) -> list[Path]:
    """The files of a set: a file, or a folder that is a QMOF database, or all files of one format below a folder.

    Raises
    ------
    ReadError
        When there is nothing, or files of several formats.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ReadError(f"{root}: expected a file or a folder, found none")
    if find_qmof(root) is not None:
        return [root]
    shards = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    forms = sorted({SUFFIXES[file.suffix.lower()] for file in shards})
    if len(forms) != 1:
        raise ReadError(
            f"{root}: expected a QMOF database, or files of one format ({', '.join(SUFFIXES)}), "
            f"found {', '.join(forms) or 'none'}"
        )
    return shards


def parts_of(path: Path | str) -> list[Path]:
    """The files whose content decides what is read; errors as of `files_of`."""
    files = files_of(path)
    return [part for file in files for part in (qmof_parts(file) if file.is_dir() else [file])]
