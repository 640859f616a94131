"""Train a network on one side of a split, and test it on the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.campaigns.generalization.dataset_parts import origin_of, structures_of
from hbcoop_dist.campaigns.generalization.tasks import DataSource, TrainingTask
from hbcoop_dist.campaigns.generalization.training_results import data_of, trained_of
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.learning.networks.inference import network_of, traits_of
from hbcoop_dist.learning.training.evaluation import Errors, GroupErrors, evaluate
from hbcoop_dist.learning.training.training_loop import train


def trained(
    task: TrainingTask, known: Mapping[str, TaskResult], divided: TaskResult, checkpoint: Path | None, device: str
) -> dict[str, object]:
    """The trained network of a task, as data; `checkpoint` is where a killed one goes on from."""
    structures = structures_of(task.data, known)
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    found = train(
        _network(task, structures),
        _some(structures, divided.data["training"]),
        _some(structures, divided.data["validation"]),
        _budget(task),
        checkpoint=checkpoint,
        device=device,
    )
    about = {**origin_of(task.data), **asdict(traits_of(network_of(found)))}
    return {
        **data_of(found),
        "n_training": len(np.asarray(divided.data["training"])),
        "about": json.dumps(about, sort_keys=True),
    }


def _some(structures: tuple[LabelledStructure, ...], places: object) -> list[LabelledStructure]:
    return [structures[int(place)] for place in np.asarray(places)]


def _network(task: TrainingTask, structures: tuple[LabelledStructure, ...]) -> NetworkSpec:
    """All elements of the set are the network's: those of the test side too."""
    architecture, scheme = task.architecture, task.scheme
    assert architecture is not None
    assert scheme is not None
    return NetworkSpec(
        elements=tuple(sorted({int(z) for one in structures for z in one.numbers})),
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


def _budget(task: TrainingTask) -> Budget:
    assert task.training is not None
    return Budget(**task.training.model_dump(exclude={"validation"}))


def evaluated(
    data: DataSource, known: Mapping[str, TaskResult], divided: TaskResult, network: TaskResult, device: str
) -> dict[str, object]:
    """Errors on the test side, by the names that the store has for them."""
    tested = _some(structures_of(data, known), divided.data["test"])
    return errors_data(evaluate(trained_of(network.data), tested, device=device))


def errors_data(found: Errors) -> dict[str, object]:
    """Errors as plain data."""
    return {
        **{name: getattr(found.all, name) for name in ("energy_rmse", "energy_mae", "forces_rmse", "forces_mae")},
        **{name: getattr(found, name) for name in ("charges_mae", "charges_correlation", "dipole_rmse")},
        "n_test": found.all.count,
        **{
            f"interaction_{where}_{name}": getattr(getattr(found, where), name)
            for where in ("near", "beyond")
            for name in ("rmse", "mae")
        },
        **{f"n_{where}": getattr(found, where).count for where in ("near", "beyond")},
        "domains": json.dumps(list(found.by_domain)),
        **_groups("domain", list(found.by_domain.values())),
        "atoms": np.array(list(found.by_size), dtype=np.int64),
        **_groups("atoms", list(found.by_size.values())),
    }


def _groups(prefix: str, groups: list[GroupErrors]) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    return {
        f"{prefix}_energy_rmse": np.array([one.energy_rmse for one in groups]),
        f"{prefix}_forces_rmse": np.array([one.forces_rmse for one in groups]),
        f"{prefix}_count": np.array([one.count for one in groups], dtype=np.int64),
    }
