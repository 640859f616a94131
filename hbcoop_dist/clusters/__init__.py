"""Where a campaign's workers run: profiles, job scripts, and the pools of jobs under one Dask scheduler."""

from hbcoop_dist.clusters.devices import DeviceError, check_device, usable_cores, visible_gpus
from hbcoop_dist.clusters.errors import ClusterError, ClusterLostError
from hbcoop_dist.clusters.leave_out_absent import leave_out_absent
from hbcoop_dist.clusters.load_profile import load_profile
from hbcoop_dist.clusters.profile import ClusterProfile, JobRange, Pool, local_profile

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
