"""Cluster profiles: pools of workers, each a set of identical jobs with its own Python, resources and walltime.

Functions on the cores, CUDA devices and open files of this machine stand here too, since pools are checked with them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from hbcoop_dist.core.files import find_file
from hbcoop_dist.core.yaml_source import YamlError, read_model

if TYPE_CHECKING:
    from hbcoop_dist.clusters.batch_system import BatchSystem


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
WALLTIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):(\d{2})(?::(\d{2}))?")


class DeviceError(ValueError):
    """A device that does not exist on this machine, or whose name is malformed."""


def usable_cores() -> int:
    """Return the number of cores that this process may use.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def raise_open_files() -> None:
    """Raise the limit of open files to its maximum, since a driver keeps a few connections to every worker.

    The usual limit of 1,024 is exhausted by four hundred workers.
    """
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # some systems report an unlimited maximum and refuse it
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def visible_gpus() -> list[str]:
    """Return the values of CUDA_VISIBLE_DEVICES that select one GPU each.

    Returns
    -------
    list of str
        From CUDA_VISIBLE_DEVICES, else from nvidia-smi, so that the driver needs no torch; empty without GPUs.
    """
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in chosen.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return listing.stdout.split() if listing.returncode == 0 else []


def check_device(device: str) -> None:
    """Check that a device can be used in this process.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DeviceError
        When the name is malformed, or torch does not see the device.
    """
    if device == "cpu":
        return
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise DeviceError(f"device: expected cpu, cuda or cuda:N, found {device!r}")
    count = 0
    if importlib.util.find_spec("torch") is not None:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(match[1] or 0) >= count:
        raise DeviceError(f"device: expected one of the {count} CUDA devices torch sees here, found {device!r}")


class ClusterError(RuntimeError):
    """A profile that cannot be used, or a cluster on which no job could be started."""


