"""Interface between the pool manager and a batch system, and the state of a job in terms that all of them share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from hbcoop_dist.clusters.profiles import ClusterProfile, Pool, batch_system_class

JobFate = Literal["alive", "ending", "taken", "expired", "died"]
"""Life stage of a job: ``taken`` ended by the batch system, a person or a dead node; ``expired`` at the end of its
walltime; ``died`` by its own fault."""
ENDED = frozenset({"taken", "expired", "died"})
TICK_SECONDS = 1.0
"""Interval at which the pool manager compares each pool with its jobs."""


@dataclass(frozen=True, slots=True)
class JobState:
    """State of one job.

    Attributes
    ----------
    state : str
        Name of the state in the batch system, e.g. ``RUNNING``.
    fate : {"alive", "ending", "taken", "expired", "died"}
    ends : float or None
        End of its walltime, seconds since the epoch; None while the job is pending, or without a walltime.
    node : str
        Node it runs on; empty while it is pending.
    reason : str
        Reason why it is pending, or why it ended.
    """

    state: str
    fate: JobFate = "alive"
    ends: float | None = None
    node: str = ""
    reason: str = ""


class BatchSystem(ABC):
    """Starts, watches and cancels the jobs of a profile.

    A subclass is registered under the `kind` of its profiles as an entry point of the group
    ``hbcoop_dist.batch_systems``. The jobs themselves are subclasses of `distributed.deploy.spec.ProcessInterface` with
    two more attributes: ``started`` (bool: submitted, or running on this machine) and ``job_id`` (str or None: id in
    the batch system).

    Parameters
    ----------
    profile : ClusterProfile
    logs : Path
        Folder of worker logs, which the workers see under the same path.
    protocol : str
        ``KIND=VERSION`` of the campaign; a worker with another version refuses to start.
    """

    blameless: ClassVar[frozenset[str]] = frozenset()
    """States of jobs whose end without a single worker is not the fault of the profile."""
    renews_walltime: ClassVar[bool] = True
    """Whether a new job has more time left than the one that it replaces."""
    loopback: ClassVar[bool] = False
    """Whether the scheduler listens on the loopback interface only."""

    def __init__(self, profile: ClusterProfile, logs: Path, protocol: str) -> None:
        self.profile, self.logs, self.protocol = profile, logs, protocol

    @classmethod
    def pool_error(cls, pool: Pool) -> str:
        """Return which field of a pool this batch system does not accept, and why; empty when it accepts all.

        Parameters
        ----------
        pool : Pool

        Returns
        -------
        str
            For example ``jobs: expected a number or a range like 0:20, found none``.
        """
        return ""

    def check(self) -> None:
        """Check that jobs can be started from this process.

        Raises
        ------
        ClusterError
            When they cannot.
        """
        return

    def sized(self, pool: Pool) -> Pool:
        """Return the pool with the number of jobs that ``auto`` stands for.

        Parameters
        ----------
        pool : Pool

        Returns
        -------
        Pool
        """
        return pool

    @abstractmethod
    def job_spec(self, name: str, pool: Pool, running: Collection[str], excluded: Iterable[str]) -> dict[str, Any]:
        """Describe a new job for `distributed.SpecCluster`.

        Parameters
        ----------
        name : str
            Name of the job, never used before.
        pool : Pool
        running : collection of str
            Names of all current jobs.
        excluded : iterable of str
            Nodes to avoid.

        Returns
        -------
        dict
            ``cls``, the class of the job, and ``options``, its keyword arguments after the scheduler's address.
        """

    @abstractmethod
    def preview(self, pool_name: str) -> str:
        """Return the script or command line of the first job of a pool.

        Parameters
        ----------
        pool_name : str

        Returns
        -------
        str

        Raises
        ------
        ClusterError
            When the profile lacks a setting that the batch system requires.
        """

    async def refresh(self, jobs_exist: bool) -> None:
        """Query the batch system for the states of all jobs.

        Parameters
        ----------
        jobs_exist : bool
            Whether the pool manager has any jobs.

        Raises
        ------
        OSError
            When the batch system does not answer; the states are unknown then.
        """
        return

    @abstractmethod
    def state_of(self, job: Any, submitted: float) -> JobState:
        """Return the state of a job as of the last `refresh`.

        Parameters
        ----------
        job : ProcessInterface
        submitted : float
            Monotonic time of its submission.

        Returns
        -------
        JobState
        """

    def fate_after_loss(self, state: JobState, workers_left: bool, lost_at: float) -> JobFate | None:
        """Return the fate of a job, not known to have ended, one of whose workers disappeared.

        Parameters
        ----------
        state : JobState
            Last state of the job.
        workers_left : bool
            Whether other workers of the job are connected.
        lost_at : float
            Monotonic time of the loss.

        Returns
        -------
        str or None
            None while it is unknown.
        """
        del state, workers_left
        return "alive" if time.monotonic() - lost_at > TICK_SECONDS else None

    async def cancel(self, jobs: Sequence[Any]) -> None:
        """Cancel several jobs with few calls; `SpecCluster` closes each of them afterwards.

        Parameters
        ----------
        jobs : sequence of ProcessInterface
        """
        return

    def cancel_abandoned(self, jobs: Mapping[str, str]) -> None:
        """Cancel jobs of a driver that was killed.

        Parameters
        ----------
        jobs : mapping of str to str
            Job id -> name of the job. A job that has another name by now is left alone.
        """
        return


def make_batch_system(profile: ClusterProfile, logs: Path, protocol: str) -> BatchSystem:
    """Return the batch system of a profile, by its `kind`.

    Parameters
    ----------
    profile : ClusterProfile
    logs : Path
        Folder of worker logs.
    protocol : str
        ``KIND=VERSION`` of the campaign.

    Returns
    -------
    BatchSystem
    """
    return batch_system_class(profile.kind)(profile, logs, protocol)
