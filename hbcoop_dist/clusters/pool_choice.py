"""Which pools of a cluster can do a model."""

from __future__ import annotations

from hbcoop_dist.clusters.pool_cluster import PoolCluster
from hbcoop_dist.models.sources import ModelSource, PackageSource


def pools_for(source: ModelSource | PackageSource, cluster: PoolCluster) -> tuple[str, ...]:
    """Pools that can do a model: they have its environment, and GPUs exactly when it can use them, if any do."""
    able = {
        name: jobs.pool for name, jobs in cluster.pools.items() if source.needs.environment in jobs.pool.environments
    }
    if not able and source.here:
        # the driver's own Python has it, whatever it is called
        able = {name: jobs.pool for name, jobs in cluster.pools.items() if jobs.pool.python is None}
    fitting = tuple(name for name, pool in able.items() if pool.gpus == source.needs.gpu)
    return fitting or tuple(able)
