"""A batch system of another distribution is one module and one entry point."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hbcoop_dist.clusters import BatchSystem, ClusterError, JobRange, load_profile
from hbcoop_dist.clusters.batch_system import make_batch_system
from hbcoop_dist.clusters.profiles import leave_out_absent
from hbcoop_dist.testing.clusters import EXAMPLE_POOLS, BatchSystemContract

MODULE = """
from hbcoop_dist.plugin import LocalSystem


class FewSystem(LocalSystem):
    loopback = False

    @classmethod
    def pool_error(cls, pool):
        return "jobs: expected at most 2, found more" if pool.jobs.most > 2 else ""
"""
PROFILE = """
profile: few
kind: few
pools:
  main: {jobs: 1, threads: 3, memory: 8GB}
  other: {jobs: 1, memory: 8GB, environments: [other], python: /envs/other/bin/python}
"""


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a distribution with the batch system `few`; return a profile of this kind."""
    site = tmp_path / "site"
    metadata = site / "few_jobs-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: few-jobs\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[hbcoop_dist.batch_systems]\nfew = few_jobs:FewSystem\n")
    (site / "few_jobs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "few_jobs", raising=False)
    path = tmp_path / "few.yaml"
    path.write_text(PROFILE)
    return path


class TestFewSystem(BatchSystemContract):
    @pytest.fixture
    def system(self, profile: Path, tmp_path: Path) -> BatchSystem:
        loaded = load_profile(profile)
        assert loaded.pools == EXAMPLE_POOLS
        return make_batch_system(loaded, tmp_path, "hbond=1")


def test_its_pools_are_checked_when_the_profile_is_loaded(profile: Path) -> None:
    profile.write_text(PROFILE.replace("main: {jobs: 1", "main: {jobs: 3"))
    with pytest.raises(ClusterError, match=r"pools.main.jobs: expected at most 2, found more"):
        load_profile(profile)
    profile.write_text(PROFILE)
    with pytest.raises(ValueError, match="expected at most 2"):
        load_profile(profile).with_jobs(JobRange(least=3, most=3))


def test_pools_of_other_machines_are_not_left_out(profile: Path) -> None:
    loaded = load_profile(profile)
    assert leave_out_absent(loaded) == (loaded, ())


def test_an_unknown_batch_system_is_named_with_those_that_are_installed(profile: Path) -> None:
    profile.write_text(PROFILE.replace("kind: few", "kind: fwe"))
    message = (
        r"few.yaml:3: field kind: expected an installed batch system \(allocation, few, local, slurm\), found 'fwe'"
    )
    with pytest.raises(ClusterError, match=message):
        load_profile(profile)


def test_a_batch_system_that_cannot_be_imported_is_named(profile: Path) -> None:
    (profile.parent / "site" / "few_jobs.py").write_text("import no_such_package\n")
    with pytest.raises(ClusterError, match="expected a batch system that can be imported, found 'few': No module"):
        load_profile(profile)
