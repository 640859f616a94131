"""Work of hydrogen-bond campaigns, in the worker: minimise chains and compute their fragment energies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hbcoop_dist.campaigns.hbond.spec import Minimize
from hbcoop_dist.campaigns.hbond.task_graph import (
    LADDER,
    WHOLE_HESSIAN,
    BodyStart,
    CandidateResult,
    ChainTask,
    MinimumResult,
    MonomerResult,
)
from hbcoop_dist.campaigns.model_worker import LoadedModel, ModelWork, Result, convergence_goal, fragment_results
from hbcoop_dist.core.arrays import AnyArray, FloatArray
from hbcoop_dist.core.results import Provenance, Status, TaskResult, package_versions
from hbcoop_dist.execution.restart_files import RestartFolder
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.constraints import Constraint, free_basis, odd_basis
from hbcoop_dist.optimize.external.availability import forces_dtype, packages
from hbcoop_dist.optimize.external.minimization import minimise_in_openmm, minimise_with
from hbcoop_dist.optimize.minimization import Minimised, Start, body_hessian, minimise, monomer_start
from hbcoop_dist.optimize.out_of_plane_modes import Planar, out_of_plane
from hbcoop_dist.optimize.quasi_newton import State
from hbcoop_dist.optimize.warm_starts import Monomer, Seed, leave_plane, transplant_hessian, warm_start
from hbcoop_dist.structures import Chain, Structure, monomers
from hbcoop_dist.structures.geometry import broken_geometry, planarity
from hbcoop_dist.structures.monomers import acceptor_body, donor_body, nma_body, structure_of, tree_of

FLAT = 1.0e-3
"""Planarity, A, up to which the out-of-plane modes of a chain are computed; a chain that left the plane has none."""


@dataclass(frozen=True, slots=True)
class ChainWork(ModelWork[ChainTask, Minimize]):
    """One batch of a hydrogen-bond campaign."""

    def stages(
        self, model: LoadedModel, known: Mapping[str, Result]
    ) -> Mapping[str, Callable[[Sequence[ChainTask]], Iterable[Result]]]:
        """Minimise monomers, candidates and chains, then compute fragment energies; see `ModelWork.stages`."""
        return _Stages(model, self.minimize, known, RestartFolder(self.scratch)).in_order()

    def required_inputs(self, task: ChainTask) -> tuple[str, ...]:
        """Return the keys of monomers and geometry; a start without its seeds is only less good."""
        return (*task.monomers, *((task.geometry,) if task.geometry else ()))

    def provenance(self, model: LoadedModel, task: ChainTask) -> Provenance:
        """Return the provenance of a result; geometries that are not given may come from OpenMM's minimiser."""
        if task.given is not None:
            return model.provenance
        return _openmm_provenance(model.provenance, self.minimize, self.source)


def _openmm_provenance(provenance: Provenance, minimize: Minimize, source: ModelSource) -> Provenance:
    """Return the provenance of a geometry that OpenMM may have minimised: float type and packages differ there."""
    if minimize.engine != "openmm":
        return provenance
    names = dict.fromkeys((*source.card.needs.packages, *packages(source.card)))
    return replace(
        provenance,
        dtype=f"{source.card.abilities.dtype}, minimised with {forces_dtype(source.card)} forces",
        versions=package_versions(*names, "numpy", "hbcoop_dist"),
    )