class ClusterLostError(ClusterError):
    """A cluster that ran part of the work and accepts no more jobs; computed results are kept."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobRange(_Frozen):
    """Number of simultaneous jobs of a pool: ``4`` (fixed), ``0:20`` (on demand) or ``auto``.

    Attributes
    ----------
    least, most : int
        ``auto`` is stored as 0:0. It stands for one job per core, or per GPU, of this machine, and is accepted by
        profiles of kind ``local`` only.
    """

    least: int = Field(ge=0)
    most: int = Field(ge=0)

    @property
    def auto(self) -> bool:
        """Whether the number follows from the hardware of this machine."""
        return self.most == 0

    @classmethod
    def parse(cls, value: Any) -> JobRange:
        """Parse a range as written in a profile or after ``--jobs``.

        Parameters
        ----------
        value : str or int
            ``4``, ``"0:20"`` or ``"auto"``.

        Returns
        -------
        JobRange

        Raises
        ------
        ValueError
            When the value is no range, or a range without jobs.
        """
        if value == "auto":
            return cls(least=0, most=0)
        match = re.fullmatch(r"(\d+)(?::(\d+))?", str(value))
        if match is None or isinstance(value, bool):
            raise ValueError(f"expected a number, a range like 0:20, or auto, found {value!r}")
        least, most = int(match[1]), int(match[2] or match[1])
        if not 0 <= least <= most or most == 0:
            raise ValueError(f"expected a range of at least one job, found {value!r}")
        return cls(least=least, most=most)


def _range(value: Any) -> Any:
    return value if isinstance(value, (JobRange, dict)) else JobRange.parse(value)


def memory_bytes(text: str) -> int:
    """Convert a size such as ``16GB`` to bytes.

    Parameters
    ----------
    text : str
        Number and unit; GB is 10^9 bytes, GiB 2^30.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        When the text is no size.
    """
    from dask.utils import parse_bytes

    return int(parse_bytes(text))


class Pool(_Frozen):
    """A set of identical jobs.

    Attributes
    ----------
    environments : tuple of str
        Environments that the pool's Python provides, named as in the requirements of models (`hbcoop models show`);
        ``main`` is the environment of requirements.lock.
    python : str or None
        Python of the workers; None selects the driver's.
    device : str
        ``cpu``, or ``cuda`` for one GPU per worker.
    jobs : JobRange
        Number of simultaneous jobs.
    workers_per_job : int
        Worker processes in one job, each with its own cores, and its own GPU on ``cuda``.
    threads : int
        Cores, and threads of torch and BLAS, per worker.
    memory : str or None
        Memory of one job, e.g. ``16GB``; None leaves it to the user's jobqueue.yaml.
    partition, account, walltime : str or None
        In Slurm's notation; None leaves them to jobqueue.yaml, then to Slurm.
    gres : str or None
        GPU request of a job; by default ``gpu:N`` for its N workers on ``cuda``.
    directives : tuple of str
        Further ``#SBATCH`` options, e.g. ``--qos=long``.
    prologue : tuple of str
        Shell lines that run before the workers start, e.g. ``module load cuda``.
    idle_seconds : float
        Time after which an idle job beyond the least number is cancelled.
    """

    environments: tuple[str, ...] = Field(default=("main",), min_length=1)
    python: str | None = None
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    jobs: Annotated[JobRange, BeforeValidator(_range)] = JobRange(least=0, most=0)
    workers_per_job: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    walltime: str | None = None
    gres: str | None = None
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    idle_seconds: float = Field(default=60.0, ge=0)

    @field_validator("walltime", mode="before")
    @classmethod
    def _walltime(cls, value: Any) -> Any:
        if value is not None and WALLTIME.fullmatch(str(value)) is None:
            raise ValueError(f"expected hours:minutes:seconds or days-hours:minutes:seconds, found {value!r}")
        return value

    @field_validator("memory")
    @classmethod
    def _memory(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                memory_bytes(value)
        except ValueError:
            raise ValueError(f"expected a size like 16GB, found {value!r}") from None
        return value

    @property
    def slurm_memory(self) -> str | None:
        """`memory` in Slurm's notation, whose G are of 1024^3 bytes; rounded up, as dask-jobqueue does."""
        return None if self.memory is None else f"{math.ceil(memory_bytes(self.memory) / 2**30)}G"

    @property
    def gpus(self) -> bool:
        """Whether the workers run on GPUs."""
        return self.device != "cpu"

    @property
    def gpu_request(self) -> list[str]:
        """Slurm option that requests the GPUs of one job or node; empty without GPUs."""
        return [f"--gres={self.gres or f'gpu:{self.workers_per_job}'}"] if self.gpus else []


def batch_system_class(kind: str) -> type[BatchSystem]:
    """Return the batch system of a kind of profiles, an entry point of the group ``hbcoop_dist.batch_systems``.

    Parameters
    ----------
    kind : str

    Raises
    ------
    ValueError
        When none is installed under this name, or it cannot be imported.
    """
    points = {point.name: point for point in entry_points(group="hbcoop_dist.batch_systems")}
    if kind not in points:
        raise ValueError(f"expected an installed batch system ({', '.join(sorted(points))}), found {kind!r}")
    try:
        system: type[BatchSystem] = points[kind].load()
    except ImportError as error:
        raise ValueError(f"expected a batch system that can be imported, found {kind!r}: {error}") from error
    return system


