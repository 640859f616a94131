"""Work of campaigns of complexes, in the worker: relax complexes and compute their fragment energies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hbcoop_dist.campaigns.complexes.plan import ComplexTask, RelaxedResult
from hbcoop_dist.campaigns.complexes.spec import Relaxation
from hbcoop_dist.campaigns.model_worker import LoadedModel, ModelWork, Result, convergence_goal, fragment_results
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.optimize.external.ase_optimizers import relax
from hbcoop_dist.structures import Structure


@dataclass(frozen=True, slots=True)
class ComplexWork(ModelWork[ComplexTask, Relaxation]):
    """One batch of a campaign of complexes."""

    def stages(
        self, model: LoadedModel, known: Mapping[str, Result]
    ) -> Mapping[str, Callable[[Sequence[ComplexTask]], Iterable[Result]]]:
        """Relax complexes, then compute fragment energies; see `ModelWork.stages`."""
        return {
            "relax": lambda tasks: self._relaxations(model, tasks),
            "energies": lambda tasks: _energies(model, tasks, known),
        }

    def _relaxations(self, model: LoadedModel, tasks: Sequence[ComplexTask]) -> Iterable[Result]:
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


def _energies(model: LoadedModel, tasks: Sequence[ComplexTask], known: Mapping[str, Result]) -> Iterable[Result]:
    structures = [_geometry(task, known) for task in tasks]
    return fragment_results(model, [task.key for task in tasks], structures, [task.fragments for task in tasks])


def _geometry(task: ComplexTask, known: Mapping[str, Result]) -> Structure:
    if task.geometry is None:
        return task.complex.structure
    relaxed = known[task.geometry].payload_as(RelaxedResult)
    return task.complex.structure.with_positions(relaxed.positions)
