"""What every reader promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ase import Atoms


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
