"""Cluster profiles, and the batch systems that start the workers of a campaign."""

from hbcoop_dist.clusters.batch_system import BatchSystem, JobState
from hbcoop_dist.clusters.local_jobs import DeviceError, check_device, usable_cores, visible_gpus
from hbcoop_dist.clusters.profiles import (
    ClusterError,
    ClusterLostError,
    ClusterProfile,
    JobRange,
    Pool,
    leave_out_absent,
    load_profile,
    local_profile,
)

__all__ = [
    "BatchSystem",
    "ClusterError",
    "ClusterLostError",
    "ClusterProfile",
    "DeviceError",
    "JobRange",
    "JobState",
    "Pool",
    "check_device",
    "leave_out_absent",
    "load_profile",
    "local_profile",
    "usable_cores",
    "visible_gpus",
]
