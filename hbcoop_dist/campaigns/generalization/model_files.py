"""Trained networks as files beside their store: each can be a model of a campaign of hydrogen bonds as it is."""

from __future__ import annotations

from pathlib import Path

from hbcoop_dist.campaigns.generalization.results import TrainingResult
from hbcoop_dist.campaigns.generalization.spec import TrainingCell
from hbcoop_dist.learning.networks.trained_files import write_trained
from hbcoop_dist.store import models_path
from hbcoop_dist.store.errors import writing


def model_path(store: str | Path, cell: TrainingCell) -> Path:
    """Return the path of the file of one network."""
    return models_path(store) / f"{cell.name}.npz"


def write_model(store: str | Path, cell: TrainingCell, result: TrainingResult) -> Path:
    """Write a trained network; return its path.

    Raises
    ------
    StoreWriteError
        When the disk refuses.
    """
    path = model_path(store, cell)
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        write_trained(path, result.network, result.metadata)
    return path
