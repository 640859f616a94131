"""Train a network on one side of a split, and evaluate it on the other; imported by workers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from hbcoop_dist.campaigns.generalization.dataset_parts import SetOfTask, origin_of
from hbcoop_dist.campaigns.generalization.tasks import (
    EvaluationResult,
    GroupResult,
    SplitResult,
    TrainingResult,
    TrainingTask,
)
from hbcoop_dist.core.arrays import IntArray
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.learning.networks.network_module import network_of, traits_of
from hbcoop_dist.learning.networks.trained_files import NetworkMetadata
from hbcoop_dist.learning.training.evaluation import GroupErrors, evaluate
from hbcoop_dist.learning.training.training_loop import train


def train_network(
    task: TrainingTask, labelled: SetOfTask, sides: SplitResult, checkpoint: Path | None, device: str
) -> TrainingResult:
    """Train the network of a task.

    Parameters
    ----------
    task : TrainingTask
    labelled : SetOfTask
    sides : SplitResult
    checkpoint : Path or None
        File from which a killed training resumes.
    device : str
    """
    structures, _ = labelled.structures()
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    assert task.training is not None
    trained = train(
        _network(task, structures),
        _take(structures, sides.training),
        _take(structures, sides.validation),
        Budget(**task.training.model_dump(exclude={"validation"})),
        checkpoint=checkpoint,
        device=device,
    )
    traits = traits_of(network_of(trained))
    origin = origin_of(task.data)
    metadata = NetworkMetadata(
        level_of_theory=origin["level_of_theory"],
        licence=origin["licence"],
        source=origin["source"],
        **asdict(traits),
    )
    return TrainingResult(trained, len(sides.training), metadata)


def evaluate_network(labelled: SetOfTask, sides: SplitResult, trained: TrainingResult, device: str) -> EvaluationResult:
    """Compute the errors of a network on the test side."""
    structures, _ = labelled.structures()
    errors = evaluate(trained.network, _take(structures, sides.test), device=device)
    return EvaluationResult(
        energy_rmse=errors.all.energy_rmse,
        energy_mae=errors.all.energy_mae,
        forces_rmse=errors.all.forces_rmse,
        forces_mae=errors.all.forces_mae,
        charges_mae=errors.charges_mae,
        charges_correlation=errors.charges_correlation,
        dipole_rmse=errors.dipole_rmse,
        interaction_near_rmse=errors.near.rmse,
        interaction_near_mae=errors.near.mae,
        interaction_beyond_rmse=errors.beyond.rmse,
        interaction_beyond_mae=errors.beyond.mae,
        n_test=errors.all.count,
        n_near=errors.near.count,
        n_beyond=errors.beyond.count,
        by_domain=_groups(errors.by_domain),
        by_size=_groups(errors.by_size),
    )


def _groups(groups: Mapping[str, GroupErrors] | Mapping[int, GroupErrors]) -> tuple[GroupResult, ...]:
    return tuple(
        GroupResult(label, errors.energy_rmse, errors.forces_rmse, errors.count) for label, errors in groups.items()
    )


def _take(structures: tuple[LabelledStructure, ...], indices: IntArray) -> list[LabelledStructure]:
    return [structures[int(index)] for index in indices]


def _network(task: TrainingTask, structures: tuple[LabelledStructure, ...]) -> NetworkSpec:
    """Return the network of a task; its elements are those of the whole set, the test side included."""
    architecture, scheme = task.architecture, task.scheme
    assert architecture is not None
    assert scheme is not None
    return NetworkSpec(
        elements=tuple(sorted({int(z) for structure in structures for z in structure.numbers})),
        architecture=architecture.architecture,
        scheme=scheme.scheme,
        scheme_options=dict(scheme.options),
        cutoff=architecture.cutoff,
        layers=architecture.layers,
        channels=architecture.channels,
        max_ell=architecture.max_ell,
        hidden_ell=architecture.hidden_ell,
        correlation=architecture.correlation,
        n_radial=architecture.radial,
        seed=task.seed,
        architecture_options=dict(architecture.options),
    )
