"""Where a campaign's workers run: profiles, job scripts, and the pools of jobs under one Dask scheduler."""

from hbcoop_dist.clusters.devices import DeviceError, check_device, usable_cores, visible_gpus
from hbcoop_dist.clusters.errors import ClusterError, ClusterLostError
from hbcoop_dist.clusters.profile import ClusterProfile, JobRange, Pool, local_profile
from hbcoop_dist.clusters.profile_loading import leave_out_absent, load_profile

__all__ = [
    "ClusterError",
    "ClusterLostError",
    "ClusterProfile",
    "DeviceError",
    "JobRange",
    "Pool",
    "check_device",
    "leave_out_absent",
    "load_profile",
    "local_profile",
    "usable_cores",
    "visible_gpus",
]
