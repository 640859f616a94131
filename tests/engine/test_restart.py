"""A minimisation that was killed goes on as if it had never stopped; one that gave up goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from wrapped import Wrapped

from hbcoop_dist import plan
from hbcoop_dist.campaigns.hbond import worker as work
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.campaigns.hbond.worker import working
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.execution.restart_files import RestartFolder
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation
from hbcoop_dist.structures import Structure


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class _Mortal(Wrapped):
    """The toy, in a process that dies at its n-th call with a chain of four units."""

    dies_at = 0

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        if forces and any(len(s) == 48 for s in structures):
            self.calls += 1
            if self.calls == self.dies_at:
                raise Killed
        return self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)


def campaign(scratch: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int) -> tuple[dict[str, TaskResult], int]:
    """Results of a small campaign, as many as there were when its process died, and its calls with four units."""
    mortal = _Mortal(registry.load("toy"))
    mortal.dies_at = dies_at
    monkeypatch.setattr(work, "load_once", lambda *_: mortal)
    monkeypatch.setattr(work, "RestartFolder", partial(RestartFolder, seconds=0.0))
    drawn = plan(CampaignSpec.model_validate({"campaign": "test", "models": ["toy"], "lengths": [4]}))
    results: dict[str, TaskResult] = {}
    try:
        for result in iter_results(
            drawn.batches, working(drawn.sources, drawn.spec.minimize), {}, SerialBackend(), scratch=str(scratch)
        ):
            results[result.key] = result
    except Killed:
        pass
    return results, mortal.calls


@pytest.mark.parametrize("dies_at", [2, 5])
def test_a_killed_minimisation_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    undisturbed, _ = campaign(tmp_path / "a", monkeypatch, 0)
    assert len(campaign(tmp_path / "b", monkeypatch, dies_at)[0]) < len(undisturbed)
    resumed, _ = campaign(tmp_path / "b", monkeypatch, 0)
    assert set(resumed) == set(undisturbed)
    for key, one in undisturbed.items():
        assert resumed[key].status == one.status
        for name, value in one.data.items():
            np.testing.assert_array_equal(np.asarray(resumed[key].data[name]), np.asarray(value), err_msg=name)


def test_what_was_done_before_the_kill_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = campaign(tmp_path / "a", monkeypatch, 0)
    _, before = campaign(tmp_path / "b", monkeypatch, 5)
    _, after = campaign(tmp_path / "b", monkeypatch, 0)
    assert before + after == whole + 1  # the call that killed it
