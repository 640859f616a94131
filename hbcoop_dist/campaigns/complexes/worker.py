"""Work of campaigns of complexes, in the worker: relax complexes and compute their fragment energies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hbcoop_dist.campaigns.complexes.plan import ComplexTask, RelaxedResult
from hbcoop_dist.campaigns.complexes.spec import Relaxation
from hbcoop_dist.campaigns.model_worker import (
    LoadedModel,
    convergence_goal,
    failed_input,
    fragment_results,
    load_model,
)
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.core.tasks import Batch
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.external.ase_optimizers import relax
from hbcoop_dist.structures import Structure

Result = TaskResult[Any]


@dataclass(frozen=True, slots=True)
class ComplexWork:
    """One batch with everything that a worker needs; attributes as of `hbond.worker.ChainWork`."""

    batch: Batch[ComplexTask]
    source: ModelSource
    minimize: Relaxation
    inputs: Mapping[str, Result]
    device: str = "cpu"
    scratch: str | None = None

    def do(self) -> list[Result]:
        """Do every task of the batch.

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
        for kind in ("relax", "energies"):
            tasks = [task for task in self.batch.tasks if task.kind == kind]
            for task in tasks:
                if reason := failed_input(task.inputs, known):
                    known[task.key] = TaskResult(task.key, "failed", reason, provenance=model.provenance)
            ready = [task for task in tasks if task.key not in known]
            started = time.perf_counter()
            stage = self._relaxations if kind == "relax" else self._energies
            results = list(stage(model, ready, known))
            seconds = (time.perf_counter() - started) / max(len(results), 1)
            known.update((r.key, replace(r, provenance=model.provenance, seconds=seconds)) for r in results)
        return [known[task.key] for task in self.batch.tasks]

    def _relaxations(
        self, model: LoadedModel, tasks: Sequence[ComplexTask], known: Mapping[str, Result]
    ) -> Iterable[Result]:
        minimize, potential = self.minimize, model.potential
        goal = convergence_goal(potential, minimize.max_force, minimize.rms_force, minimize.max_calls)
        for task in tasks:
            relaxed = relax(potential, task.complex.structure, goal)
            reason = ""
            if not relaxed.converged:
                reason = f"max force {relaxed.max_force:.2e} eV/A after {relaxed.force_calls} force calls"
            payload = RelaxedResult(
                relaxed.positions, relaxed.energy, relaxed.max_force, relaxed.rms_force, relaxed.force_calls
            )
            yield TaskResult(task.key, "unconverged" if reason else "done", reason, payload)

    def _energies(
        self, model: LoadedModel, tasks: Sequence[ComplexTask], known: Mapping[str, Result]
    ) -> Iterable[Result]:
        structures = [_geometry(task, known) for task in tasks]
        return fragment_results(model, [task.key for task in tasks], structures, [task.fragments for task in tasks])


def _geometry(task: ComplexTask, known: Mapping[str, Result]) -> Structure:
    if task.geometry is None:
        return task.complex.structure
    relaxed = known[task.geometry].payload_as(RelaxedResult)
    return task.complex.structure.with_positions(relaxed.positions)


def work_factory(sources: Mapping[str, Any], minimize: Relaxation) -> Callable[..., ComplexWork]:
    """Return the function that makes the work of a batch of these models."""

    def make_work(
        batch: Batch[ComplexTask], inputs: Mapping[str, Result], device: str, scratch: str | None
    ) -> ComplexWork:
        return ComplexWork(batch, sources[batch.model], minimize, inputs, device, scratch)

    return make_work
