"""What a cluster profile says: pools of workers, each a set of jobs with its own Python, resources and walltime."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from dask.utils import parse_bytes
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobRange(_Frozen):
    """How many jobs a pool may have at a time: written ``4`` (always), ``0:20`` (as needed) or ``auto``.

    Attributes
    ----------
    least, most : int
        ``auto`` is stored as 0:0, for as many as this machine has cores, or GPUs (profiles of kind ``local`` only).
    """

    least: int = Field(ge=0)
    most: int = Field(ge=0)

    @property
    def auto(self) -> bool:
        return self.most == 0

    @classmethod
    def parse(cls, value: Any) -> Any:
        """A range from what stands in a profile or behind ``--jobs``."""
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


Jobs = Annotated[JobRange, BeforeValidator(_range)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
WALLTIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):(\d{2})(?::(\d{2}))?")


class Pool(_Frozen):
    """Jobs that are all alike.

    Attributes
    ----------
    environments : tuple of str
        What its Python has installed, in the words of model cards (`hbcoop models show`): ``main`` is the locked one.
    python : str or None
        Python of its workers; the driver's own when there is none.
    device : str
        ``cpu``, or ``cuda`` for one GPU per worker.
    jobs : JobRange
    workers_per_job : int
        Worker processes in one job, each with its own cores, and its own GPU on ``cuda``.
    threads : int
        Cores, and threads of torch and BLAS, per worker.
    memory : str or None
        Of one job, e.g. ``16GB``; None leaves it to the user's own jobqueue.yaml.
    partition, account, walltime : str or None
        As Slurm takes them; None leaves them to jobqueue.yaml, then to Slurm.
    gres : str or None
        How a job asks for GPUs; ``gpu:N`` for its N workers by default on ``cuda``.
    directives : tuple of str
        Further ``#SBATCH`` lines, e.g. ``--qos=long``.
    prologue : tuple of str
        Shell lines before the workers start, e.g. ``module load cuda``.
    idle_seconds : float
        How long a job beyond the least number may have nothing to do before it is given back.
    """

    environments: tuple[str, ...] = Field(default=("main",), min_length=1)
    python: str | None = None
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    jobs: Jobs = JobRange(least=0, most=0)
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
        # YAML 1.1 reads 04:00:00 without quotes as a number of seconds in base 60
        if isinstance(value, int) and not isinstance(value, bool):
            hours, rest = divmod(value, 3600)
            return f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
        if value is not None and WALLTIME.fullmatch(str(value)) is None:
            raise ValueError(f"expected hours:minutes:seconds or days-hours:minutes:seconds, found {value!r}")
        return value

    @field_validator("memory")
    @classmethod
    def _memory(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                parse_bytes(value)
        except ValueError:
            raise ValueError(f"expected a size like 16GB, found {value!r}") from None
        return value

    @property
    def slurm_memory(self) -> str | None:
        """`memory` as dask-jobqueue writes it for sbatch: Slurm's G are of 1024^3 bytes, rounded up."""
        return None if self.memory is None else f"{math.ceil(parse_bytes(self.memory) / 2**30)}G"

    @property
    def gpus(self) -> bool:
        return self.device != "cpu"


class ClusterProfile(_Frozen):
    """Where a campaign's workers run.

    Attributes
    ----------
    profile : str
    kind : {"local", "slurm", "allocation"}
        This machine; jobs that the driver submits; steps of the one job that the driver itself runs in.
    pools : mapping of str to Pool
    interface : str or None
        Network interface of scheduler and workers, e.g. ``ib0``.
    """

    profile: Name
    kind: Literal["local", "slurm", "allocation"]
    pools: Mapping[Name, Pool] = Field(min_length=1)
    interface: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ClusterProfile:
        for name, pool in self.pools.items():
            if self.kind == "slurm" and pool.jobs.auto:
                raise ValueError(f"pools.{name}.jobs: expected a number or a range like 0:20, found none")
            if self.kind == "allocation" and (pool.jobs.auto or pool.jobs.least != pool.jobs.most):
                raise ValueError(f"pools.{name}.jobs: expected a number of nodes, since an allocation does not grow")
            if self.kind == "local" and pool.workers_per_job > 1:
                raise ValueError(f"pools.{name}.workers_per_job: expected 1 on this machine, as many jobs as workers")
        return self

    @property
    def device(self) -> str:
        """What decides the size of batches: ``cuda`` when any pool has GPUs."""
        return next((pool.device for pool in self.pools.values() if pool.gpus), "cpu")

    @property
    def environments_elsewhere(self) -> frozenset[str]:
        """Environments whose packages the driver cannot look for, since their workers have another Python."""
        return frozenset(name for pool in self.pools.values() if pool.python for name in pool.environments)

    def with_jobs(self, jobs: JobRange) -> ClusterProfile:
        """The profile with another number of jobs in every pool.

        Raises
        ------
        ValueError
            When that is no number of jobs for this kind of profile.
        """
        pools = {name: {**pool.model_dump(), "jobs": jobs} for name, pool in self.pools.items()}
        try:
            return ClusterProfile.model_validate({**self.model_dump(), "pools": pools})
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def local_profile(workers: int | None = None, device: str = "cpu") -> ClusterProfile:
    """Workers on this machine: one per usable core, or as many as said."""
    jobs = JobRange(least=0, most=0) if workers is None else JobRange(least=workers, most=workers)
    return ClusterProfile(profile="local", kind="local", pools={"local": Pool(device=device, jobs=jobs)})
