"""Where Dask runs: today the workers of this machine; cluster profiles come on top of the same two lines of use."""

from __future__ import annotations

import logging
import os
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
    from distributed import Scheduler, SpecCluster
    from distributed.deploy.subprocess import SubprocessWorker

    count = workers or usable_cores()
    # Workers inherit it; without it every one of them announces its coming and going.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    options = {"worker_kwargs": {"nthreads": 1, "death_timeout": 60}}
    return SpecCluster(
        workers={f"local-{i}": {"cls": SubprocessWorker, "options": options} for i in range(count)},
        scheduler={
            "cls": Scheduler,
            "options": {"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": dashboard},
        },
        name="hbcoop-local",
        silence_logs=logging.ERROR,
    )
