"""Where things begin in a file: found by reading it through once, and kept for the next time.

A file of gigabytes is opened by every task that reads a part of it, on every worker.  What is kept lies in the user's
cache folder under a name made of the file's path, size and time of change, so a file that changes is read anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.checkpoints import cache_folder

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
