"""The worker process: ``dask worker`` with a rank in its job, a GPU of its own, a protocol check and JSON logs.

    python -m hbcoop_dist.clusters.dask_worker SCHEDULER --name main-3 --nthreads 8 ...

accepts the options of ``dask worker``. Several workers in one Slurm job get distinct names and one GPU each.
``--nthreads`` sets the threads of torch and BLAS under a single Dask thread, since models are not thread-safe.
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
from importlib.metadata import entry_points, version

LOGS_VARIABLE = "HBCOOP_WORKER_LOGS"
PROTOCOL_VARIABLE = "HBCOOP_WORKER_PROTOCOL"
NAME_VARIABLE = "HBCOOP_WORKER_NAME"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
KINDS_GROUP = "hbcoop_dist.campaign_kinds"
"""Entry point group of the campaign kinds."""
QUIET_CONFIG = {
    "distributed": {
        "admin": {"tick": {"interval": "1s"}, "system-monitor": {"interval": "2s"}},
        "worker": {"memory": {"monitor-interval": "500ms"}, "profile": {"interval": "100ms"}},
    }
}
"""Defaults that replace Dask's: an idle worker and its nanny use 1.2 % of a core instead of 9.4 % (measured). Settings
of the user take precedence."""
_log = logging.getLogger("hbcoop_dist.clusters.dask_worker")


class JsonLines(logging.Formatter):
    """Format a log record as one JSON object with time, level, worker, event, and the fields of ``extra["data"]``."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "worker": os.environ.get(NAME_VARIABLE, ""),
            "event": record.getMessage(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content, default=str)


def worker_arguments(argv: Sequence[str], environ: MutableMapping[str, str]) -> list[str]:
    """Return the options of ``dask worker`` for this process, and set its threads, name and GPU in the environment.

    Parameters
    ----------
    argv : sequence of str
        Options in the job script, the same for every process of a job.
    environ : mutable mapping
        Environment; SLURM_STEP_NUM_TASKS, SLURM_PROCID, SLURM_LOCALID and CUDA_VISIBLE_DEVICES are read.

    Returns
    -------
    list of str
    """
    options = list(argv)
    name_at, threads_at = options.index("--name") + 1, options.index("--nthreads") + 1
    name, threads = options[name_at], options[threads_at]
    # only a step that srun started has a rank; the batch script itself has SLURM_NTASKS, but no step
    if int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        name = f"{name}-{environ['SLURM_PROCID']}"
        gpus = [gpu for gpu in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        if len(gpus) > 1:
            # where srun binds no GPUs, every process sees all GPUs of the node
            environ["CUDA_VISIBLE_DEVICES"] = gpus[int(environ["SLURM_LOCALID"]) % len(gpus)]
    environ.update(dict.fromkeys(THREAD_VARIABLES, threads))
    environ[NAME_VARIABLE] = name
    options[name_at], options[threads_at] = name, "1"
    return [*options, "--nworkers", "1", "--no-dashboard", "--preload", "hbcoop_dist.clusters.dask_worker"]


def check_protocol(protocol: str) -> None:
    """Check that this Python has the driver's campaign kind with the same protocol version.

    Parameters
    ----------
    protocol : str
        ``KIND=VERSION`` of the driver.

    Raises
    ------
    SystemExit
        When the kind is missing or has another version. The message names this Python and both versions.
    """
    kind, _, expected = protocol.partition("=")
    points = {point.name: point for point in entry_points(group=KINDS_GROUP)}
    if kind not in points:
        found = f"only {', '.join(sorted(points)) or 'none'}"
    else:
        try:
            installed = str(points[kind].load().protocol_version)
        except ImportError as error:
            installed = f"none ({error})"
        if installed == expected:
            return
        found = f"version {installed}"
    sys.exit(
        f"{sys.executable}: expected campaign kind {kind} with the driver's protocol version {expected}, found {found} "
        f"(hbcoop_dist {version('hbcoop_dist')})"
    )


class QuietFileHandler(logging.FileHandler):
    """A log file whose write errors are ignored, so that a full disk does not stop the computation."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)


class BatchLog:
    """Context manager that logs the start, end and duration of one batch.

    Parameters
    ----------
    name : str
        Name of the batch.
    tasks : int
        Number of its tasks.
    """

    def __init__(self, name: str, tasks: int) -> None:
        self._data: dict[str, object] = {"batch": name, "tasks": tasks}
        self._failed = False

    def __enter__(self) -> BatchLog:
        self._started = time.perf_counter()
        # written before the work, so that the log of a worker that died names its last batch
        _log.info("begun", extra={"data": self._data})
        return self

    def failed(self, reason: str) -> None:
        """Log that the batch failed; to be called while the exception is handled.

        Parameters
        ----------
        reason : str
        """
        self._failed = True
        _log.error("failed", extra={"data": {**self._data, "reason": reason}}, exc_info=True)

    def __exit__(self, *_: object) -> None:
        if not self._failed:
            seconds = round(time.perf_counter() - self._started, 3)
            _log.info("done", extra={"data": {**self._data, "seconds": seconds}})


def dask_setup(worker: object) -> None:
    """Set up the log file of a worker; Dask calls this function in the worker process.

    Parameters
    ----------
    worker : distributed.Worker
    """
    name = os.environ.get(NAME_VARIABLE, "worker")
    if folder := os.environ.get(LOGS_VARIABLE):
        handler = QuietFileHandler(os.path.join(folder, f"{name}.jsonl"), delay=True)
        handler.setFormatter(JsonLines())
        logger = logging.getLogger("hbcoop_dist")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    data = {
        "pid": os.getpid(),
        "address": getattr(worker, "address", ""),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "threads": os.environ.get(THREAD_VARIABLES[0], ""),
        "python": sys.executable,
        "version": version("hbcoop_dist"),
    }
    _log.info("started", extra={"data": data})


def main() -> None:
    """Run a Dask worker."""
    # A process that was started from the driver's own file, not as a module, has the driver's protocol.
    if __spec__ is not None and (protocol := os.environ.get(PROTOCOL_VARIABLE)):
        check_protocol(protocol)
    options = worker_arguments(sys.argv[1:], os.environ)
    import dask
    from distributed.cli.dask_worker import main as dask_worker

    # the nanny passes its settings on to its workers
    dask.config.update_defaults(QUIET_CONFIG)
    dask_worker(options)


if __name__ == "__main__":
    main()