class ClusterProfile(_Frozen):
    """Pools of workers and the batch system that starts them.

    Attributes
    ----------
    profile : str
        Name of the profile.
    kind : str
        Batch system, by its entry point: ``local``, processes on this machine; ``slurm``, jobs that the driver submits;
        ``allocation``, steps of the Slurm job in which the driver runs; or one of another distribution.
    pools : mapping of str to Pool
    interface : str or None
        Network interface of scheduler and workers, e.g. ``ib0``.
    """

    profile: Name
    kind: Name
    pools: Mapping[Name, Pool] = Field(min_length=1)
    interface: str | None = None

    @field_validator("kind")
    @classmethod
    def _installed(cls, kind: str) -> str:
        batch_system_class(kind)
        return kind

    @model_validator(mode="after")
    def _accepted(self) -> ClusterProfile:
        for name, pool in self.pools.items():
            if error := batch_system_class(self.kind).pool_error(pool):
                raise ValueError(f"pools.{name}.{error}")
        return self

    @property
    def device(self) -> str:
        """Device that decides the size of batches: ``cuda`` when any pool has GPUs."""
        return next((pool.device for pool in self.pools.values() if pool.gpus), "cpu")

    @property
    def environments_elsewhere(self) -> frozenset[str]:
        """Environments of pools with their own Python, whose packages the driver cannot inspect."""
        return frozenset(name for pool in self.pools.values() if pool.python for name in pool.environments)

    def with_jobs(self, jobs: JobRange) -> ClusterProfile:
        """Return the profile with another number of jobs in every pool.

        Parameters
        ----------
        jobs : JobRange

        Returns
        -------
        ClusterProfile

        Raises
        ------
        ValueError
            When profiles of this kind do not accept the range.
        """
        pools = {name: {**pool.model_dump(), "jobs": jobs} for name, pool in self.pools.items()}
        try:
            return ClusterProfile.model_validate({**self.model_dump(), "pools": pools})
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def local_profile(workers: int | None = None, device: str = "cpu") -> ClusterProfile:
    """Return a profile with one pool of workers on this machine.

    Parameters
    ----------
    workers : int, optional
        Number of workers; one per usable core, or per GPU, by default.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Returns
    -------
    ClusterProfile
    """
    jobs = JobRange(least=0, most=0) if workers is None else JobRange(least=workers, most=workers)
    return ClusterProfile(profile="local", kind="local", pools={"local": Pool(device=device, jobs=jobs)})


def load_profile(name: str | Path) -> ClusterProfile:
    """Load a cluster profile.

    Parameters
    ----------
    name : str or Path
        Path of a YAML file, or the name of a bundled profile (``local``, ``slurm-4gpu``).

    Returns
    -------
    ClusterProfile
        A `Pool.python` that contains a folder is relative to the file; a bare name is looked up where the job runs.

    Raises
    ------
    ClusterError
        When the file does not exist, is not YAML, or has a wrong field. The message names file, line and field.
    """
    try:
        path = find_file(name, "cluster_profiles")
        profile = read_model(path, ClusterProfile)
    except (FileNotFoundError, YamlError) as error:
        raise ClusterError(str(error)) from None

    def resolved(pool: Pool) -> Pool:
        if pool.python is None or "/" not in pool.python:
            return pool
        # an absolute path replaces the folder it is joined to
        return pool.model_copy(update={"python": str(path.resolve().parent / Path(pool.python).expanduser())})

    return profile.model_copy(update={"pools": {label: resolved(pool) for label, pool in profile.pools.items()}})


def leave_out_absent(profile: ClusterProfile) -> tuple[ClusterProfile, tuple[str, ...]]:
    """Remove the pools of this machine whose Python is not installed, so that the other pools can run.

    Parameters
    ----------
    profile : ClusterProfile
        Profiles of jobs on other machines are returned unchanged, since their nodes may see other files.

    Returns
    -------
    profile : ClusterProfile
    messages : tuple of str
        One line per removed pool.

    Raises
    ------
    ClusterError
        When no pool is left.
    """
    if not batch_system_class(profile.kind).loopback:
        return profile, ()
    absent = {
        name: pool for name, pool in profile.pools.items() if pool.python is not None and not shutil.which(pool.python)
    }
    problems = [
        f"profile {profile.profile}: pool {name}: expected a Python with environment {', '.join(pool.environments)}, "
        f"found none at {pool.python}"
        for name, pool in absent.items()
    ]
    left = {name: pool for name, pool in profile.pools.items() if name not in absent}
    if not left:
        raise ClusterError("\n".join(problems))
    messages = tuple(f"{problem}; going on without this pool" for problem in problems)
    return profile.model_copy(update={"pools": left}), messages