@dataclass(frozen=True, slots=True)
class _Stages:
    """The stages of a batch, and what they work with; `known` holds the results so far."""

    model: LoadedModel
    minimize: Minimize
    known: Mapping[str, Result]
    restarts: RestartFolder

    def in_order(self) -> Mapping[str, Callable[[Sequence[ChainTask]], Iterable[Result]]]:
        return {
            "monomer": self._monomers,
            "candidate": self._candidates,
            "minimise": self._minimisations,
            "energies": self._energies,
        }

    @property
    def _constraint(self) -> Constraint:
        return self.minimize.constraint

    def _monomers(self, tasks: Sequence[ChainTask]) -> Iterable[Result]:
        """Minimise isolated units, and compute the Hessians that every chain starts with."""
        potential, constraint = self.model.potential, self._constraint
        crude = [monomer_start(potential, task.chain, constraint) for task in tasks]
        starts = [
            replace(start, q=leave_plane(task.chain, start.q, constraint))
            for task, start in zip(tasks, crude, strict=True)
        ]
        for task, minimised in zip(tasks, self._minimised(tasks, starts), strict=True):
            status, reason = _verdict(minimised)
            path, unit, waters = minimised.path, None, {}
            if np.isfinite(path.energy):
                unit = body_hessian(potential, nma_body(task.chain.rotamers[0]), path.q, constraint)
                for body, water in (
                    (acceptor_body(), monomers.acceptor_water()),
                    (donor_body(), monomers.donor_water()),
                ):
                    q = body.coordinates(water)
                    waters[body.name] = BodyStart(q, body_hessian(potential, body, q, constraint))
            payload = MonomerResult(path.q, path.energy, path.force_calls, unit, waters)
            yield TaskResult(task.key, status, reason, payload)

    def _candidates(self, tasks: Sequence[ChainTask]) -> Iterable[Result]:
        """Minimise dimers and trimers whose energies decide rotamers; whether they are saddles plays no part.

        Trimers start from dimers, so all of one length are minimised before the next.
        """
        known, results = dict(self.known), {}
        for length in sorted({task.chain.length for task in tasks}):
            same = [task for task in tasks if task.chain.length == length]
            starts = [_start(task, known, self._constraint) for task in same]
            for task, minimised in zip(same, self._minimised(same, starts), strict=True):
                status, reason = _verdict(minimised)
                path = minimised.path
                hessian = _free_hessian(task.chain, minimised, self._constraint) if length == 2 else None
                payload = CandidateResult(path.q, path.energy, path.force_calls, hessian)
                results[task.key] = known[task.key] = TaskResult(task.key, status, reason, payload)
        return [results[task.key] for task in tasks]

    def _minimisations(self, tasks: Sequence[ChainTask]) -> Iterable[Result]:
        """Minimise chains, and find the lowest out-of-plane mode of those that are planar."""
        starts = [_start(task, self.known, self._constraint) for task in tasks]
        minimised = self._minimised(tasks, starts)
        results = [self._minimum(task, chain) for task, chain in zip(tasks, minimised, strict=True)]
        planar = [
            position
            for position, (result, chain) in enumerate(zip(results, minimised, strict=True))
            if result.status == "done" and planarity(chain.structure) < FLAT
        ]
        problems = [_planar(tasks[position], minimised[position], self.known) for position in planar]
        verdicts = out_of_plane(self.model.potential, problems, self.model.size)
        for position, verdict in zip(planar, verdicts, strict=True):
            payload = results[position].payload
            assert payload is not None
            hessian = None if verdict.hessian is None else verdict.hessian.astype(np.float32)
            payload = replace(payload, lowest_out_of_plane=verdict.eigenvalue, out_of_plane_hessian=hessian)
            results[position] = replace(results[position], payload=payload)
        return results

    def _minimum(self, task: ChainTask, minimised: Minimised) -> TaskResult[MinimumResult]:
        status, reason = _verdict(minimised)
        path, hessian = minimised.path, None
        if task.chain.length <= LADDER or status == "unconverged":
            hessian = _free_hessian(task.chain, minimised, self._constraint)
        payload = MinimumResult(
            minimised.structure.positions,
            path.q,
            path.energy,
            path.max_force,
            path.rms_force,
            path.steps,
            path.force_calls,
            hessian,
        )
        return TaskResult(task.key, status, reason, payload)

    def _energies(self, tasks: Sequence[ChainTask]) -> Iterable[Result]:
        structures = [_geometry(task, self.known) for task in tasks]
        keys, fragments = [task.key for task in tasks], [task.fragments for task in tasks]
        return fragment_results(self.model, keys, structures, fragments)

    def _minimised(self, tasks: Sequence[ChainTask], starts: Sequence[Start]) -> list[Minimised]:
        """Minimise the start of every task; our own optimiser resumes what was killed."""
        minimize, potential, constraint = self.minimize, self.model.potential, self._constraint
        goal = convergence_goal(potential, minimize.max_force, minimize.rms_force, minimize.max_calls)
        if minimize.engine == "openmm":
            assert minimize.tolerance is not None
            return minimise_in_openmm(potential, self.model.checkpoint, starts, tolerance=minimize.tolerance, goal=goal)
        if minimize.optimiser != "tree":
            return minimise_with(minimize.optimiser, potential, starts, constraint=constraint, goal=goal)
        saved = [_saved_state(self.restarts, task, constraint) for task in tasks]
        return minimise(
            potential,
            starts,
            constraint=constraint,
            goal=goal,
            batch=self.model.size,
            keep=lambda index, state: self.restarts.save_if_due(tasks[index].key, state),
            resume={index: state for index, state in enumerate(saved) if state is not None},
        )


