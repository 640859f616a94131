"""Trained networks as the data of a task's result, and back: the journal keeps them, so no training is ever lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.learning.networks.trained_files import Curve, Trained

_EV_TO_MEV = 1000.0
_PARAMETER = "parameter "
_CURVE = ("step", "training_loss", "validation_loss", "energy_mae", "forces_rmse", "seconds")


def data_of(trained: Trained) -> dict[str, object]:
    """Plain data: numbers, text, float64 and int64 arrays; parameters of float32 are exact in float64."""
    curve = {name: np.asarray(getattr(trained.curve, name)) for name in _CURVE}
    return {
        "network": trained.spec.to_json(),
        "budget": trained.budget.to_json(),
        "parameters": trained.n_parameters,
        "best_step": trained.curve.best_step,
        "parameter_hash": trained.parameter_hash,
        "training_seconds": trained.seconds,
        **{f"curve {name}": values for name, values in curve.items()},
        # as the store has them
        "step": curve["step"],
        "training_loss": curve["training_loss"],
        "validation_energy_mae": _EV_TO_MEV * curve["energy_mae"],
        "validation_forces_rmse": _EV_TO_MEV * curve["forces_rmse"],
        **{f"{_PARAMETER}{name}": np.asarray(value, dtype=np.float64) for name, value in trained.parameters.items()},
    }


def trained_of(data: Mapping[str, Any]) -> Trained:
    """The reverse."""
    budget = Budget.from_json(str(data["budget"]))
    parameters = {
        name.removeprefix(_PARAMETER): np.asarray(value, dtype=budget.dtype)
        for name, value in data.items()
        if name.startswith(_PARAMETER)
    }
    return Trained(
        spec=NetworkSpec.from_json(str(data["network"])),
        budget=budget,
        parameters=parameters,
        n_parameters=int(data["parameters"]),
        curve=Curve(**{name: np.asarray(data[f"curve {name}"]) for name in _CURVE}),
        seconds=float(data["training_seconds"]),
    )
