"""Refuse a file that cannot be written before anything is computed for it; say how large it became."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer


def check_output(path: Path, store: Path | None = None, option: str = "--output") -> None:
    """Raise what the command line shows when `path` cannot become a file.

    Parameters
    ----------
    path : Path
        The file to be written.
    store : Path, optional
        What it is made from, which has to outlive it.
    option : str
        How the command calls it.

    Raises
    ------
    typer.BadParameter
        Names the option, what was expected and what was found.
    """
    target = path.expanduser().resolve()
    source = None if store is None else store.expanduser().resolve()
    if source is not None and (target == source or source in target.parents):
        raise typer.BadParameter(f"{option}: expected a file outside the store that it is made from, found {path}")
    if target.is_dir():
        raise typer.BadParameter(f"{option}: expected a file, found the folder {path}")
    if not target.parent.is_dir():
        raise typer.BadParameter(f"{option}: expected an existing folder, found {target.parent}")
    try:
        # asked of the file system itself: modes say nothing of a read-only or full one, and nothing to root
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise typer.BadParameter(
            f"{option}: expected a folder to write into, found {target.parent} ({error.strerror})"
        ) from None


def size_of(path: Path) -> str:
    """Size of a file in words: 3.1 MB, 12 kB."""
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 1):.0f} kB"
