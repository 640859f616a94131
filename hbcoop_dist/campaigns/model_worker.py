"""What workers of the kinds that run models share: the loop over the tasks of a batch, and fragment energies.

A batch and its results are plain data, so that a worker may run in another Python. A task that fails gives a result
with a reason, and the other tasks of the batch go on.
"""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from hbcoop_dist.campaigns.model_tasks import FragmentResult
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.core.results import Provenance, TaskResult, now, package_versions
from hbcoop_dist.core.tasks import Batch, Task
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelCard, ModelError, Potential
from hbcoop_dist.models.batching import BatchSize
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.quasi_newton import Goal
from hbcoop_dist.structures import Structure, monomer
from hbcoop_dist.structures.structure import Molecules

Result = TaskResult[Any]
SettingsT = TypeVar("SettingsT")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in this worker process.

    Attributes
    ----------
    potential : Potential
    checkpoint : Path or None
    size : BatchSize
        What this process has learnt about how many atoms fit into one call.
    provenance : Provenance
    """

    potential: Potential
    checkpoint: Path | None
    size: BatchSize
    provenance: Provenance


class ModelTask(Task, Protocol):
    """A task whose kind decides at which stage of a batch it is done."""

    @property
    def kind(self) -> str: ...


TaskT = TypeVar("TaskT", bound=ModelTask)


@dataclass(frozen=True, slots=True)
class ModelWork(ABC, Generic[TaskT, SettingsT]):
    """One batch of tasks of a model with everything that a worker needs.

    Attributes
    ----------
    batch : Batch
    source : ModelSource
    minimize : object
        Settings of the minimisations of the campaign.
    inputs : mapping of str to TaskResult
        Results of tasks outside the batch, by key.
    device : str
    scratch : str or None
        Folder of restart files; None writes none.
    """

    batch: Batch[TaskT]
    source: ModelSource
    minimize: SettingsT
    inputs: Mapping[str, Result]
    device: str = "cpu"
    scratch: str | None = None

    @classmethod
    def factory(cls, sources: Mapping[str, Any], minimize: SettingsT) -> Callable[..., ModelWork[TaskT, SettingsT]]:
        """Return the function that makes the work of a batch of these models."""

        def make_work(
            batch: Batch[TaskT], inputs: Mapping[str, Result], device: str, scratch: str | None
        ) -> ModelWork[TaskT, SettingsT]:
            return cls(batch, sources[batch.model], minimize, inputs, device, scratch)

        return make_work

    def do(self) -> list[Result]:
        """Do every task of the batch, one kind of task after the other.

        Returns
        -------
        list of TaskResult
            In the order of the tasks.

        Raises
        ------
        Exception
            Whatever loading the model, or evaluating a whole batch, raises: the caller splits the batch or gives up.
        """
        model = load_model(self.source, self.device, self.scratch)
        known = dict(self.inputs)
        for kind, stage in self.stages(model, known).items():
            tasks = [task for task in self.batch.tasks if task.kind == kind]
            for task in tasks:
                if reason := _failed_input(self.required_inputs(task), known):
                    known[task.key] = TaskResult(task.key, "failed", reason, provenance=model.provenance)
            ready = [task for task in tasks if task.key not in known]
            started = time.perf_counter()
            results = list(stage(ready))
            seconds = (time.perf_counter() - started) / max(len(results), 1)
            for task, result in zip(ready, results, strict=True):
                known[task.key] = replace(result, provenance=self.provenance(model, task), seconds=seconds)
        return [known[task.key] for task in self.batch.tasks]

    @abstractmethod
    def stages(
        self, model: LoadedModel, known: Mapping[str, Result]
    ) -> Mapping[str, Callable[[Sequence[TaskT]], Iterable[Result]]]:
        """Return the function that does the tasks of each kind, in the order in which they depend on each other.

        Parameters
        ----------
        model : LoadedModel
        known : mapping of str to TaskResult
            Results so far by key; it grows with every stage.
        """

    def required_inputs(self, task: TaskT) -> tuple[str, ...]:
        """Return the keys of the results without which a task fails."""
        return task.inputs

    def provenance(self, model: LoadedModel, task: TaskT) -> Provenance:
        """Return the provenance of the result of a task."""
        return model.provenance


def _failed_input(keys: Iterable[str], known: Mapping[str, Result]) -> str:
    """Return why a task cannot start: one of its inputs failed; empty when none did."""
    for key in keys:
        if known[key].status in ("failed", "quarantined"):
            return f"a geometry it starts from failed: {known[key].reason}"
    return ""


_potentials: dict[tuple[str, str, str | None, str], Potential] = {}
_sizes: dict[int, tuple[Potential, BatchSize]] = {}


def load_model(source: ModelSource, device: str, scratch: str | None) -> LoadedModel:
    """Load a model, or return the one that this process has loaded last.

    Only the last model is kept, since a GPU rarely holds two.

    Parameters
    ----------
    source : ModelSource
    device : str
        Of the worker; a model without a GPU code path runs on the CPU.
    scratch : str or None
        Folder for files that a potential may keep between calls.

    Raises
    ------
    Exception
        Whatever loading the model raises.
    """
    potential = load_potential(source.card, source.path, device if source.card.needs.gpu else "cpu")
    provenance = _provenance(potential)
    size = _size_of(potential)
    if scratch is not None:
        potential = potential.with_scratch(Path(scratch))
    return LoadedModel(potential, None if source.path is None else Path(source.path), size, provenance)


def load_potential(card: ModelCard, path: str | None, device: str) -> Potential:
    """Load a potential, or return the one that this process has loaded last."""
    key = (card.family, card.name, path, device)
    if key not in _potentials:
        _potentials.clear()
        _potentials[key] = registry.load(card, path, device)
    return _potentials[key]


def _size_of(potential: Potential) -> BatchSize:
    if id(potential) not in _sizes:
        _sizes.clear()
        _sizes[id(potential)] = (potential, BatchSize.of(potential.device))
    return _sizes[id(potential)][1]


def _provenance(potential: Potential) -> Provenance:
    return Provenance(
        host=socket.gethostname(),
        device=potential.device,
        dtype=potential.card.abilities.dtype,
        parameter_hash=potential.parameter_hash,
        versions=package_versions(*potential.card.needs.packages, "numpy", "hbcoop_dist"),
        computed_at=now(),
    )


def convergence_goal(potential: Potential, max_force: float, rms_force: float | None, max_calls: int) -> Goal:
    """Return the convergence criterion that a model can reach."""
    # float32 forces carry 3e-5 to 2e-4 eV/A of noise and energies about 1e-7 of their size (measured)
    noise = 1e-7 if potential.card.abilities.dtype == "float64" else 2e-3
    return Goal(max(max_force, potential.card.abilities.max_force or 0.0), rms_force, max_calls, noise)


def fragment_results(
    model: LoadedModel,
    keys: Sequence[str],
    structures: Sequence[Structure],
    fragments: Sequence[tuple[Molecules, ...] | None],
) -> Iterable[TaskResult[FragmentResult]]:
    """Compute fragment energies of several structures in as few calls of the model as fit.

    Parameters
    ----------
    model : LoadedModel
    keys : sequence of str
        Keys of the tasks.
    structures : sequence of Structure
    fragments : sequence
        Fragments of each structure; None stands for every distinct one.

    Yields
    ------
    TaskResult
        In the order of `keys`, without provenance.
    """
    evaluated = evaluate_fragments(model.potential, structures, fragments, batch=model.size)
    for key, structure, energies in zip(keys, structures, evaluated, strict=True):
        molecules = range(len(structure.kinds))
        members = np.array([[molecule in fragment for molecule in molecules] for fragment in energies.fragments])
        payload = FragmentResult(
            members, energies.energies, energies.atom_energies, energies.parts, energies.member_energies
        )
        if np.isfinite(energies.energies).all():
            yield TaskResult(key, "done", payload=payload)
        else:
            yield TaskResult(key, "failed", "an energy is not finite", payload)


def try_calculators(sources: Iterable[ModelSource]) -> None:
    """Evaluate one NMA molecule with every ASE calculator of a campaign.

    The class of another package may raise anything, so this is tried before any job is submitted.

    Raises
    ------
    ModelError
        When a calculator cannot be made, or fails.
    """
    for source in sources:
        if source.card.family != "ase" or not source.here:
            continue
        try:
            registry.load(source.card).evaluate([monomer()])
        except ModelError:
            raise
        except Exception as error:
            calculator = source.card.options["calculator"]
            raise ModelError(
                f"model {source.card.name}: expected energy and forces of one NMA molecule from calculator "
                f"{calculator}, found {type(error).__name__}: {error}"
            ) from error
