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
from hbcoop_dist.optimize.lowest_modes import StationaryPoint, find_lowest_modes
from hbcoop_dist.optimize.minimization import Minimised, Start, body_hessian, minimise, monomer_start
from hbcoop_dist.optimize.true_minima import Relaxed, find_minima, stationary_point
from hbcoop_dist.optimize.warm_starts import (
    Monomer,
    Seed,
    alternative_starts,
    different_starts,
    leave_plane,
    transplant_hessian,
    warm_start,
)
from hbcoop_dist.structures import Chain, Structure, monomers
from hbcoop_dist.structures.geometry import broken_geometry
from hbcoop_dist.structures.monomers import acceptor_body, donor_body, nma_body, structure_of, tree_of


@dataclass(frozen=True, slots=True)
class ChainWork(ModelWork[ChainTask, Minimize]):
    """One batch of a hydrogen-bond campaign."""

    def stages(
        self, model: LoadedModel, known: Mapping[str, Result]
    ) -> Mapping[str, Callable[[Sequence[ChainTask]], Iterable[Result]]]:
        """Minimise monomers, candidates and chains, then compute fragment energies; see `ModelWork.stages`."""
        folder = RestartFolder(self.scratch)

        def by_constraint(stage: str) -> Callable[[Sequence[ChainTask]], Iterable[Result]]:
            def run(tasks: Sequence[ChainTask]) -> Iterable[Result]:
                for constraint in dict.fromkeys(task.constraint for task in tasks):
                    stages = _Stages(model, self.minimize, known, folder, constraint).in_order()
                    yield from stages[stage]([task for task in tasks if task.constraint == constraint])

            return run

        return {stage: by_constraint(stage) for stage in ("monomer", "candidate", "minimise", "energies")}

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
    """The stages of a batch under one constraint, and what they work with; `known` holds the results so far."""

    model: LoadedModel
    minimize: Minimize
    known: Mapping[str, Result]
    restarts: RestartFolder
    constraint: Constraint

    def in_order(self) -> Mapping[str, Callable[[Sequence[ChainTask]], Iterable[Result]]]:
        return {
            "monomer": self._monomers,
            "candidate": self._candidates,
            "minimise": self._minimisations,
            "energies": self._energies,
        }

    def _monomers(self, tasks: Sequence[ChainTask]) -> Iterable[Result]:
        """Minimise isolated units, and compute the Hessians that every chain starts with."""
        potential, constraint = self.model.potential, self.constraint
        starts = [[[self._out_of_plane(monomer_start(potential, task.chain, constraint))]] for task in tasks]
        for task, relaxed in zip(tasks, self._relaxed(tasks, starts), strict=True):
            minimised = relaxed.minimised
            status, reason = _verdict(minimised)
            path, unit, waters, planar = minimised.path, None, {}, None
            if np.isfinite(path.energy):
                body = nma_body(task.chain.rotamers[0])
                unit = body_hessian(potential, body, path.q, constraint)
                for water_body, water in (
                    (acceptor_body(), monomers.acceptor_water()),
                    (donor_body(), monomers.donor_water()),
                ):
                    q = water_body.coordinates(water)
                    waters[water_body.name] = BodyStart(q, body_hessian(potential, water_body, q, constraint))
                if self._in_stages:
                    first = relaxed.minima[-1].path.q
                    planar = BodyStart(first, body_hessian(potential, body, first, constraint))
            calls = path.force_calls + relaxed.search_calls + relaxed.mode_calls
            payload = MonomerResult(path.q, path.energy, calls, unit, waters, planar)
            yield TaskResult(task.key, status, reason, payload)

    def _candidates(self, tasks: Sequence[ChainTask]) -> Iterable[Result]:
        """Minimise dimers and trimers whose energies decide rotamers.

        Trimers start from dimers, so all of one length are minimised before the next.
        """
        known, results = dict(self.known), {}
        for length in sorted({task.chain.length for task in tasks}):
            same = [task for task in tasks if task.chain.length == length]
            for task, relaxed in zip(same, self._relaxed(same, self._starts(same, known)), strict=True):
                minimised = relaxed.minimised
                status, reason = _verdict(minimised)
                path = minimised.path
                hessian = _free_hessian(task.chain, minimised, self.constraint) if length == 2 else None
                calls = path.force_calls + relaxed.search_calls + relaxed.mode_calls
                payload = CandidateResult(path.q, path.energy, calls, hessian)
                results[task.key] = known[task.key] = TaskResult(task.key, status, reason, payload)
        return [results[task.key] for task in tasks]

    def _minimisations(self, tasks: Sequence[ChainTask]) -> Iterable[Result]:
        """Minimise chains and compute their lowest modes."""
        relaxed = self._relaxed(tasks, self._starts(tasks, self.known))
        if not self._in_stages:
            done = [position for position, one in enumerate(relaxed) if _is_intact(one.minimised)]
            points = [self._stationary(tasks[position], relaxed[position].minimised) for position in done]
            modes = find_lowest_modes(self.model.potential, points, self.model.size)
            for position, mode in zip(done, modes, strict=True):
                relaxed[position] = replace(relaxed[position], mode=mode, mode_calls=mode.force_calls)
        return [self._minimum(task, one) for task, one in zip(tasks, relaxed, strict=True)]

    def _stationary(self, task: ChainTask, minimised: Minimised) -> StationaryPoint:
        if self.constraint == "mirror":
            return _planar(task, minimised, self.known)
        return stationary_point(minimised, self.constraint)

    def _minimum(self, task: ChainTask, relaxed: Relaxed) -> TaskResult[MinimumResult]:
        minimised, mode = relaxed.minimised, relaxed.mode
        status, reason = _verdict(minimised)
        path, hessian, out_of_plane = minimised.path, None, None
        if task.chain.length <= LADDER or status == "unconverged":
            hessian = _free_hessian(task.chain, minimised, self.constraint)
        if mode is not None and mode.hessian is not None:
            if self.constraint == "mirror":
                out_of_plane = mode.hessian.astype(np.float32)
            else:
                hessian = mode.hessian.astype(np.float32)
        others = np.array([other.path.energy - path.energy for other in relaxed.minima if other is not minimised])
        payload = MinimumResult(
            minimised.structure.positions,
            path.q,
            path.energy,
            path.max_force,
            path.rms_force,
            path.steps,
            path.force_calls,
            hessian,
            None if mode is None else mode.eigenvalue,
            None if mode is None else mode.mode.astype(np.float32),
            out_of_plane,
            relaxed.search_calls,
            relaxed.mode_calls,
            others if others.size else None,
        )
        return TaskResult(task.key, status, reason, payload)

    def _energies(self, tasks: Sequence[ChainTask]) -> Iterable[Result]:
        structures = [_geometry(task, self.known) for task in tasks]
        keys, fragments = [task.key for task in tasks], [task.fragments for task in tasks]
        return fragment_results(self.model, keys, structures, fragments)

    @property
    def _in_stages(self) -> bool:
        """Whether minima are searched in three dimensions; OpenMM's minimiser runs once from every start."""
        return self.constraint != "mirror" and self.minimize.engine == "own"

    def _relaxed(self, tasks: Sequence[ChainTask], starts: Sequence[Sequence[Sequence[Start]]]) -> list[Relaxed]:
        """Minimise groups of starts for every task; modes are computed only for minima in three dimensions."""

        def minimise_stage(
            indices: Sequence[int], stage_starts: Sequence[Start], constraint: Constraint, stage: str
        ) -> list[Minimised]:
            names: list[str] = []
            for index in indices:
                name = f"{tasks[index].key}.{stage}" if stage else tasks[index].key
                names.append(name if name not in names else f"{name}-{names.count(name)}")
            return self._minimised(names, stage_starts, constraint)

        if self._in_stages:
            return find_minima(
                self.model.potential, starts, self.constraint, minimise_stage, _is_intact, self.model.size
            )
        single = [groups[0][0] for groups in starts]
        minima = minimise_stage(range(len(tasks)), single, self.constraint, "")
        return [Relaxed(minimised, None, 0, 0, (minimised,)) for minimised in minima]

    def _starts(self, tasks: Sequence[ChainTask], known: Mapping[str, Result]) -> list[list[list[Start]]]:
        """Return groups of starts of chains, from shorter chains where there are any, from monomers otherwise."""
        if self._in_stages:
            return [_alternatives(task, known, self.constraint) for task in tasks]
        return [[[self._out_of_plane(warm_start(*_sources(task, known, self.constraint)))]] for task in tasks]

    def _out_of_plane(self, start: Start) -> Start:
        """Displace a start for a minimiser that runs once, since it would stay in the plane by symmetry."""
        return start if self._in_stages else replace(start, q=leave_plane(start.chain, start.q, self.constraint))

    def _minimised(self, names: Sequence[str], starts: Sequence[Start], constraint: Constraint) -> list[Minimised]:
        """Minimise starts; our own optimiser resumes what was killed from the restart files of these names."""
        minimize, potential = self.minimize, self.model.potential
        goal = convergence_goal(potential, minimize.max_force, minimize.rms_force, minimize.max_calls)
        if minimize.engine == "openmm":
            assert minimize.tolerance is not None
            return minimise_in_openmm(potential, self.model.checkpoint, starts, tolerance=minimize.tolerance, goal=goal)
        if minimize.optimiser != "tree":
            return minimise_with(minimize.optimiser, potential, starts, constraint=constraint, goal=goal)
        saved = [
            self.restarts.load(name, start.q.size, free_basis(tree_of(start.chain), constraint).shape[1])
            for name, start in zip(names, starts, strict=True)
        ]
        return minimise(
            potential,
            starts,
            constraint=constraint,
            goal=goal,
            batch=self.model.size,
            keep=lambda index, state: self.restarts.save_if_due(names[index], state),
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


def _is_intact(minimised: Minimised) -> bool:
    return _verdict(minimised)[0] == "done"


def _sources(
    task: ChainTask, known: Mapping[str, Result], constraint: Constraint
) -> tuple[Chain, list[Seed], list[Monomer], list[Monomer]]:
    """Return a chain with the shorter chains, units and waters that its start is assembled from."""
    units = [known[key].payload_as(MonomerResult) for key in task.monomers]
    bodies = tree_of(task.chain).bodies[len(units) :]
    waters = [units[0].waters[body.name] for body in bodies]
    usable = [(known[key], chain) for key, chain in task.seeds if known[key].status in ("done", "unconverged")]
    return (
        task.chain,
        [_seed(result, chain, constraint) for result, chain in usable],
        [Monomer(unit.q, np.asarray(unit.unit)) for unit in units],
        [Monomer(water.q, water.hessian) for water in waters],
    )


def _alternatives(task: ChainTask, known: Mapping[str, Result], constraint: Constraint) -> list[list[Start]]:
    """Return groups of starts of a chain that may leave the mirror plane.

    Dimers start from minima of their units and from planar ones, capped dimers from planar ones alone: free waters
    would turn away before they have bound.
    """
    chain, seeds, units, waters = _sources(task, known, constraint)
    if chain.length > 2:
        return alternative_starts(chain, seeds, units, waters)
    flat = [known[key].payload_as(MonomerResult).planar for key in task.monomers]
    planar = [[warm_start(chain, [], [Monomer(body.q, body.hessian) for body in flat if body], waters)]]
    minima = [] if waters else alternative_starts(chain, seeds, units, waters)
    return different_starts([*minima, *planar])


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


def _planar(task: ChainTask, minimised: Minimised, known: Mapping[str, Result]) -> StationaryPoint:
    """Return the out-of-plane problem of a planar chain; long chains take a guess of the Hessian from short ones."""
    tree, path = tree_of(task.chain), minimised.path
    if task.chain.length <= WHOLE_HESSIAN:
        return StationaryPoint(tree, path.q, minimised.structure)
    seeds = []
    for key, chain in task.seeds:
        payload = known[key].payload
        if isinstance(payload, MinimumResult) and payload.out_of_plane_hessian is not None:
            hessian = _expanded(odd_basis(tree_of(chain)), payload.out_of_plane_hessian)
            seeds.append(Seed(chain, payload.q, hessian))
    basis = odd_basis(tree)
    guess = transplant_hessian(task.chain, seeds, basis @ basis.T)
    return StationaryPoint(tree, path.q, minimised.structure, "mirror", basis.T @ guess @ basis)


def _geometry(task: ChainTask, known: Mapping[str, Result]) -> Structure:
    if task.given is not None:
        return task.given
    assert task.geometry is not None
    return structure_of(task.chain, known[task.geometry].payload_as(MinimumResult).q)
