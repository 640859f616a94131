"""Start and stop the backend of a run: this process, or Dask workers in the pools of a cluster profile."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hbcoop_dist.clusters import ClusterError, ClusterProfile, check_device, local_profile
from hbcoop_dist.clusters.batch_system import BatchSystem, make_batch_system
from hbcoop_dist.clusters.pool_jobs import pools_for
from hbcoop_dist.core.tasks import Source
from hbcoop_dist.execution.driver import Driver, RestartState
from hbcoop_dist.execution.progress import Display, RunState, StatusWriter, default_display, read_run_state
from hbcoop_dist.execution.scheduler import Backend, SerialBackend
from hbcoop_dist.store import Journal, logs_path, progress_path, scratch_path

SWITCH_SECONDS = 0.0005
"""Longest time for which one thread of the driver blocks the others. With Python's default of 5 ms a worker waited
59 ms for its next batch while cells were written, with this value 44 ms (benchmarks/slurm.py)."""


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """Backend settings of a run, checked before anything is started.

    Attributes
    ----------
    sources : mapping of str to Source
        Sources of the plan.
    serial : bool
        Run everything in this process.
    workers : int or None
        Number of Dask workers on this machine.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    cluster : ClusterProfile or None
        Replaces `workers` and `device`.
    report : Path or None
        HTML file for a Dask performance report.
    protocol : str
        ``KIND=VERSION`` of the campaign; workers with another version refuse to start.

    Raises
    ------
    DeviceError
        When the device does not exist.
    ClusterError
        When a source has no pool, or the pools cannot be started from this process.
    """

    sources: Mapping[str, Source]
    serial: bool
    workers: int | None
    device: str
    cluster: ClusterProfile | None
    report: Path | None
    protocol: str

    def __post_init__(self) -> None:
        if self.cluster is None:
            check_device(self.device)
        else:
            make_batch_system(self.cluster, Path(), self.protocol).check()
        if not self.serial:
            _check_pools(self.sources, self.profile)

    @property
    def profile(self) -> ClusterProfile:
        """Profile of the workers."""
        return self.cluster or local_profile(self.workers, self.device)

    @contextlib.contextmanager
    def open_driver(
        self, store: Path, journal: Journal, display: Display | None, restart_state: RestartState
    ) -> Iterator[tuple[Driver, Display]]:
        """Open a driver; its backend is started when it is first used, and stopped at the end.

        Parameters
        ----------
        store : Path
            Store that the caller has locked.
        journal : Journal
        display : Display or None
            None selects `default_display`.
        restart_state : callable
            Result -> state from which an unconverged minimisation continues, or None.

        Yields
        ------
        driver : Driver
        display : Display
            Also writes the status file of the store.
        """
        with contextlib.ExitStack() as stack:
            earlier = read_run_state(progress_path(store))
            status = StatusWriter(progress_path(store), display or default_display())
            stack.callback(status.close)
            start = _serial_backend(self.device) if self.serial else _dask_backend(self, store, status, earlier)
            backend = cache(lambda: stack.enter_context(start))
            yield Driver(journal, backend, str(scratch_path(store)), restart_state), status


def _check_pools(sources: Mapping[str, Source], profile: ClusterProfile) -> None:
    for source in sources.values():
        if not pools_for(source, profile.pools):
            pools = (f"{name}: {', '.join(pool.environments)}" for name, pool in profile.pools.items())
            raise ClusterError(
                f"model {source.name}: expected a pool with environment {source.needs.environment}; "
                f"profile {profile.profile} has {'; '.join(pools)}"
            )


@contextlib.contextmanager
def _serial_backend(device: str) -> Iterator[Backend]:
    yield SerialBackend(device)


@contextlib.contextmanager
def _dask_backend(
    settings: ExecutionSettings, store: Path, status: StatusWriter, earlier: RunState | None
) -> Iterator[Backend]:
    from distributed import Client, performance_report

    from hbcoop_dist.clusters.pool_cluster import PoolCluster
    from hbcoop_dist.execution.dask_backend import DaskBackend

    profile, logs = settings.profile, logs_path(store)
    system = make_batch_system(profile, logs, settings.protocol)
    _cancel_abandoned(system, earlier)
    # workers send results directly to the client, not through the scheduler's memory
    with (
        PoolCluster(profile, logs, settings.protocol, status.message, system=system) as cluster,
        Client(cluster, direct_to_workers=True) as client,
        performance_report(str(settings.report)) if settings.report else contextlib.nullcontext(),
    ):
        status.message(f"Dask dashboard: {cluster.dashboard_link}")
        status.set_cluster(str(cluster.dashboard_link or ""), cluster.job_table)
        backend = DaskBackend(client, cluster, settings.sources)
        default_interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            yield backend
        finally:
            sys.setswitchinterval(default_interval)
            backend.close()


def _cancel_abandoned(system: BatchSystem, earlier: RunState | None) -> None:
    """Cancel the jobs of a killed driver, whose workers would wait for its scheduler and occupy their places."""
    if earlier is not None and not earlier.over:
        system.cancel_abandoned({job["job"]: job["name"] for job in earlier.jobs if job["job"]})
