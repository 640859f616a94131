"""Where Dask runs: today the workers of this machine; cluster profiles come on top of the same two lines of use."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import SpecCluster


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def local_cluster(workers: int | None = None, dashboard: str = "127.0.0.1:0") -> SpecCluster:
    """A scheduler in this process and single-threaded workers in processes of their own, one per core.

    Like `distributed.LocalCluster`, but each worker starts from Dask's command line instead of a copy of the user's
    program, so that a plain script needs no ``if __name__ == "__main__"``.

    Parameters
    ----------
    workers : int, optional
        Number of workers; one per usable core by default.
    dashboard : str
        Address of the Dask dashboard; port 0 takes a free one.

    Notes
    -----
    Every worker has one thread for BLAS, OpenMP and torch (Dask's nanny sets the variables): two threads per process
    made small torch calls 5 to 40 times slower on a busy machine.
    """
    import dask
    from distributed import Scheduler, SpecCluster
    from distributed.deploy.subprocess import SubprocessWorker

    count = workers or usable_cores()
    # A worker whose nanny died too is given up after this time, and replaced by `replace_lost_workers`.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "5s"})
    # Dask keeps the last thousand messages to every worker for debugging, ours with their Hessians of 0.2 MB a batch.
    dask.config.set({"distributed.admin.low-level-log-length": 0})
    # Workers inherit it; without it every one of them announces its coming and going.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    return SpecCluster(
        workers={name: _worker(SubprocessWorker, name) for name in (f"local-{i}" for i in range(count))},
        scheduler={
            "cls": Scheduler,
            "options": {"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": dashboard},
        },
        name="hbcoop-local",
        silence_logs=logging.ERROR,
    )


def _worker(kind: type, name: str) -> dict[str, object]:
    # The name makes the cluster notice that this worker, and not another, is gone.
    return {"cls": kind, "options": {"worker_kwargs": {"name": name, "nthreads": 1, "death_timeout": 60}}}


def replace_lost_workers(cluster: SpecCluster) -> None:
    """Start again what died together with its nanny; a cluster does not do so until it is asked for its size."""
    cluster.scale(len(cluster.worker_spec))


class DeviceError(ValueError):
    """A device that is not there, or is none; the message says what there is."""


def check_device(device: str) -> None:
    """Raise `DeviceError` unless `device` is ``cpu``, or a CUDA device torch sees here."""
    if device == "cpu":
        return
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise DeviceError(f"device: expected cpu, cuda or cuda:N, found {device!r}")
    count = 0
    if importlib.util.find_spec("torch") is not None:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(match[1] or 0) >= count:
        raise DeviceError(f"device: expected one of the {count} CUDA devices torch sees here, found {device!r}")
