"""The lock admits one driver per store, also across processes, and a dead driver releases it."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest
from small_store import LABELS

from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.store import StoreError, StoreLock, StoreLockedError, StoreWriter, prepare_store

pytestmark = pytest.mark.filterwarnings("error")

HOLDER = """
import sys
from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.store import StoreWriter
with StoreWriter(sys.argv[1], HBOND_SCHEMA):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_second_driver_is_refused_and_told_who_holds_the_store(
    store: Path, protocol: dict[str, object], python: Callable[..., Popen[str]]
) -> None:
    process = python(HOLDER, store)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    message = f"pid {process.pid} on {platform.node()} since 20"
    with pytest.raises(StoreLockedError, match=message):
        StoreWriter(store, HBOND_SCHEMA)
    with pytest.raises(StoreLockedError, match=message):
        prepare_store(store, HBOND_SCHEMA, LABELS, protocol=protocol)
    process.communicate("\n")
    StoreWriter(store, HBOND_SCHEMA).close()


def test_lock_of_a_killed_driver_is_free_at_once(store: Path, python: Callable[..., Popen[str]]) -> None:
    process = python(HOLDER, store)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    StoreWriter(store, HBOND_SCHEMA).close()


def test_second_driver_in_the_same_process_is_refused_too(store: Path) -> None:
    with StoreWriter(store, HBOND_SCHEMA), pytest.raises(StoreLockedError):
        StoreWriter(store, HBOND_SCHEMA)


def test_every_route_to_a_store_leads_to_the_same_lock(store: Path) -> None:
    link = store.with_name("link.zarr")
    link.symlink_to(store)
    with StoreLock(store), pytest.raises(StoreLockedError):
        StoreLock(link)


def test_lock_of_the_caller_is_used_and_stays_his(tmp_path: Path, protocol: dict[str, object]) -> None:
    path = tmp_path / "new" / "quick.zarr"
    with StoreLock(path) as lock:
        prepare_store(path, HBOND_SCHEMA, LABELS, protocol=protocol, lock=lock)
        StoreWriter(path, HBOND_SCHEMA, lock=lock).close()
        with pytest.raises(StoreLockedError):
            StoreLock(path)
    StoreLock(path).release()


def test_releasing_twice_does_not_free_somebody_elses_lock(store: Path) -> None:
    first = StoreLock(store)
    first.release()
    with StoreLock(store):
        first.release()
        with pytest.raises(StoreLockedError, match="pid"):
            StoreLock(store)


def test_folder_that_cannot_hold_a_lock(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="expected a folder in which files can be locked"):
        StoreLock(tmp_path / "file" / "quick.zarr")


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A soft lock in its place would outlive a killed driver."""

    def unsupported(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(StoreError, match="expected a folder in which files can be locked"):
        StoreLock(tmp_path / "quick.zarr")
    assert not (tmp_path / "quick.zarr.lock.txt").exists()
