"""Networks are trained on structures that repeat, go on after a kill, and are tested without what cells do not have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hbcoop_dist.campaigns.generalization.plan import make_plan
from hbcoop_dist.campaigns.generalization.spec import GeneralizationSpec
from hbcoop_dist.campaigns.generalization.tasks import EvaluationResult, LabelResult, SplitResult
from hbcoop_dist.campaigns.generalization.worker import TrainingWork
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure, PackedStructures, isolated_molecules
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import Budget
from hbcoop_dist.learning.networks.network_module import Output, network_of, predict
from hbcoop_dist.learning.networks.trained_files import Trained
from hbcoop_dist.learning.training.evaluation import evaluate
from hbcoop_dist.learning.training.training_loop import Targets, fit_baseline, train, training_loss
from hbcoop_dist.testing.learning_examples import SALT, SKEWED, SMALL, labelled_salt, random_crystal, rock_salt

TRAINING, VALIDATION, TEST = labelled_salt()[:10], labelled_salt()[10:12], labelled_salt()[12:]
SHORT = Budget(steps=6, batch_size=3, validate_every=4, charges_weight=1.0, dtype="float64")
SCHEMES = ("none", "charge-embedding", "les", "celli")


class Killed(BaseException):
    """What takes the place of a signal."""


def same(one: Trained, other: Trained) -> bool:
    curves = [(c.step, c.training_loss, c.validation_loss, c.energy_mae) for c in (one.curve, other.curve)]
    return one.parameter_hash == other.parameter_hash and all(map(np.array_equal, *curves))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_killed_training_goes_on_to_the_same_bits(scheme: str, tmp_path: Path) -> None:
    spec, path, seen = replace(SALT, scheme=scheme), tmp_path / "state.pt", []
    whole = train(spec, TRAINING, VALIDATION, SHORT)

    def kill(step: int) -> None:
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        train(spec, TRAINING, VALIDATION, SHORT, checkpoint=path, checkpoint_seconds=0.0, progress=kill)
    resumed = train(spec, TRAINING, VALIDATION, SHORT, checkpoint=path, progress=seen.append)
    assert seen == [4, 5, 6]
    assert same(resumed, whole)


def test_training_lowers_errors_of_crystals_in_float32() -> None:
    """CELLI learns energies and forces of Lennard-Jones, and the charges it is shown."""
    budget = Budget(steps=60, batch_size=4, validate_every=20, charges_weight=10.0)
    trained = train(replace(SALT, scheme="celli"), TRAINING, VALIDATION, budget)
    assert trained.curve.training_loss[-1] < 0.3 * trained.curve.training_loss[0]
    errors = evaluate(trained, TEST)
    assert errors.n_charges == sum(len(one) for one in TEST)
    assert errors.charges_correlation > 0.99
    assert errors.all.forces_rmse < 1e3 * trained.spec.scale
    assert set(errors.by_domain) == {"cubic", "primitive"}


def test_neighbours_of_the_baseline_are_those_within_the_cutoff() -> None:
    """Six and twelve around every ion of rock salt, in either cell."""
    spec = fit_baseline(SALT, [rock_salt(), rock_salt(cubic=True)])
    assert spec.average_neighbours == 18


def test_a_scheme_that_cells_do_not_have_fails_before_the_first_step() -> None:
    seen: list[int] = []
    with pytest.raises(ValueError, match="scheme efa: expected structures that are not periodic, found 2 of 12"):
        train(
            replace(SALT, scheme="efa"),
            [replace(one, cell=None) for one in TRAINING],
            VALIDATION,
            SHORT,
            progress=seen.append,
        )
    assert seen == []


def test_as_tasks_of_a_campaign_they_are_done_or_fail_for_that_reason(tmp_path: Path) -> None:
    """From packed labels through training and test, as a worker does them."""
    spec = GeneralizationSpec.model_validate(
        {
            "campaign": "crystals",
            "kind": "generalization",
            "datasets": {"name": "salt", "generate": "ionic", "size": 16},
            "architectures": {"name": "mace-small", "channels": 4, "max_ell": 1, "hidden_ell": 0},
            "schemes": ["celli", "efa"],
            "training": {"steps": 2, "batch_size": 2, "validate_every": 2},
        }
    )
    drawn = make_plan(spec)
    known: dict[str, TaskResult] = {}
    for task in drawn.tasks.values():
        if task.kind == "label":
            payload: LabelResult | SplitResult = LabelResult(PackedStructures.of(labelled_salt()), ())
        elif task.kind == "split":
            sides = (np.arange(10), np.arange(10, 12), np.arange(12, 16))
            payload = SplitResult(*sides, similarity=np.ones(4), notes=())
        else:
            continue
        known[task.key] = TaskResult(task.key, "done", payload=payload)
    found = {}
    for batch in drawn.batches:
        if batch.tasks[0].kind == "train":
            source, scratch, arrays = drawn.sources[batch.model], str(tmp_path / "scratch"), str(tmp_path / "arrays")
            work = TrainingWork(batch, source, known, "cpu", scratch, arrays)
            found[batch.tasks[0].scheme.name] = work.do()
    assert [one.status for one in found["celli"]] == ["done", "done"]
    errors = found["celli"][1].payload_as(EvaluationResult)
    assert errors.n_test == 4
    assert np.isfinite(errors.charges_mae)
    assert [one.status for one in found["efa"]] == ["failed", "failed"]
    for one in found["efa"]:
        assert "scheme efa: expected structures that are not periodic, found 12 of 12 with a cell" in one.reason


def pair(distance: float, cell: np.ndarray, **labels: object) -> LabelledStructure:
    """Two molecules of two atoms, one `distance` above the other; the second reaches through the cell's face."""
    places = np.array([[0.0, 0, 0], [1.0, 0, 0], [0.0, 0, distance], [1.0, 0, distance]])
    numbers = np.array([8, 1, 8, 1])
    return LabelledStructure(
        numbers, places, 0.0, None, "p", "d", molecules=np.array([0, 0, 1, 1]), molecule_charges=(0, 0), cell=cell,
        **labels,  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_gap_is_to_the_nearest_image_of_another_molecule() -> None:
    cell = np.diag([30.0, 30.0, 12.0])
    assert pair(5.0, cell).gap == pytest.approx(5.0)
    assert pair(9.0, cell).gap == pytest.approx(3.0)
    assert pair(9.0, np.diag([2.0, 30.0, 40.0])).gap == pytest.approx(9.0)
    assert replace(pair(9.0, cell), cell=None).gap == pytest.approx(9.0)
    one = random_crystal(6, molecules=3)
    shifts = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ SKEWED
    between = one.positions[:, None] - one.positions[None, :]
    r = np.linalg.norm(between[:, :, None] + shifts, axis=-1).min(axis=-1)
    assert one.gap == pytest.approx(r[one.molecules[:, None] != one.molecules[None, :]].min(), abs=1e-12)


def test_interactions_are_less_molecules_alone_in_the_same_cell() -> None:
    """Beyond the cutoff there is none without a scheme, though molecules feel their images; through a face there is."""
    trained = train(SMALL, [pair(2.5, 9.0 * np.eye(3))], [pair(3.0, 9.0 * np.eye(3))], replace(SHORT, steps=2))
    apart, through = pair(6.0, np.diag([2.5, 30.0, 12.0])), pair(6.0, np.diag([30.0, 30.0, 8.5]))
    network = network_of(trained)
    for one in (apart, through):
        alone = isolated_molecules(one)
        assert all(part.cell is one.cell for part in alone)
        whole, *parts = (found.energy for found in predict(network, [one, *alone]))
        left = whole - sum(parts)
        assert abs(left) < 1e-10 if one is apart else abs(left) > 1e-6
    errors = evaluate(trained, [replace(one, interaction_energy=0.0) for one in (apart, through)])
    assert (errors.near.count, errors.beyond.count) == (1, 1)
    assert errors.beyond.mae == pytest.approx(0, abs=1e-8)
    assert errors.near.mae > 1e-5


def test_dipoles_of_what_repeats_count_for_nothing() -> None:
    crystal = replace(rock_salt(), dipole=np.array([1.0, 2.0, 3.0]))
    molecule = replace(crystal, cell=None)
    batch = AtomBatch.of([crystal, molecule], (11, 17), 4.0)
    targets = Targets.of([crystal, molecule], dtype=torch.float64, device="cpu")
    assert torch.isnan(targets.dipoles[0]).all()
    assert torch.equal(targets.dipoles[1], torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    charges = torch.zeros(4, dtype=torch.float64)
    output = Output(torch.zeros(2, dtype=torch.float64), charges, charges)
    budget = Budget(dipoles_weight=1.0)
    loss = training_loss(output, torch.zeros(4, 3).double(), batch, targets, budget, fit_charges=True)
    assert loss.item() == pytest.approx(14.0 / 3)
    trained = train(replace(SALT, scheme="celli"), TRAINING, VALIDATION, replace(SHORT, steps=1))
    errors = evaluate(trained, [crystal, molecule])
    assert errors.n_dipoles == 1
    assert errors.n_charges == 4
