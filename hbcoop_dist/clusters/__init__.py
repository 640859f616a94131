"""Cluster profiles, and the batch systems that start the workers of a campaign."""

from hbcoop_dist.clusters.batch_system import BatchSystem, JobState
from hbcoop_dist.clusters.profiles import (
    ClusterError,
    ClusterLostError,
    ClusterProfile,
    DeviceError,
    JobRange,
    Pool,
    check_device,
    leave_out_absent,
    load_profile,
    local_profile,
    usable_cores,
    visible_gpus,
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
