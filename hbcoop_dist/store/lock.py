"""Lock that admits one driver per store: two writers of one chunk would lose each other's values.

The operating system holds the lock, so that it is free again when its holder dies, in whatever way.
"""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from hbcoop_dist.store.paths import StoreError, StoreLockedError, StorePaths, refuse_archive


class StoreLock:
    """Exclusive lock on one store, held from construction to `release`.

    Parameters
    ----------
    path : str or Path
        The store; it need not exist.

    Raises
    ------
    StoreLockedError
        When another driver holds it; the message names its process, host and start.
    StoreSchemaError
        When the path names an archive, which is only read.
    StoreError
        When the folder cannot be written to, or its file system has no locks.
    """

    def __init__(self, path: str | Path) -> None:
        from filelock import FileLock, Timeout

        self.paths = StorePaths.of(path)
        refuse_archive(self.paths.store)
        # A soft lock would outlive a killed driver, so a file system without real locks is refused instead.
        self._lock = FileLock(self.paths.lock, timeout=0, thread_local=False, fallback_to_soft=False)
        try:
            self.paths.lock.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise StoreLockedError(
                f"{self.paths.store}: expected no other driver, found {_holder(self.paths.holder)}; "
                "wait until it ends, or stop it"
            ) from None
        except OSError as error:
            raise StoreError(f"{self.paths.lock}: expected a folder in which files can be locked, {error}") from error
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.paths.holder.write_text(f"pid {os.getpid()} on {platform.node()} since {now}\n", encoding="utf-8")

    def release(self) -> None:
        """Release the lock; a second call has no effect."""
        if self._lock.is_locked:
            self.paths.holder.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> StoreLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"
