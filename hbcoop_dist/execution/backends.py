"""Start what does the work of a run, and stop it again: this process, or the workers of a cluster's pools."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hbcoop_dist.clusters import ClusterError, ClusterProfile, check_device, local_profile
from hbcoop_dist.clusters.step_job import require_allocation
from hbcoop_dist.core.tasks import PROTOCOL_VERSION
from hbcoop_dist.execution.driver import Driver
from hbcoop_dist.execution.progress import Display, default_display
from hbcoop_dist.execution.run_status import Heartbeat, Progress, read_progress
from hbcoop_dist.execution.scheduler import Backend, SerialBackend
from hbcoop_dist.models.sources import ModelSource, PackageSource
from hbcoop_dist.store import Journal, logs_path, progress_path, scratch_path

SWITCH_SECONDS = 0.0005
"""How long one thread of the driver may keep the others waiting. With Python's 5 ms a worker waited 59 ms for its next
batch while cells were being written, with this 44 ms (benchmarks/slurm.py)."""


@dataclass(frozen=True, slots=True)
class Workforce:
    """Who does the tasks of a run, whatever kind of campaign it is of; nothing is started before there is a task.

    `sources` are the plan's; the other fields are parameters of `hbcoop_dist.run`, and what cannot be had here is
    refused with its errors.
    """

    sources: Mapping[str, ModelSource | PackageSource]
    serial: bool
    workers: int | None
    device: str
    cluster: ClusterProfile | None
    report: Path | None

    def __post_init__(self) -> None:
        if self.cluster is None:
            check_device(self.device)
        if not self.serial:
            _require_pools(self.sources, self.profile)

    @property
    def profile(self) -> ClusterProfile:
        """Where workers run."""
        return self.cluster or local_profile(self.workers, self.device)

    @contextlib.contextmanager
    def driver(self, store: Path, journal: Journal, display: Display | None) -> Iterator[tuple[Driver, Display]]:
        """The driver of a store that the caller has locked, and the display that also says how its run stands."""
        with contextlib.ExitStack() as stack:
            before = read_progress(progress_path(store))
            shown = Heartbeat(progress_path(store), display or default_display())
            stack.callback(shown.close)
            start = _serial_backend(self.device) if self.serial else _dask_backend(self, store, shown, before)
            yield Driver(journal, cache(lambda: stack.enter_context(start)), str(scratch_path(store))), shown


def _require_pools(sources: Mapping[str, ModelSource | PackageSource], profile: ClusterProfile) -> None:
    """Raise `ClusterError` unless every model has a pool that can do it, and the pools can be had here."""
    if profile.kind == "allocation":
        require_allocation(profile)
    there = {name for pool in profile.pools.values() for name in pool.environments}
    for source in sources.values():
        needed = source.needs.environment
        if needed not in there and not (source.here and any(pool.python is None for pool in profile.pools.values())):
            raise ClusterError(
                f"model {source.name}: expected a pool with environment {needed}; profile {profile.profile} has "
                + "; ".join(f"{name}: {', '.join(pool.environments)}" for name, pool in profile.pools.items())
            )


@contextlib.contextmanager
def _serial_backend(device: str) -> Iterator[Backend]:
    """Everything in this process."""
    yield SerialBackend(device)


@contextlib.contextmanager
def _dask_backend(force: Workforce, store: Path, shown: Heartbeat, before: Progress | None) -> Iterator[Backend]:
    """Dask workers on the pools of a profile; jobs that a dead driver left are cancelled first."""
    from distributed import Client, performance_report

    from hbcoop_dist.clusters.pool_cluster import PoolCluster
    from hbcoop_dist.clusters.slurm_queue import cancel_jobs
    from hbcoop_dist.execution.dask_backend import DaskBackend

    if force.profile.kind == "slurm" and before is not None and not before.over:
        # its workers would wait for a scheduler that is dead, and take the places of those that start now
        cancel_jobs({job["job"]: f"hbcoop-{job['name']}" for job in before.jobs if job["job"]})
    # results come from the workers themselves, not by way of the scheduler's memory
    with (
        PoolCluster(force.profile, logs_path(store), PROTOCOL_VERSION, shown.say) as cluster,
        Client(cluster, direct_to_workers=True) as client,
        performance_report(str(force.report)) if force.report else contextlib.nullcontext(),
    ):
        shown.say(f"Dask dashboard: {cluster.dashboard_link}")
        shown.cluster = cluster
        backend = DaskBackend(client, cluster, force.sources)
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            yield backend
        finally:
            sys.setswitchinterval(usual)
            backend.close()
