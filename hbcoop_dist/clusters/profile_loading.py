"""Read a cluster profile; every complaint names file, line, field, what was expected and what was found.

Leave out pools of this machine whose Python is not there: the rest of a campaign runs, the plan says what cannot.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hbcoop_dist.clusters.errors import ClusterError
from hbcoop_dist.clusters.profile import ClusterProfile, Pool
from hbcoop_dist.core.resources import find_file
from hbcoop_dist.core.yaml_source import YamlError, read_model


def load_profile(name: str | Path) -> ClusterProfile:
    """Load a cluster profile by path, or by the name of a bundled one (``local``, ``slurm-4gpu``).

    Raises
    ------
    ClusterError
        When there is no such file, it is not YAML, or a field is wrong.
    """
    try:
        path = find_file(name, "cluster_profiles")
        profile = read_model(path, ClusterProfile)
    except (FileNotFoundError, YamlError) as error:
        raise ClusterError(str(error)) from None
    pools = {label: _resolved(pool, path) for label, pool in profile.pools.items()}
    return profile.model_copy(update={"pools": pools})


def _resolved(pool: Pool, path: Path) -> Pool:
    """A Python with a folder in its name is relative to the file; a bare name is looked up where the job runs."""
    if pool.python is None or "/" not in pool.python:
        return pool
    python = Path(pool.python).expanduser()
    return pool.model_copy(update={"python": str(python if python.is_absolute() else path.resolve().parent / python)})


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
