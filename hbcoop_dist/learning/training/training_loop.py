"""Training of a network: one loop for all architectures and schemes, resumable to the bit on a CPU.

Batches are joined anew in every step: finding the neighbours of ten structures of twelve atoms takes 0.5 ms of a CPU,
the whole step 50 to 130 ms.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.files import atomic_write
from hbcoop_dist.learning.datasets.labelled_structures import LabelledSet, LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch, find_edges
from hbcoop_dist.learning.networks.hyperparameters import Budget, NetworkSpec
from hbcoop_dist.learning.networks.network_module import Network, Output, energy_and_forces, predict
from hbcoop_dist.learning.networks.trained_files import Curve, Trained
from hbcoop_dist.learning.training.evaluation import force_errors, mae_of, rmse_of

CHECKPOINT_SECONDS = 20.0
_SAVED = ("averaged", "best", "rows", "step", "loss_sum", "loss_count", "seconds")
"""Attributes of a training that its file holds as they are."""
_COLUMNS = ("step", "training_loss", "validation_loss", "energy_mae", "forces_rmse", "seconds")


class TrainingError(Exception):
    """A training failed; the message names the step, what was expected and what was found."""


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
    """Train a network from the initial parameters of its seed, or resume from a checkpoint.

    On a CPU an interrupted and resumed training ends with the same bits as an undisturbed one.

    Parameters
    ----------
    spec : NetworkSpec
        Atomic energies, scale and average neighbours are fitted to the training set unless they are given.
    training, validation : sequence of LabelledStructure
    budget : Budget
    checkpoint : Path, optional
        File of the training state, which is also written at the end and not removed. A file that is unreadable or
        belongs to another training is ignored.
    checkpoint_seconds : float
        Least time between two writes, s.
    device : str
    progress : callable
        Called with the number of steps done after each step.

    Returns
    -------
    Trained

    Raises
    ------
    TrainingError
        When the loss, its gradient or the validation loss is not finite.
    ValueError
        When there are no structures, they contain elements outside the spec, they are periodic and the scheme is not
        defined for periodic structures, or the architecture, the scheme or one of their options is unknown.
    """
    if not validation:
        raise ValueError("validation set: expected structures, found none")
    fitted = spec if spec.atomic_energies else fit_baseline(spec, training)
    require_elements_of_network(fitted, [*training, *validation])
    state = _TrainingState(fitted, budget, device, _identity(fitted, budget, training, validation))
    state.network.scheme.require_supported([structure.cell for structure in (*training, *validation)])
    if checkpoint is not None:
        state.read(checkpoint)
    began = written = time.monotonic() - state.seconds
    while state.step < budget.steps:
        _train_step(state, training, device)
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


def fit_baseline(spec: NetworkSpec, training: Sequence[LabelledStructure]) -> NetworkSpec:
    """Fit atomic energies, energy scale and average number of neighbours to a training set.

    Atomic energies are a least-squares fit, which leaves to the network what a sum over atoms cannot describe. The
    scale is the RMS of force components, as in MACE, which makes the forces of an untrained network as large as those
    to be learnt; without forces it is the RMS residual of the fit per atom.

    Parameters
    ----------
    spec : NetworkSpec
    training : sequence of LabelledStructure

    Raises
    ------
    ValueError
        When there are no structures, or they contain elements outside the spec.
    """
    if not training:
        raise ValueError("training set: expected structures, found none")
    require_elements_of_network(spec, training)
    counts = np.stack([[np.sum(one.numbers == z) for z in spec.elements] for one in training]).astype(float)
    energies = np.array([structure.energy for structure in training])
    # the minimum-norm solution where compositions do not determine the elements
    atomic = np.linalg.lstsq(counts, energies, rcond=1e-10)[0]
    edges, _ = find_edges(training, spec.cutoff)
    forces = [structure.forces for structure in training if structure.forces is not None]
    spread = np.concatenate(forces) if forces else (energies - counts @ atomic) / counts.sum(axis=1)
    return replace(
        spec,
        atomic_energies=tuple(float(value) for value in atomic),
        scale=float(np.sqrt(np.mean(spread**2))) or 1.0,
        average_neighbours=max(edges.shape[1] / int(counts.sum()), 1.0),
    )


def require_elements_of_network(spec: NetworkSpec, structures: Sequence[LabelledStructure]) -> None:
    """Refuse structures with elements that a network does not have.

    Parameters
    ----------
    spec : NetworkSpec
    structures : sequence of LabelledStructure

    Raises
    ------
    ValueError
        When there are such elements; the message names their atomic numbers.
    """
    numbers = {int(z) for structure in structures for z in structure.numbers}
    if unknown := sorted(numbers - set(spec.elements)):
        raise ValueError(f"network of elements {spec.elements}: expected no others, found atomic numbers {unknown}")


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Return the indices of the training structures of a step.

    Steps take consecutive batches of concatenated permutations of all structures. The result depends on the number of
    the step alone, and every structure is used equally often.

    Parameters
    ----------
    count : int
        Number of training structures.
    batch_size : int
    step : int
        From 0.
    seed : int
    """
    positions = range(step * batch_size, (step + 1) * batch_size)
    epochs = {k // count for k in positions}
    orders = {epoch: np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs}
    return [int(orders[k // count][k % count]) for k in positions]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Labels of S structures of N atoms in all; missing labels are NaN.

    Attributes
    ----------
    energy : (S,) float64 tensor
        eV.
    sizes : (S,) float64 tensor
        Numbers of atoms.
    forces : (N, 3) tensor
        eV/A.
    charges : (N,) tensor
        e.
    dipoles : (S, 3) tensor
        e A; NaN for periodic structures, whose dipole depends on the choice of images.
    """

    energy: torch.Tensor
    sizes: torch.Tensor
    forces: torch.Tensor
    charges: torch.Tensor
    dipoles: torch.Tensor

    @classmethod
    def of(cls, structures: Sequence[LabelledStructure], *, dtype: torch.dtype, device: str) -> Targets:
        """Collect the labels of structures, in the order of their `AtomBatch`.

        Parameters
        ----------
        structures : sequence of LabelledStructure
        dtype : torch.dtype
            Of forces, charges and dipoles.
        device : str
        """

        def joined(labels: Sequence[FloatArray | None], shapes: Sequence[tuple[int, ...]]) -> torch.Tensor:
            filled = [
                np.full(shape, np.nan) if label is None else label for label, shape in zip(labels, shapes, strict=True)
            ]
            return torch.as_tensor(np.concatenate(filled), dtype=dtype, device=device)

        sizes = [len(structure) for structure in structures]
        dipoles = [structure.dipole if structure.cell is None else None for structure in structures]
        energies = [structure.energy for structure in structures]
        return cls(
            energy=torch.tensor(energies, dtype=torch.float64, device=device),
            sizes=torch.tensor(sizes, dtype=torch.float64, device=device),
            forces=joined([structure.forces for structure in structures], [(n, 3) for n in sizes]),
            charges=joined([structure.charges for structure in structures], [(n,) for n in sizes]),
            dipoles=joined(dipoles, [(3,)] * len(sizes)).reshape(-1, 3),
        )


def training_loss(
    output: Output, forces: torch.Tensor, batch: AtomBatch, targets: Targets, budget: Budget, *, fit_charges: bool
) -> torch.Tensor:
    """Return the weighted sum of mean squared errors; missing labels do not contribute.

    Parameters
    ----------
    output : Output
    forces : (N, 3) tensor
        Predicted forces, eV/A.
    batch : AtomBatch
    targets : Targets
    budget : Budget
        Weights of the terms.
    fit_charges : bool
        Whether charges, and the dipoles that follow from them, are compared.

    Returns
    -------
    scalar tensor
    """
    per_atom = (output.energy - targets.energy) / targets.sizes
    total = budget.energy_weight * (per_atom**2).mean()
    total = total + budget.forces_weight * _mean_square(forces, targets.forces)
    if fit_charges and output.charges is not None:
        total = total + budget.charges_weight * _mean_square(output.charges, targets.charges)
        if budget.dipoles_weight:
            dipoles = batch.sum_structures(output.charges[:, None] * batch.positions)
            total = total + budget.dipoles_weight * _mean_square(dipoles, targets.dipoles)
    return total


def _mean_square(prediction: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    present = ~torch.isnan(label)
    # a mean over the selected labels would be NaN without any
    difference = torch.where(present, prediction - torch.where(present, label, 0.0), 0.0)
    return (difference**2).sum() / present.sum().clamp(min=1)


def _train_step(state: _TrainingState, training: Sequence[LabelledStructure], device: str) -> None:
    network, budget = state.network, state.budget
    spec, dtype = network.spec, getattr(torch, budget.dtype)
    structures = [training[index] for index in batch_indices(len(training), budget.batch_size, state.step, spec.seed)]
    batch = AtomBatch.of(structures, spec.elements, spec.cutoff, dtype=dtype, device=device)
    output, forces = energy_and_forces(network, batch, training=True)
    targets = Targets.of(structures, dtype=dtype, device=device)
    loss = training_loss(output, forces, batch, targets, budget, fit_charges=network.scheme.fits_charges)
    value, norm = state.apply(loss)
    if not (math.isfinite(value) and math.isfinite(norm)):
        raise TrainingError(
            f"training with scheme {spec.scheme}, step {state.step} of {budget.steps}: expected a finite loss and "
            f"gradient, found {value:g} and {norm:g}; a lower learning_rate may help (now {budget.learning_rate:g})"
        )


def _validate(state: _TrainingState, validation: Sequence[LabelledStructure]) -> None:
    with state.average() as network:
        predictions = predict(network, validation)
    pairs = zip(predictions, validation, strict=True)
    energy = np.array([(prediction.energy - label.energy) / len(label) for prediction, label in pairs])
    forces = force_errors(predictions, validation)
    budget = state.budget
    loss = budget.energy_weight * float(np.mean(energy**2))
    loss += budget.forces_weight * float(np.mean(forces**2)) if forces.size else 0.0
    if not math.isfinite(loss):
        raise TrainingError(
            f"training with scheme {network.spec.scheme}, step {state.step}: expected a finite validation loss, "
            f"found {loss:g}"
        )
    state.record_validation(loss, mae_of(energy), rmse_of(forces))


def _identity(
    spec: NetworkSpec, budget: Budget, training: Sequence[LabelledStructure], validation: Sequence[LabelledStructure]
) -> str:
    """Hash of everything that decides the result of a training."""
    sets = [LabelledSet("", tuple(structures), "", "", "").sha256 for structures in (training, validation)]
    settings = [json.dumps(asdict(values), sort_keys=True) for values in (spec, budget)]
    return hashlib.sha256("\0".join([*settings, *sets]).encode()).hexdigest()


class _TrainingState:
    """State of a training, in memory and in a file: parameters, optimiser, average, the best so far, learning curve.

    Learning rates and the order of structures follow from the number of the step, so the state determines how the
    training continues.

    Parameters
    ----------
    spec : NetworkSpec
    budget : Budget
    device : str
    identity : str
        Hash of everything that decides the result; files with another identity are not read.
    """

    def __init__(self, spec: NetworkSpec, budget: Budget, device: str, identity: str) -> None:
        self.budget, self.identity = budget, identity
        self.network = Network(spec).to(device=device, dtype=getattr(torch, budget.dtype))
        trainable = [(name, value) for name, value in self.network.named_parameters() if value.requires_grad]
        self.names, self.live = zip(*trainable, strict=True)
        self.optimiser = torch.optim.Adam(self.live, lr=budget.learning_rate, amsgrad=True, fused=True)
        self.averaged = [value.detach().clone() for value in self.live]
        self.best = [value.clone() for value in self.averaged]
        self.step, self.loss_sum, self.loss_count, self.seconds = 0, 0.0, 0, 0.0
        self.rows: list[list[float]] = []

    def apply(self, loss: torch.Tensor) -> tuple[float, float]:
        """Do one step of the optimiser; return the loss and the norm of its gradient."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.budget.rate(self.step)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.live, self.budget.largest_gradient)
        self.optimiser.step()
        live = [value.detach() for value in self.live]
        update_average = get_ema_multi_avg_fn(self.budget.decay(self.step))  # type: ignore[no-untyped-call]
        update_average(self.averaged, live, self.step)
        value = float(loss.detach())
        self.step, self.loss_sum, self.loss_count = self.step + 1, self.loss_sum + value, self.loss_count + 1
        return value, float(norm)

    @contextlib.contextmanager
    def average(self) -> Iterator[Network]:
        """Yield the network with the averaged parameters in it."""
        live = [value.detach().clone() for value in self.live]
        _copy(self.averaged, self.live)
        try:
            yield self.network
        finally:
            _copy(live, self.live)

    def record_validation(self, validation_loss: float, energy_mae: float, forces_rmse: float) -> None:
        """Append a row to the learning curve, and keep the averaged parameters if they are the best so far."""
        if validation_loss < min((row[2] for row in self.rows), default=float("inf")):
            self.best = [value.clone() for value in self.averaged]
        mean = self.loss_sum / max(self.loss_count, 1)
        self.rows.append([self.step, mean, validation_loss, energy_mae, forces_rmse, self.seconds])
        self.loss_sum, self.loss_count = 0.0, 0

    def trained(self) -> Trained:
        """Return the best network so far."""
        columns = dict(zip(_COLUMNS, np.array(self.rows).T, strict=True))
        best = {name: value.cpu().numpy() for name, value in zip(self.names, self.best, strict=True)}
        parameters = self.network.named_parameters()
        fixed = {name: value.detach().cpu().numpy() for name, value in parameters if name not in best}
        return Trained(
            spec=self.network.spec,
            budget=self.budget,
            parameters={**fixed, **best},
            n_parameters=sum(value.size for value in best.values()),
            curve=Curve(**{**columns, "step": columns["step"].astype(np.int64)}),
            seconds=self.seconds,
        )

    def write(self, path: Path) -> None:
        """Write the state atomically; failures, such as a full disk, are ignored, since the file only saves time."""
        state = {
            "identity": self.identity,
            "live": [value.detach() for value in self.live],
            "optimiser": self.optimiser.state_dict(),
            **{name: getattr(self, name) for name in _SAVED},
        }
        with contextlib.suppress(OSError, RuntimeError), atomic_write(path) as file:
            torch.save(state, file)

    def read(self, path: Path) -> bool:
        """Restore the state from a file; return whether there was a readable one of this training."""
        device = self.live[0].device
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            if state["identity"] != self.identity:
                return False
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
            return False
        _copy(state["live"], self.live)
        self.optimiser.load_state_dict(state["optimiser"])
        for name in _SAVED:
            setattr(self, name, state[name])
        return True


def _copy(values: Any, into: Any) -> None:
    with torch.no_grad():
        for target, value in zip(into, values, strict=True):
            target.copy_(value)
