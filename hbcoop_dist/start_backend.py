"""Start what does the work of a run, and stop it again: this process, or the workers of a cluster's pools."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from hbcoop_dist.clusters import ClusterError, ClusterProfile
from hbcoop_dist.clusters.step_job import require_allocation
from hbcoop_dist.execute import Backend, SerialBackend
from hbcoop_dist.heartbeat import Heartbeat, Progress
from hbcoop_dist.store import logs_path
from hbcoop_dist.tasks import PROTOCOL_VERSION, ModelSource

SWITCH_SECONDS = 0.0005
"""How long one thread of the driver may keep the others waiting. With Python's 5 ms a worker waited 59 ms for its next
batch while cells were being written, with this 44 ms (benchmarks/slurm.py)."""


def require_pools(sources: Mapping[str, ModelSource], profile: ClusterProfile) -> None:
    """Raise `ClusterError` unless every model has a pool that can do it, and the pools can be had here."""
    if profile.kind == "allocation":
        require_allocation(profile)
    there = {name for pool in profile.pools.values() for name in pool.environments}
    for source in sources.values():
        needed = source.card.environment
        if needed not in there and not (source.here and any(pool.python is None for pool in profile.pools.values())):
            raise ClusterError(
                f"model {source.card.name}: expected a pool with environment {needed}; profile {profile.profile} has "
                + "; ".join(f"{name}: {', '.join(pool.environments)}" for name, pool in profile.pools.items())
            )


@contextlib.contextmanager
def serial_backend(device: str) -> Iterator[Backend]:
    """Everything in this process."""
    yield SerialBackend(device)


@contextlib.contextmanager
def dask_backend(
    profile: ClusterProfile,
    sources: Mapping[str, ModelSource],
    store: Path,
    shown: Heartbeat,
    report: Path | None,
    before: Progress | None,
) -> Iterator[Backend]:
    """Dask workers on the pools of a profile; jobs that a dead driver left are cancelled first."""
    from distributed import Client, performance_report

    from hbcoop_dist.clusters.pool_cluster import PoolCluster
    from hbcoop_dist.clusters.slurm_queue import cancel_jobs
    from hbcoop_dist.dask_backend import DaskBackend

    if profile.kind == "slurm" and before is not None and not before.over:
        # its workers would wait for a scheduler that is dead, and take the places of those that start now
        cancel_jobs({job["job"]: f"hbcoop-{job['name']}" for job in before.jobs if job["job"]})
    # results come from the workers themselves, not by way of the scheduler's memory
    with (
        PoolCluster(profile, logs_path(store), PROTOCOL_VERSION, shown.say) as cluster,
        Client(cluster, direct_to_workers=True) as client,
        performance_report(str(report)) if report else contextlib.nullcontext(),
    ):
        shown.say(f"Dask dashboard: {cluster.dashboard_link}")
        shown.cluster = cluster
        backend = DaskBackend(client, cluster, sources)
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            yield backend
        finally:
            sys.setswitchinterval(usual)
            backend.close()
