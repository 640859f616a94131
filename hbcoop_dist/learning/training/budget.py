"""How a network is trained, as plain data: the same number of steps for all, since seconds depend on the machine."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps and what happens in one.

    Attributes
    ----------
    steps : int
    batch_size : int
        Structures of a step.
    learning_rate, last_learning_rate : float
        At the first and at the last step.
    schedule : {"cosine", "exponential"}
        What lies between them.
    energy_weight : float
        Of squared errors of the energy per atom, 1/eV^2.
    forces_weight : float
        Of squared errors of force components, A^2/eV^2.
    charges_weight : float
        Of squared errors of charges, 1/e^2, for schemes that want them.
    dipoles_weight : float
        Of squared errors of the dipole components that follow from the charges, 1/(e A)^2.
    averaging : float
        Decay of the moving average of the parameters, which is what is validated and kept; 0 for none.
    largest_gradient : float
        Norm above which a gradient is scaled down to it.
    validate_every : int
        Steps.
    dtype : {"float32", "float64"}
        Of parameters and positions; energies are summed in float64 in both.
    """

    steps: int = 1200
    batch_size: int = 8
    learning_rate: float = 0.01
    last_learning_rate: float = 1e-4
    schedule: Literal["cosine", "exponential"] = "cosine"
    energy_weight: float = 1.0
    forces_weight: float = 1.0
    charges_weight: float = 0.0
    dipoles_weight: float = 0.0
    averaging: float = 0.99
    largest_gradient: float = 10.0
    validate_every: int = 100
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.validate_every, self.learning_rate, self.last_learning_rate) <= 0:
            raise ValueError(f"budget: expected steps, batch_size and learning rates above zero, found {self}")

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        done = step / max(self.steps - 1, 1)
        first, last = self.learning_rate, self.last_learning_rate
        if self.schedule == "exponential":
            return first * math.exp(math.log(last / first) * done)
        return last + (first - last) * (1 + math.cos(math.pi * done)) / 2

    def decay(self, step: int) -> float:
        """Decay of the average at a step: the first parameters, drawn at random, have to be forgotten fast."""
        return min(self.averaging, (1 + step) / (10 + step))

    def to_json(self) -> str:
        """The same as one line of JSON, keys in order."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Budget:
        """The reverse."""
        return cls(**json.loads(text))
