"""Restart files: the state of a long minimisation by the key of its task, from which a killed one continues.

Workers write them into a folder beside the store. They are never results: an unreadable file only costs a start from
the beginning.
"""

from __future__ import annotations

import contextlib
import time
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from hbcoop_dist.core.files import atomic_write
from hbcoop_dist.optimize.quasi_newton import State

SAVE_SECONDS = 20.0
"""Interval between two writes of one minimisation, and its duration before the first."""


class RestartFolder:
    """Restart files of one store.

    Parameters
    ----------
    folder : str or Path or None
        Created with the first file; None writes no files.
    seconds : float
        Shortest interval between two writes of one minimisation.
    """

    def __init__(self, folder: str | Path | None, seconds: float = SAVE_SECONDS) -> None:
        self._folder = None if folder is None else Path(folder)
        self._seconds = seconds
        self._saved_at: dict[str, float] = {}

    def save_if_due(self, key: str, state: State) -> None:
        """Save a state if the interval since the last write has passed.

        Parameters
        ----------
        key : str
            Key of the task.
        state : State
        """
        now = time.monotonic()
        if self._folder is not None and now - self._saved_at.setdefault(key, now) >= self._seconds:
            self._saved_at[key] = now
            self.save(key, state)

    def save(self, key: str, state: State) -> None:
        """Save a state atomically; write errors are ignored, since they cost the restart and not the minimisation.

        Parameters
        ----------
        key : str
            Key of the task.
        state : State
        """
        if self._folder is None:
            return
        values = {field.name: getattr(state, field.name) for field in fields(State)}
        with contextlib.suppress(OSError), atomic_write(self._path(key)) as file:
            np.savez(file, **{name: value for name, value in values.items() if value is not None})

    def load(self, key: str, n_q: int, n_free: int) -> State | None:
        """Load the state of a task.

        Parameters
        ----------
        key : str
            Key of the task.
        n_q, n_free : int
            Number of coordinates, and of free directions of the constraint.

        Returns
        -------
        State or None
            None when there is no readable file, or the sizes differ.
        """
        if self._folder is None:
            return None
        try:
            with self._path(key).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            state = State(**{name: array if array.ndim else array.item() for name, array in arrays.items()})
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        fits = state.q.shape == (n_q,) and state.curvature.shape == (n_free, n_free)
        return state if fits else None

    def remove(self, key: str) -> None:
        """Remove the files of a task whose minimisations have ended, those of its stages included.

        Parameters
        ----------
        key : str
            Key of the task.
        """
        if self._folder is not None:
            with contextlib.suppress(OSError):
                for path in self._folder.glob(f"{key}*.npz"):
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder if it is empty."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.rmdir()

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key}.npz"
