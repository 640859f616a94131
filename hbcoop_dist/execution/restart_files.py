"""Restart files: where a long minimisation stands, by the key of its task, so that a killed one goes on from there.

A folder of small files beside the store, written by the workers; what is in them is never a result.  A file that
cannot be read costs a start from the beginning, nothing else.
"""

from __future__ import annotations

import contextlib
import os
import time
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from hbcoop_dist.optimize.quasi_newton import State

SECONDS = 20.0
"""A minimisation is written down this often, and not before it has lasted that long."""


class RestartFolder:
    """Restart files of one store.

    Parameters
    ----------
    folder : str or Path or None
        Made when the first file is written; None keeps nothing.
    seconds : float
        Least time between two writes of one minimisation.
    """

    def __init__(self, folder: str | Path | None, seconds: float = SECONDS) -> None:
        self._folder = None if folder is None else Path(folder)
        self._seconds = seconds
        self._written: dict[str, float] = {}

    def keep(self, key: str, state: State) -> None:
        """Write a state down if it is time to."""
        now = time.monotonic()
        if self._folder is not None and now - self._written.setdefault(key, now) >= self._seconds:
            self._written[key] = now
            self.write(key, state)

    def write(self, key: str, state: State) -> None:
        """Write a state down; a reader sees the file before or the file after.

        A disk that is full, or a folder that cannot be written, costs the restart and not the minimisation.
        """
        if self._folder is None:
            return
        path = self._path(key)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        values = {field.name: getattr(state, field.name) for field in fields(State)}
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.savez(file, **{name: v for name, v in values.items() if v is not None})
            os.replace(partial, path)

    def read(self, key: str, n_q: int, n_free: int) -> State | None:
        """The state kept for a task; None when there is none, or none of a structure with so many coordinates."""
        if self._folder is None:
            return None
        try:
            with self._path(key).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
            whole = {name: v if v.ndim else v.item() for name, v in values.items()}
            state = State(**whole)
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        fits = state.q.shape == (n_q,) and state.curvature.shape == (n_free, n_free)
        return state if fits else None

    def forget(self, key: str) -> None:
        """The minimisation is over."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._path(key).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder if nothing is left in it."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.rmdir()

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key}.npz"
