"""Train a network: one loop for all architectures and schemes.

Batches are joined anew in every step: neighbours of ten structures of twelve atoms take 0.5 ms of a CPU, the whole step
50 to 130 ms.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet, LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.network import Network, energy_and_forces
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.learning.networks.prediction import predict
from hbcoop_dist.learning.networks.trained_files import Trained
from hbcoop_dist.learning.training.budget import Budget
from hbcoop_dist.learning.training.targets import Targets, fit_baseline, loss_of, require_known
from hbcoop_dist.learning.training.training_state import TrainingState

CHECKPOINT_SECONDS = 20.0


class TrainingError(Exception):
    """A training that came to nothing; the message names the step, what was expected and found."""


def train(
    spec: NetworkSpec,
    training: Sequence[LabelledStructure],
    validation: Sequence[LabelledStructure],
    budget: Budget,
    *,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: str = "cpu",
    progress: Callable[[int], object] = lambda step: None,
) -> Trained:
    """Train a network from the first parameters of its seed, or go on from a checkpoint.

    On a CPU a training that was killed and went on ends with the bits of one that was not.

    Parameters
    ----------
    spec : NetworkSpec
        Atomic energies, scale and average neighbours are fitted to the training set unless they are given.
    training, validation : sequence of LabelledStructure
    budget : Budget
    checkpoint : Path, optional
        Where the state is kept; written at the end too, and not removed.
    checkpoint_seconds : float
        Least time between two writes.
    device : str
    progress : callable
        Told the number of steps done, after each.

    Raises
    ------
    TrainingError
        When loss or gradient are not finite, or every validation loss is not.
    ValueError
        When there are no structures, they hold elements that the network does not know, they repeat and its scheme is
        not defined for such, or a name is not known.
    """
    if not validation:
        raise ValueError("validation set: expected structures, found none")
    known = spec if spec.fitted else fit_baseline(spec, training)
    require_known(known, [*training, *validation])
    state = TrainingState(known, budget, device, _identity(known, budget, training, validation))
    state.network.scheme.require_defined([one.cell for one in (*training, *validation)])
    if checkpoint is not None:
        state.read(checkpoint)
    began = written = time.monotonic() - state.seconds
    while state.step < budget.steps:
        _step(state, training, device)
        state.seconds = time.monotonic() - began
        if state.step % budget.validate_every == 0 or state.step == budget.steps:
            _validate(state, validation)
            state.seconds = time.monotonic() - began
        last = state.step == budget.steps
        if checkpoint is not None and (last or time.monotonic() - written >= checkpoint_seconds):
            state.write(checkpoint)
            written = time.monotonic()
        progress(state.step)
    return state.trained()


def _step(state: TrainingState, training: Sequence[LabelledStructure], device: str) -> None:
    network, budget = state.network, state.budget
    spec, dtype = network.spec, getattr(torch, budget.dtype)
    some = [training[place] for place in places(len(training), budget.batch_size, state.step, spec.seed)]
    batch = AtomBatch.of(some, spec.elements, spec.cutoff, dtype=dtype, device=device)
    output, forces = energy_and_forces(network, batch, training=True)
    targets = Targets.of(some, dtype=dtype, device=device)
    loss = loss_of(output, forces, batch, targets, budget, with_charges=network.scheme.charges_wanted)
    value, norm = state.apply(loss)
    if not (math.isfinite(value) and math.isfinite(norm)):
        raise TrainingError(
            f"training with scheme {spec.scheme}, step {state.step} of {budget.steps}: expected a finite loss and "
            f"gradient, found {value:g} and {norm:g}; a lower learning_rate may help (now {budget.learning_rate:g})"
        )


def places(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Which of `count` structures a step takes: of shuffled rows of all, one after another, the next `batch_size`.

    It follows from the number of the step alone, and every structure comes as often as any other.
    """
    wanted = range(step * batch_size, (step + 1) * batch_size)
    rows = {row: np.random.default_rng([seed, row]).permutation(count) for row in {k // count for k in wanted}}
    return [int(rows[k // count][k % count]) for k in wanted]


def _validate(state: TrainingState, validation: Sequence[LabelledStructure]) -> None:
    with state.average() as network:
        energy, forces = _errors(network, validation)
    budget = state.budget
    loss = budget.energy_weight * float(np.mean(energy**2))
    loss += budget.forces_weight * float(np.mean(forces**2)) if forces.size else 0.0
    if not math.isfinite(loss):
        raise TrainingError(
            f"training with scheme {network.spec.scheme}, step {state.step}: expected a finite validation loss, "
            f"found {loss:g}"
        )
    rmse = float(np.sqrt(np.mean(forces**2))) if forces.size else float("nan")
    state.note(loss, float(np.mean(np.abs(energy))), rmse)


def _errors(network: Network, structures: Sequence[LabelledStructure]) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the energy per atom, eV, and of force components, eV/A."""
    found = predict(network, structures)
    energy = [(one.energy - label.energy) / len(label) for one, label in zip(found, structures, strict=True)]
    forces = [
        (one.forces - label.forces).ravel()
        for one, label in zip(found, structures, strict=True)
        if one.forces is not None and label.forces is not None
    ]
    return np.array(energy), np.concatenate(forces) if forces else np.zeros(0)


def _identity(
    spec: NetworkSpec, budget: Budget, training: Sequence[LabelledStructure], validation: Sequence[LabelledStructure]
) -> str:
    sets = [LabelledSet("", tuple(some), "", "", "").sha256 for some in (training, validation)]
    return hashlib.sha256("\0".join([spec.to_json(), budget.to_json(), *sets]).encode()).hexdigest()
