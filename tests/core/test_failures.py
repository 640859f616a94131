"""Exceptions of workers, classified by name and message."""

from __future__ import annotations

import pickle

import pytest

from hbcoop_dist.core.failures import Failure, LostWorkerError, is_out_of_memory


def _foreign(name: str, message: str, *, base: type[Exception] = RuntimeError) -> Exception:
    """An exception whose type belongs to a package that is not imported here."""
    kind = type(name, (base,), {})
    return kind(message)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("8 GB"), "out of memory"),
        (_foreign("OutOfMemoryError", "tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("Failed to allocate 1073741824 bytes on device 'cuda:0'"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), "out of memory"),
        (_foreign("UnknownElementError", "He"), "bad structure"),
        (_foreign("ReadError", "row 3", base=ValueError), "bad structure"),
        (FileNotFoundError("x.model"), "missing checkpoint"),
        (_foreign("CheckpointError", "sha256 differs"), "missing checkpoint"),
        (ModuleNotFoundError("No module named 'sevenn'"), "missing package"),
        (_foreign("ModelError", "model so3lr: package so3krates_torch is not installed here"), "missing package"),
        (LostWorkerError("worker main-1 died"), "lost worker"),
        (ZeroDivisionError("division by zero"), "code"),
        (RuntimeError("linalg: the matrix is singular"), "code"),
    ],
)
def test_kinds(error: Exception, kind: str) -> None:
    failure = Failure.of(error)
    assert failure.kind == kind
    assert failure.reason.startswith(f"{kind}: ")
    assert str(error) in failure.reason
    assert is_out_of_memory(error) == (kind == "out of memory")


@pytest.mark.parametrize(("blamed", "expired"), [(True, False), (False, True), (False, False)])
def test_a_lost_worker_keeps_its_cause(blamed: bool, expired: bool) -> None:
    failure = Failure.of(LostWorkerError("the walltime ended", blamed=blamed, expired=expired))
    assert (failure.blamed, failure.expired) == (blamed, expired)
    assert failure.reason == "lost worker: the walltime ended"


def test_every_other_failure_counts_against_the_batch() -> None:
    assert Failure.of(MemoryError()) == Failure("out of memory", "MemoryError:", blamed=True, expired=False)


def test_a_failure_travels_between_processes() -> None:
    failure = Failure.of(LostWorkerError("gone", blamed=False))
    assert pickle.loads(pickle.dumps(failure)) == failure
