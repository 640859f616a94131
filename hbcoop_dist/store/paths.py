"""A store is a directory and a handful of files beside it: their names are decided here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SYSTEMS = "systems"
"""Group of the marked systems inside a store."""


@dataclass(frozen=True, slots=True)
class StorePaths:
    """Where a store and its companions live; all stand in the same directory, so that renames are atomic.

    Attributes
    ----------
    store : Path
        The Zarr group.
    journal : Path
        Append-only journal of task results.
    lock : Path
        File whose lock the driver holds.
    holder : Path
        Text that says who holds the lock.
    growing : Path
        A store under construction; never read by anyone.
    scratch : Path
        Folder of restart files of the minimisations that are going on.
    kept : Path
        Folder of results that are too large for the journal, which names them.
    logs : Path
        Folder of what workers and jobs write.
    progress : Path
        How the run that is going on stands, for `hbcoop status`.
    replaced : Path
        The former store between the two renames of a growth.
    """

    store: Path
    journal: Path
    lock: Path
    holder: Path
    growing: Path
    replaced: Path
    scratch: Path
    kept: Path
    logs: Path
    progress: Path

    @classmethod
    def of(cls, path: str | Path) -> StorePaths:
        """Companions of the store at `path`; links are followed, so that every route leads to the same lock."""
        store = Path(path).expanduser().resolve()

        def beside(suffix: str) -> Path:
            return store.with_name(store.name + suffix)

        return cls(
            store=store,
            journal=beside(".journal"),
            lock=beside(".lock"),
            holder=beside(".lock.txt"),
            growing=beside(".growing"),
            replaced=beside(".replaced"),
            scratch=beside(".scratch"),
            kept=beside(".kept"),
            logs=beside(".logs"),
            progress=beside(".progress.json"),
        )


def scratch_path(path: str | Path) -> Path:
    """Folder of restart files that belongs to the store at `path`."""
    return StorePaths.of(path).scratch


def kept_path(path: str | Path) -> Path:
    """Folder of large results that belongs to the store at `path`."""
    return StorePaths.of(path).kept


def logs_path(path: str | Path) -> Path:
    """Folder of worker logs that belongs to the store at `path`."""
    return StorePaths.of(path).logs


def progress_path(path: str | Path) -> Path:
    """File that says how the run of the store at `path` stands."""
    return StorePaths.of(path).progress


def journal_path(path: str | Path) -> Path:
    """Path of the journal that belongs to the store at `path`."""
    return StorePaths.of(path).journal
