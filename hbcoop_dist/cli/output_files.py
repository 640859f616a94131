"""Checks of output files before anything is computed for them, and their sizes as text."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer


def check_output(path: Path, store: Path | None = None, option: str = "--output") -> None:
    """Check that a file can be written.

    Parameters
    ----------
    path : Path
        File to write.
    store : Path, optional
        Store that the file is made from; the file must not replace it or lie in it.
    option : str
        Name of the option in messages.

    Raises
    ------
    typer.BadParameter
        When it cannot; the message names the option, what was expected and what was found.
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
        # file modes do not show a read-only or full file system, and do not restrict root
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise typer.BadParameter(
            f"{option}: expected a folder to write into, found {target.parent} ({error.strerror})"
        ) from None


def size_of(path: Path) -> str:
    """Return the size of a file as text, e.g. 3.1 MB or 12 kB.

    Parameters
    ----------
    path : Path
    """
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 1):.0f} kB"