def _verdict(minimised: Minimised) -> tuple[Status, str]:
    """Return the status of a minimisation; a broken chain is broken even where the optimiser converged."""
    path = minimised.path
    if not np.isfinite(path.energy):
        return "failed", path.reason
    if path.turned_over:
        return "broken-geometry", path.reason
    if reason := broken_geometry(minimised.structure, minimised.chain.conformers):
        return "broken-geometry", reason
    return ("done", "") if path.converged else ("unconverged", path.reason)


def _start(task: ChainTask, known: Mapping[str, Result], constraint: Constraint) -> Start:
    """Build the start of a chain from shorter chains where there are any, from monomers otherwise."""
    units = [known[key].payload_as(MonomerResult) for key in task.monomers]
    bodies = tree_of(task.chain).bodies[len(units) :]
    waters = [units[0].waters[body.name] for body in bodies]
    usable = [(known[key], chain) for key, chain in task.seeds if known[key].status in ("done", "unconverged")]
    start = warm_start(
        task.chain,
        [_seed(result, chain, constraint) for result, chain in usable],
        [Monomer(unit.q, np.asarray(unit.unit)) for unit in units],
        [Monomer(water.q, water.hessian) for water in waters],
    )
    return replace(start, q=leave_plane(task.chain, start.q, constraint))


def _seed(result: Result, chain: Chain, constraint: Constraint) -> Seed:
    payload = result.payload
    assert isinstance(payload, MinimumResult | CandidateResult)
    return Seed(chain, payload.q, _expanded(free_basis(tree_of(chain), constraint), payload.hessian))


def _expanded(basis: FloatArray, reduced: AnyArray | None) -> FloatArray:
    """Return a Hessian on all tree coordinates from one on the directions of `basis`."""
    return np.asarray(basis @ np.asarray(reduced, dtype=float) @ basis.T)


def _free_hessian(chain: Chain, minimised: Minimised, constraint: Constraint) -> AnyArray:
    # single precision halves the journal; what is sent is what is kept, so a resumed run starts from the same numbers
    basis = free_basis(tree_of(chain), constraint)
    return (basis.T @ minimised.path.hessian @ basis).astype(np.float32)


def _saved_state(restarts: RestartFolder, task: ChainTask, constraint: Constraint) -> State | None:
    """Return the state at which an earlier attempt at a minimisation was killed."""
    tree = tree_of(task.chain)
    return restarts.load(task.key, tree.n_q, free_basis(tree, constraint).shape[1])


def _planar(task: ChainTask, minimised: Minimised, known: Mapping[str, Result]) -> Planar:
    """Return the out-of-plane problem of a chain; long chains take a guess of the Hessian from short ones."""
    tree, path = tree_of(task.chain), minimised.path
    if task.chain.length <= WHOLE_HESSIAN:
        return Planar(tree, path.q, minimised.structure)
    seeds = []
    for key, chain in task.seeds:
        payload = known[key].payload
        if isinstance(payload, MinimumResult) and payload.out_of_plane_hessian is not None:
            hessian = _expanded(odd_basis(tree_of(chain)), payload.out_of_plane_hessian)
            seeds.append(Seed(chain, payload.q, hessian))
    basis = odd_basis(tree)
    guess = transplant_hessian(task.chain, seeds, basis @ basis.T)
    return Planar(tree, path.q, minimised.structure, basis.T @ guess @ basis)


def _geometry(task: ChainTask, known: Mapping[str, Result]) -> Structure:
    if task.given is not None:
        return task.given
    assert task.geometry is not None
    return structure_of(task.chain, known[task.geometry].payload_as(MinimumResult).q)
