"""Trained networks as files beside their store: each can go through a campaign of hydrogen bonds as it is."""

from __future__ import annotations

import json
from pathlib import Path

from hbcoop_dist.campaigns.generalization.spec import TrainingCell
from hbcoop_dist.campaigns.generalization.training_results import trained_of
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.learning.networks.trained_files import NetworkMetadata, write_trained
from hbcoop_dist.store.errors import writing
from hbcoop_dist.store.paths import StorePaths


def models_path(store: str | Path) -> Path:
    """The folder of trained networks that belongs to a store."""
    path = StorePaths.of(store).store
    return path.with_name(path.name + ".models")


def model_path(store: str | Path, cell: TrainingCell) -> Path:
    """The file of one network."""
    return models_path(store) / f"{cell.name}.npz"


def write_model(store: str | Path, cell: TrainingCell, result: TaskResult) -> Path:
    """Write the network that a training gave."""
    path = model_path(store, cell)
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        write_trained(path, trained_of(result.data), NetworkMetadata(**json.loads(str(result.data["about"]))))
    return path
