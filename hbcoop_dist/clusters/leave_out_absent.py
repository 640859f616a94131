"""Leave out pools of this machine whose Python is not there: the rest of a campaign runs, the plan says what cannot."""

from __future__ import annotations

import shutil

from hbcoop_dist.clusters.errors import ClusterError
from hbcoop_dist.clusters.profile import ClusterProfile


def leave_out_absent(profile: ClusterProfile) -> tuple[ClusterProfile, tuple[str, ...]]:
    """The profile without such pools, and a line on each.

    What nodes of a cluster see cannot be looked for here: profiles of other kinds stay as they are.

    Raises
    ------
    ClusterError
        When no pool is left.
    """
    if profile.kind != "local":
        return profile, ()
    absent = {
        name: pool for name, pool in profile.pools.items() if pool.python is not None and not shutil.which(pool.python)
    }
    lines = tuple(
        f"profile {profile.profile}: pool {name}: expected a Python with environment {', '.join(pool.environments)}, "
        f"found none at {pool.python}; going on without this pool"
        for name, pool in absent.items()
    )
    left = {name: pool for name, pool in profile.pools.items() if name not in absent}
    if not left:
        raise ClusterError("\n".join(line.partition("; going on")[0] for line in lines))
    return profile.model_copy(update={"pools": left}), lines
