"""The process that becomes a Dask worker: it knows its rank in the job, its GPU and its number of threads.

    python -m hbcoop_dist.clusters.dask_worker SCHEDULER --name main-3 --nthreads 8 ...

takes the options of ``dask worker``.  What it adds: several of them in one Slurm job get names of their own and one GPU
each; ``--nthreads`` are threads of torch and BLAS under one Dask thread, since a model is not safe to call from two;
it refuses to work for a driver with another protocol; and what it does is logged line by line, in JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

LOGS = "HBCOOP_WORKER_LOGS"
PROTOCOL = "HBCOOP_WORKER_PROTOCOL"
NAME = "HBCOOP_WORKER_NAME"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CALM = {
    "distributed": {
        "admin": {"tick": {"interval": "1s"}, "system-monitor": {"interval": "2s"}},
        "worker": {"memory": {"monitor-interval": "500ms"}, "profile": {"interval": "100ms"}},
    }
}
"""Defaults in place of Dask's: an idle worker and its nanny take 1.2 % of a core instead of 9.4 % (measured), for which
the model next to them has more use. A setting of the user's own stands."""
_log = logging.getLogger("hbcoop_dist.clusters.dask_worker")


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how bad, who, what; whatever is passed as ``extra={"data": {...}}`` beside it."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "worker": os.environ.get(NAME, ""),
            "event": record.getMessage(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content, default=str)


def arguments(argv: Sequence[str], environ: MutableMapping[str, str]) -> list[str]:
    """The options of ``dask worker`` for this process; sets what the environment must say about threads and the GPU.

    Parameters
    ----------
    argv : sequence of str
        Options as they stand in the job script, the same for every process of a job.
    environ : mutable mapping
        Slurm's SLURM_NTASKS, SLURM_PROCID and SLURM_LOCALID are read.
    """
    options = list(argv)
    name, threads = _value(options, "--name"), _value(options, "--nthreads")
    # only a job step that srun started has a rank; the batch script itself has SLURM_NTASKS, but no such step
    several = int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    if several:
        name = f"{name}-{environ['SLURM_PROCID']}"
        gpus = [gpu for gpu in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        if len(gpus) > 1:
            # a site whose srun binds no GPUs shows all of the node's to every process
            environ["CUDA_VISIBLE_DEVICES"] = gpus[int(environ["SLURM_LOCALID"]) % len(gpus)]
    environ.update(dict.fromkeys(THREADS, threads))
    environ[NAME] = name
    _set(options, "--name", name)
    _set(options, "--nthreads", "1")
    return [*options, "--nworkers", "1", "--no-dashboard", "--preload", "hbcoop_dist.clusters.dask_worker"]


def _value(options: Sequence[str], name: str) -> str:
    return options[options.index(name) + 1]


def _set(options: list[str], name: str, value: str) -> None:
    options[options.index(name) + 1] = value


def _check_protocol() -> None:
    from hbcoop_dist.core.tasks import PROTOCOL_VERSION

    wanted, found = os.environ.get(PROTOCOL), str(PROTOCOL_VERSION)
    if wanted is not None and wanted != found:
        sys.exit(
            f"{sys.executable}: expected hbcoop_dist of the driver's protocol {wanted}, found {found} "
            f"(version {version('hbcoop_dist')})"
        )


class QuietFileHandler(logging.FileHandler):
    """A log that cannot be written costs no results."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)


class BatchLog:
    """The log lines of one batch: begun, done or failed, and how long it took."""

    def __init__(self, name: str, tasks: int) -> None:
        self._data: dict[str, object] = {"batch": name, "tasks": tasks}
        self._reason = ""

    def __enter__(self) -> BatchLog:
        self._started = time.perf_counter()
        # the line that tells what a worker was doing when it died
        _log.info("begun", extra={"data": self._data})
        return self

    def failed(self, reason: str) -> None:
        """Say why there are no results; called where the exception is at hand."""
        self._reason = reason
        _log.error("failed", extra={"data": {**self._data, "reason": reason}}, exc_info=True)

    def __exit__(self, *_: object) -> None:
        if not self._reason:
            seconds = round(time.perf_counter() - self._started, 3)
            _log.info("done", extra={"data": {**self._data, "seconds": seconds}})


def dask_setup(worker: object) -> None:
    """Dask calls this in the worker process: from here on what happens goes into the worker's log."""
    name = os.environ.get(NAME, "worker")
    if folder := os.environ.get(LOGS):
        handler = QuietFileHandler(os.path.join(folder, f"{name}.jsonl"), delay=True)
        handler.setFormatter(JsonLines())
        logger = logging.getLogger("hbcoop_dist")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    shown = {
        "pid": os.getpid(),
        "address": getattr(worker, "address", ""),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "threads": os.environ.get(THREADS[0], ""),
        "python": sys.executable,
        "version": version("hbcoop_dist"),
    }
    _log.info("started", extra={"data": shown})


def main() -> None:
    """Become a Dask worker."""
    if __spec__ is not None:
        # run as a module, so maybe that of another Python than the driver's
        _check_protocol()
    options = arguments(sys.argv[1:], os.environ)
    import dask
    from distributed.cli.dask_worker import main as dask_worker

    # the nanny hands its settings on to its workers
    dask.config.update_defaults(CALM)
    dask_worker(options)


if __name__ == "__main__":
    main()
