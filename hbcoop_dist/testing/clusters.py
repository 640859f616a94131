"""Contract suite of batch systems: what the pool manager relies on, for the bundled systems and those of others.

Subclass `BatchSystemContract` in a test module, and override the fixture `system`::

    class TestMySystem(BatchSystemContract):
        @pytest.fixture
        def system(self, tmp_path):
            profile = ClusterProfile(profile="mine", kind="slurm", pools=EXAMPLE_POOLS)
            return MySystem(profile, tmp_path, "hbond=1")
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from distributed.deploy.spec import ProcessInterface

from hbcoop_dist.clusters import BatchSystem, JobRange, Pool
from hbcoop_dist.clusters.batch_system import ENDED
from hbcoop_dist.clusters.dask_worker import LOGS_VARIABLE, PROTOCOL_VARIABLE

EXAMPLE_POOLS = {
    "main": Pool(jobs=JobRange(least=1, most=1), threads=3, memory="8GB"),
    "other": Pool(
        jobs=JobRange(least=1, most=1), memory="8GB", environments=("other",), python="/envs/other/bin/python"
    ),
}
"""Pools of a profile that every kind of batch system accepts."""
SCHEDULER = "tcp://10.0.0.1:8786"


class BatchSystemContract:
    """Tests that every batch system passes; none of them submits a job."""

    @pytest.fixture
    def system(self) -> BatchSystem:
        """Return the batch system under test, with a profile whose pools are `EXAMPLE_POOLS`."""
        raise NotImplementedError("override the fixture `system`")

    @staticmethod
    def make_job(system: BatchSystem, name: str, pool: str) -> Any:
        """Construct a job as `SpecCluster` does.

        Parameters
        ----------
        system : BatchSystem
        name : str
            Name of the job.
        pool : str
            Name of the pool.

        Returns
        -------
        ProcessInterface
        """
        spec = system.job_spec(name, system.profile.pools[pool], running=(), excluded=())
        return spec["cls"](SCHEDULER, **spec["options"])

    @staticmethod
    def job_text(job: Any) -> str:
        """Return the script of a job, or its environment and command line.

        Parameters
        ----------
        job : ProcessInterface

        Returns
        -------
        str
        """
        if hasattr(job, "job_script"):
            return str(job.job_script())
        variables = [f"{name}={job.environ[name]}" for name in (LOGS_VARIABLE, PROTOCOL_VARIABLE)]
        return " ".join([*variables, *job.command])

    def test_jobs_are_processes_that_have_not_started(self, system: BatchSystem) -> None:
        """A constructed job is a `ProcessInterface` that is neither started nor has an id."""
        job = self.make_job(system, "main-1", "main")
        assert isinstance(job, ProcessInterface)
        assert (job.started, job.job_id) == (False, None)

    def test_jobs_start_the_worker_module_with_their_options(self, system: BatchSystem) -> None:
        """A job starts the worker module with scheduler, name, threads, memory limit, log folder and protocol."""
        text = self.job_text(self.make_job(system, "main-1", "main"))
        assert "dask_worker" in text
        for part in (SCHEDULER, "--name main-1", "--nthreads 3", "--memory-limit"):
            assert part in text
        for variable, value in ((LOGS_VARIABLE, str(system.logs)), (PROTOCOL_VARIABLE, system.protocol)):
            assert f"{variable}={value}" in text

    def test_jobs_use_the_python_of_their_pool(self, system: BatchSystem) -> None:
        """A job of a pool with a Python of its own starts that Python."""
        assert "/envs/other/bin/python -m hbcoop_dist" in self.job_text(self.make_job(system, "other-1", "other"))

    def test_jobs_of_a_pool_differ_in_their_names_only(self, system: BatchSystem) -> None:
        """Two jobs of a pool differ in nothing but their names."""
        first, second = (self.job_text(self.make_job(system, name, "main")) for name in ("main-1", "main-2"))
        assert first != second
        assert first.replace("main-1", "main-2") == second

    def test_a_submitted_job_is_alive_until_the_batch_system_knows_better(self, system: BatchSystem) -> None:
        """A job that was submitted a moment ago has not ended."""
        state = system.state_of(self.make_job(system, "main-1", "main"), time.monotonic())
        assert state.fate not in ENDED

    def test_the_preview_shows_the_first_job(self, system: BatchSystem) -> None:
        """The preview of a pool has the worker module, the name of the first job and a stand-in for the address."""
        for pool in system.profile.pools:
            text = system.preview(pool)
            assert "dask_worker" in text
            assert f"--name {pool}-1 " in text
            assert "tcp://DRIVER:PORT" in text

    def test_a_loss_is_not_judged_at_once(self, system: BatchSystem) -> None:
        """The fate of a job is unknown at the moment at which its only worker disappears."""
        state = system.state_of(self.make_job(system, "main-1", "main"), time.monotonic())
        assert system.fate_after_loss(state, False, time.monotonic()) is None
