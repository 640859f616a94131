"""Read ASE trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hbcoop_dist.generalization.reading import ReadError

if TYPE_CHECKING:
    from ase import Atoms


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
