"""Training lowers the loss, follows from its seed, and a killed one goes on to the same bits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hbcoop_dist.learning.networks.hyperparameters import Budget
from hbcoop_dist.learning.networks.trained_files import Trained
from hbcoop_dist.learning.training.training_loop import TrainingError, batch_indices, train
from hbcoop_dist.testing.learning_examples import SMALL, labelled_waters

TRAINING, VALIDATION = labelled_waters(teacher="gfn2-xtb")[:18], labelled_waters(teacher="gfn2-xtb")[18:]
SHORT = Budget(steps=12, batch_size=4, validate_every=5, dtype="float64")


class Killed(BaseException):
    """What takes the place of a signal."""


def same(one: Trained, other: Trained) -> bool:
    curves = [(c.step, c.training_loss, c.validation_loss, c.energy_mae) for c in (one.curve, other.curve)]
    return one.parameter_hash == other.parameter_hash and all(map(np.array_equal, *curves))


@pytest.fixture(scope="module")
def whole() -> Trained:
    return train(SMALL, TRAINING, VALIDATION, SHORT)


def test_training_lowers_errors_and_keeps_the_best() -> None:
    budget = Budget(steps=120, batch_size=6, validate_every=20)
    trained = train(SMALL, TRAINING, VALIDATION, budget)
    curve = trained.curve
    assert list(curve.step) == [20, 40, 60, 80, 100, 120]
    assert curve.training_loss[-1] < 0.2 * curve.training_loss[0]
    assert curve.forces_rmse[-1] < 0.5 * trained.spec.scale
    assert curve.best_step == curve.step[np.argmin(curve.validation_loss)]
    assert trained.parameters["backbone.network.node_embedding.linear.weight"].dtype == np.float32
    assert 0 < trained.n_parameters <= sum(value.size for value in trained.parameters.values())


@pytest.mark.parametrize("killed_at", [1, 7])
def test_a_killed_training_goes_on_to_the_same_bits(killed_at: int, whole: Trained, tmp_path: Path) -> None:
    path, seen = tmp_path / "folder" / "state.pt", []

    def kill(step: int) -> None:
        if step == killed_at:
            raise Killed

    with pytest.raises(Killed):
        train(SMALL, TRAINING, VALIDATION, SHORT, checkpoint=path, checkpoint_seconds=0.0, progress=kill)
    resumed = train(SMALL, TRAINING, VALIDATION, SHORT, checkpoint=path, progress=seen.append)
    assert seen == list(range(killed_at + 1, SHORT.steps + 1))
    assert same(resumed, whole)
    assert same(train(SMALL, TRAINING, VALIDATION, SHORT, checkpoint=path, progress=seen.append), whole)
    assert seen[-1] == SHORT.steps
    assert [one.name for one in path.parent.iterdir()] == ["state.pt"]


def test_a_checkpoint_of_another_training_or_of_nothing_is_no_start(whole: Trained, tmp_path: Path) -> None:
    path, steps = tmp_path / "state.pt", []
    train(SMALL, TRAINING, VALIDATION, replace(SHORT, steps=2), checkpoint=path)
    again = train(SMALL, TRAINING, VALIDATION, SHORT, checkpoint=path, progress=steps.append)
    assert steps[0] == 1
    path.write_bytes(path.read_bytes()[:1000])
    steps.clear()
    train(SMALL, TRAINING, VALIDATION, replace(SHORT, steps=1), checkpoint=path, progress=steps.append)
    assert steps == [1]
    assert same(again, whole)


def test_the_seed_decides() -> None:
    other = [train(replace(SMALL, seed=1), TRAINING, VALIDATION, replace(SHORT, steps=2)) for _ in range(2)]
    assert same(*other)
    assert not same(other[0], train(SMALL, TRAINING, VALIDATION, replace(SHORT, steps=2)))


def test_every_structure_is_taken_as_often_as_any_other() -> None:
    taken = [place for step in range(21) for place in batch_indices(7, 3, step, seed=2)]
    assert set(Counter(taken).values()) == {9}
    assert sorted(taken[:7]) == list(range(7))
    assert taken[:7] != taken[7:14]


def test_a_loss_that_is_not_finite_is_an_error_that_says_where() -> None:
    with pytest.raises(TrainingError, match="step 1 of 12: expected a finite loss and gradient, found nan"):
        train(SMALL, [replace(TRAINING[0], forces=np.full((3, 3), np.inf))], VALIDATION, SHORT)
    with pytest.raises(ValueError, match="validation set: expected structures"):
        train(SMALL, TRAINING, [], SHORT)


def test_learning_rates_begin_and_end_where_the_budget_says() -> None:
    for schedule in ("cosine", "exponential"):
        budget = Budget(steps=11, learning_rate=0.1, last_learning_rate=0.001, schedule=schedule)  # type: ignore[arg-type]
        rates = [budget.rate(step) for step in range(11)]
        assert rates[0] == pytest.approx(0.1)
        assert rates[-1] == pytest.approx(0.001)
        assert rates == sorted(rates, reverse=True)
