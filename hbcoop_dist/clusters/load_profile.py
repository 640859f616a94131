"""Read a cluster profile; every complaint names file, line, field, what was expected and what was found."""

from __future__ import annotations

from pathlib import Path

from hbcoop_dist.clusters.errors import ClusterError
from hbcoop_dist.clusters.profile import ClusterProfile, Pool
from hbcoop_dist.data import find_file
from hbcoop_dist.yaml_file import YamlError, read_model


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
