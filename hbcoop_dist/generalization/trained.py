"""A network that has been trained, as plain arrays: what a training gives, and what files and models are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.generalization.budget import Budget
from hbcoop_dist.generalization.network_spec import NetworkSpec
from hbcoop_dist.models import checkpoints

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """How a training went: one value per validation, V in all.

    Attributes
    ----------
    step : (V,) int array
        Steps done.
    training_loss : (V,) array
        Mean over the steps since the validation before.
    validation_loss : (V,) array
        Of energies and forces, weighted as in training.
    energy_mae : (V,) array
        Of the energy per atom, eV.
    forces_rmse : (V,) array
        Of force components, eV/A; NaN where there are no reference forces.
    seconds : (V,) array
        Wall-clock time of the training so far, s.
    """

    step: NDArray[np.int64]
    training_loss: FloatArray
    validation_loss: FloatArray
    energy_mae: FloatArray
    forces_rmse: FloatArray
    seconds: FloatArray

    @property
    def best_step(self) -> int:
        """Steps done when the parameters were as they are kept."""
        return int(self.step[int(np.argmin(self.validation_loss))])


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained network.

    Attributes
    ----------
    spec : NetworkSpec
        With what was fitted to the training set.
    budget : Budget
    parameters : mapping of str to array
        Averaged ones, those of the lowest validation loss.
    n_parameters : int
        Numbers that were trained.
    curve : Curve
    seconds : float
        Wall-clock time, s, without that of what was lost to a kill.
    """

    spec: NetworkSpec
    budget: Budget
    parameters: Mapping[str, NDArray[np.generic]]
    n_parameters: int
    curve: Curve
    seconds: float

    @property
    def parameter_hash(self) -> str:
        """The same for every way of saving the same parameters."""
        return checkpoints.parameter_hash(self.parameters)
