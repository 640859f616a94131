"""What a worker does with one batch: load the model once, minimise, compute fragment energies, hand back small results.

Everything that arrives and leaves is plain data (`tasks`, `results`), so a worker may live in another Python.
A task that fails is a result with a reason; its neighbours in the batch go on.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.campaigns.hbond.spec import Minimize
from hbcoop_dist.cooperativity.fragments import fragment_energies
from hbcoop_dist.core.results import Status, TaskResult
from hbcoop_dist.core.tasks import LADDER, WHOLE_HESSIAN, Batch, Task
from hbcoop_dist.execution.restart_files import RestartFolder
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelCard, Potential
from hbcoop_dist.models.batching import BatchSize
from hbcoop_dist.models.sources import ModelSource
from hbcoop_dist.optimize.constraints import Constraint, free_basis, odd_basis
from hbcoop_dist.optimize.external.availability import forces_dtype, packages
from hbcoop_dist.optimize.external.minimization import minimise_in_openmm, minimise_with
from hbcoop_dist.optimize.hessians import body_hessian
from hbcoop_dist.optimize.minimization import Minimised, Start, minimise, monomer_start
from hbcoop_dist.optimize.out_of_plane_modes import Planar, out_of_plane
from hbcoop_dist.optimize.quasi_newton import Goal, State
from hbcoop_dist.optimize.relaxation import relax
from hbcoop_dist.optimize.warm_starts import Monomer, Seed, leave_plane, transplant_hessian, warm_start
from hbcoop_dist.structures import Chain, Structure
from hbcoop_dist.structures import monomers as templates
from hbcoop_dist.structures.complexes import Complex
from hbcoop_dist.structures.construction import structure_of, tree_of
from hbcoop_dist.structures.geometry import broken, planarity
from hbcoop_dist.structures.monomers import acceptor_body, donor_body, nma_body

FloatArray = NDArray[np.float64]

FLAT = 1.0e-3
"""Planarity, A, up to which a chain counts as planar; one that left the plane under another constraint is not a saddle
of it."""


@dataclass(frozen=True, slots=True)
class Work:
    """One batch with all a worker needs to do it.

    Attributes
    ----------
    batch : Batch
    source : ModelSource
    minimize : Minimize
    inputs : mapping of str to TaskResult
        Results of tasks outside the batch, by key.
    device : str
    scratch : str or None
        Folder of restart files; None keeps none.
    """

    batch: Batch
    source: ModelSource
    minimize: Minimize
    inputs: Mapping[str, TaskResult]
    device: str = "cpu"
    scratch: str | None = None

    def do(self) -> list[TaskResult]:
        """Results in the order of the batch's tasks."""
        return do_work(self)


def working(sources: Mapping[str, ModelSource], minimize: Minimize) -> Callable[..., Work]:
    """What makes the work of a batch of these models (`execute.MakeWork`)."""

    def make(batch: Batch, inputs: Mapping[str, TaskResult], device: str, scratch: str | None) -> Work:
        return Work(batch, sources[batch.model], minimize, inputs, device, scratch)

    return make


@dataclass(frozen=True, slots=True)
class _Bench:
    """What the stages of one batch work with."""

    potential: Potential
    checkpoint: Path | None
    size: BatchSize
    minimize: Minimize
    known: Mapping[str, TaskResult]
    restarts: RestartFolder


def do_work(work: Work) -> list[TaskResult]:
    """Do every task of a batch; the results stand in the order of its tasks.

    Raises
    ------
    Exception
        Whatever loading the model, or evaluating a whole batch, raises: the caller splits the batch or gives up.
    """
    card = work.source.card
    potential = load_once(card, work.source.path, work.device if card.needs.gpu else "cpu")
    provenance = _provenance(potential)
    minimised = provenance | _seen_by(work.minimize, card)
    known = dict(work.inputs)
    if work.scratch is not None:
        potential = potential.with_scratch(Path(work.scratch))
    checkpoint = None if work.source.path is None else Path(work.source.path)
    bench = _Bench(potential, checkpoint, _size_of(potential), work.minimize, known, RestartFolder(work.scratch))
    for kind, stage in (
        ("monomer", _monomers),
        ("candidate", _candidates),
        ("minimise", _minimisations),
        ("relax", _relaxations),
        ("energies", _energies),
    ):
        tasks = [task for task in work.batch.tasks if task.kind == kind]
        lost = {task.key: reason for task in tasks if (reason := _lost_input(task, known))}
        known.update({key: TaskResult(key, "failed", reason, {}, provenance) for key, reason in lost.items()})
        started = time.perf_counter()
        results = list(stage(bench, [task for task in tasks if task.key not in lost]))
        share = (time.perf_counter() - started) / max(len(results), 1)
        given = {task.key for task in tasks if task.given is not None}
        for result in results:
            whence = provenance if result.key in given else minimised
            known[result.key] = replace(result, provenance=whence, seconds=share)
    return [known[task.key] for task in work.batch.tasks]


_loaded: dict[tuple[str, str, str | None, str], Potential] = {}


def load_once(card: ModelCard, path: str | None, device: str) -> Potential:
    """Load a model, or take the one this process has; only the last is kept, since a GPU rarely holds two."""
    key = (card.family, card.name, path, device)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = registry.load(card, path, device)
    return _loaded[key]


_sizes: dict[int, tuple[Potential, BatchSize]] = {}


def _size_of(potential: Potential) -> BatchSize:
    """The batch size of the loaded model, with all it has learnt in this process; only the last is kept."""
    if id(potential) not in _sizes:
        _sizes.clear()
        _sizes[id(potential)] = (potential, BatchSize.of(potential.device))
    return _sizes[id(potential)][1]


def _provenance(potential: Potential) -> dict[str, str]:
    return {
        "host": socket.gethostname(),
        "device": potential.device,
        "dtype": potential.card.abilities.dtype,
        "parameter_hash": potential.parameter_hash,
        "versions": versions_of(*potential.card.needs.packages, "numpy", "hbcoop_dist"),
        "computed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _seen_by(minimize: Minimize, card: ModelCard) -> dict[str, str]:
    """What of the provenance is another where a geometry was minimised in OpenMM: float type and packages."""
    if minimize.engine != "openmm":
        return {}
    return {
        "dtype": f"{card.abilities.dtype}, minimised with {forces_dtype(card)} forces",
        "versions": versions_of(*dict.fromkeys((*card.needs.packages, *packages(card))), "numpy", "hbcoop_dist"),
    }


def versions_of(*names: str) -> str:
    """Versions of those of the packages that are here, as JSON."""
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return json.dumps(found, sort_keys=True)


def _lost_input(task: Task, known: Mapping[str, TaskResult]) -> str:
    """Why a task cannot be done: a monomer or geometry that failed; empty when all is there."""
    for key in (*task.monomers, *((task.geometry,) if task.geometry else ())):
        if known[key].status in ("failed", "quarantined"):
            return f"a geometry it starts from failed: {known[key].reason}"
    return ""


def _goal(potential: Potential, minimize: Minimize) -> Goal:
    # float32 forces carry 3e-5 to 2e-4 eV/A of noise and energies about 1e-7 of their size (measured)
    noise = 1e-7 if potential.card.abilities.dtype == "float64" else 2e-3
    loosest = potential.card.abilities.max_force or 0.0
    return Goal(max(minimize.max_force, loosest), minimize.rms_force, minimize.max_calls, noise)


def _minimised(bench: _Bench, tasks: Sequence[Task], starts: Sequence[Start]) -> list[Minimised]:
    """Minimise the start of every task; with our own optimiser from where an earlier attempt was killed."""
    minimize = bench.minimize
    constraint, goal = minimize.constraint, _goal(bench.potential, minimize)
    if minimize.engine == "openmm":
        assert minimize.tolerance is not None
        return minimise_in_openmm(bench.potential, bench.checkpoint, starts, tolerance=minimize.tolerance, goal=goal)
    if minimize.optimiser != "tree":
        return minimise_with(minimize.optimiser, bench.potential, starts, constraint=constraint, goal=goal)
    kept = [_kept(bench.restarts, task, constraint) for task in tasks]
    return minimise(
        bench.potential,
        starts,
        constraint=constraint,
        goal=goal,
        batch=bench.size,
        keep=lambda index, state: bench.restarts.keep(tasks[index].key, state),
        resume={index: state for index, state in enumerate(kept) if state is not None},
    )


def _monomers(bench: _Bench, tasks: Sequence[Task]) -> Iterable[TaskResult]:
    """Minimise isolated units; add the Hessians every chain starts with."""
    potential, minimize = bench.potential, bench.minimize
    crude = [monomer_start(potential, task.chain, minimize.constraint) for task in tasks]
    starts = [replace(start, q=leave_plane(start.system, start.q, minimize.constraint)) for start in crude]
    found = _minimised(bench, tasks, starts)
    for task, one in zip(tasks, found, strict=True):
        status, reason = _verdict(one)
        data: dict[str, object] = {"q": one.path.q, "energy": one.path.energy, "force_calls": one.path.force_calls}
        if np.isfinite(one.path.energy):
            data["nma"] = body_hessian(potential, nma_body(), one.path.q, minimize.constraint)
            for body, water in ((acceptor_body(), templates.acceptor_water()), (donor_body(), templates.donor_water())):
                data[body.name] = body_hessian(potential, body, body.coordinates(water), minimize.constraint)
                data[f"{body.name} q"] = body.coordinates(water)
        yield TaskResult(task.key, status, reason, data)


def _candidates(bench: _Bench, tasks: Sequence[Task]) -> Iterable[TaskResult]:
    """Minimise dimers and trimers by whose energies rotamers are chosen; whether they are saddles decides nothing.

    Trimers start from dimers, so all of one length are minimised before the next.
    """
    for length in sorted({task.chain.length for task in tasks}):
        same = [task for task in tasks if task.chain.length == length]
        found = _minimised(bench, same, [_start(task, bench.known, bench.minimize.constraint) for task in same])
        for task, one in zip(same, found, strict=True):
            status, reason = _verdict(one)
            data: dict[str, object] = {"q": one.path.q, "energy": one.path.energy, "force_calls": one.path.force_calls}
            if length == 2:
                data["hessian"] = _reduced_hessian(one, bench.minimize.constraint)
            yield TaskResult(task.key, status, reason, data)


def _minimisations(bench: _Bench, tasks: Sequence[Task]) -> Iterable[TaskResult]:
    potential, known, minimize = bench.potential, bench.known, bench.minimize
    starts = [_start(task, known, minimize.constraint) for task in tasks]
    found = _minimised(bench, tasks, starts)
    rows: list[tuple[Task, Status, str, dict[str, object]]] = []
    for task, one in zip(tasks, found, strict=True):
        status, reason = _verdict(one)
        data: dict[str, object] = {
            "positions": one.structure.positions,
            "q": one.path.q,
            "energy": one.path.energy,
            "max_force": one.path.max_force,
            "rms_force": one.path.rms_force,
            "steps": one.path.steps,
            "force_calls": one.path.force_calls,
        }
        if one.system.length <= LADDER or status == "unconverged":
            data["hessian"] = _reduced_hessian(one, minimize.constraint)
        rows.append((task, status, reason, data))
    judged = [
        (task, one, data)
        for (task, status, _, data), one in zip(rows, found, strict=True)
        if status == "done" and planarity(one.structure) < FLAT
    ]
    planars = [_planar(task, one, known) for task, one, _ in judged]
    for (_, _, data), verdict in zip(judged, out_of_plane(potential, planars, bench.size), strict=True):
        data["lowest_out_of_plane"] = verdict.eigenvalue
        if verdict.hessian is not None:
            data["odd_hessian"] = verdict.hessian.astype(np.float32)
    for task, status, reason, data in rows:
        yield TaskResult(task.key, status, reason, data)


def _relaxations(bench: _Bench, tasks: Sequence[Task]) -> Iterable[TaskResult]:
    """Minimise marked systems freely, one after the other."""
    goal = _goal(bench.potential, bench.minimize)
    for task in tasks:
        assert isinstance(task.system, Complex)
        one = relax(bench.potential, task.system.structure, goal)
        reason = "" if one.converged else f"max force {one.max_force:.2e} eV/A after {one.force_calls} force calls"
        data: dict[str, object] = {
            "positions": one.positions,
            "energy": one.energy,
            "max_force": one.max_force,
            "rms_force": one.rms_force,
            "force_calls": one.force_calls,
        }
        yield TaskResult(task.key, "unconverged" if reason else "done", reason, data)


def _kept(restarts: RestartFolder, task: Task, constraint: Constraint) -> State | None:
    """Where an earlier attempt at a minimisation was when it was killed."""
    tree = tree_of(task.chain)
    return restarts.read(task.key, tree.n_q, free_basis(tree, constraint).shape[1])


def _planar(task: Task, one: Minimised, known: Mapping[str, TaskResult]) -> Planar:
    """What is to be judged; long chains with an out-of-plane Hessian put together from short ones."""
    tree = tree_of(task.chain)
    if task.chain.length <= WHOLE_HESSIAN:
        return Planar(tree, one.path.q, one.structure)
    seeds = [
        Seed(
            system,
            np.asarray(known[key].data["q"]),
            _spread(odd_basis(tree_of(system)), known[key].data["odd_hessian"]),
        )
        for key, system in task.seeds
        if "odd_hessian" in known[key].data
    ]
    basis = odd_basis(tree)
    guess = transplant_hessian(task.chain, seeds, basis @ basis.T)
    return Planar(tree, one.path.q, one.structure, basis.T @ guess @ basis)


def _verdict(one: Minimised) -> tuple[Status, str]:
    """Status of a minimisation: a broken chain is said to be broken even where the optimiser was content."""
    if not np.isfinite(one.path.energy):
        return "failed", one.path.reason
    if one.path.turned_over:
        return "broken-geometry", one.path.reason
    if reason := broken(one.structure, one.system.conformers):
        return "broken-geometry", reason
    return ("done", "") if one.path.converged else ("unconverged", one.path.reason)


def _start(task: Task, known: Mapping[str, TaskResult], constraint: Constraint) -> Start:
    """Put together from shorter chains where there are any, from monomers otherwise."""
    monomers = [known[key].data for key in task.monomers]
    units = [Monomer(np.asarray(data["q"]), np.asarray(data["nma"])) for data in monomers]
    waters = [
        Monomer(np.asarray(monomers[0][f"{body.name} q"]), np.asarray(monomers[0][body.name]))
        for body in tree_of(task.chain).bodies[len(units) :]
    ]
    # a seed that failed or broke is no loss: the start is only less good without it
    usable = [(known[key], system) for key, system in task.seeds if known[key].status in ("done", "unconverged")]
    seeds = [_seed(result, system, constraint) for result, system in usable]
    start = warm_start(task.chain, seeds, units, waters)
    return replace(start, q=leave_plane(task.chain, start.q, constraint))


def _seed(result: TaskResult, system: Chain, constraint: Constraint) -> Seed:
    basis = free_basis(tree_of(system), constraint)
    return Seed(system, np.asarray(result.data["q"]), _spread(basis, result.data["hessian"]))


def _spread(basis: FloatArray, reduced: object) -> FloatArray:
    """A Hessian on all tree coordinates from one on the directions of `basis`."""
    return np.asarray(basis @ np.asarray(reduced, dtype=float) @ basis.T)


def _reduced_hessian(one: Minimised, constraint: Constraint) -> FloatArray:
    # Single precision halves the journal; what is sent is what is kept, so a resumed run starts from the same numbers.
    basis = free_basis(tree_of(one.system), constraint)
    return (basis.T @ one.path.hessian @ basis).astype(np.float32)


def _energies(bench: _Bench, tasks: Sequence[Task]) -> Iterable[TaskResult]:
    structures = [_geometry(task, bench.known) for task in tasks]
    wanted = [task.fragments for task in tasks]
    found = fragment_energies(bench.potential, structures, wanted, batch=bench.size)
    for task, structure, one in zip(tasks, structures, found, strict=True):
        members = np.array([[m in molecules for m in range(len(structure.kinds))] for molecules in one.fragments])
        data: dict[str, object] = {"members": members, "energies": one.energies}
        if one.atom_energies is not None:
            data["atom_energies"] = one.atom_energies
        if one.parts is not None:
            data["parts"] = one.parts
        if one.member_energies is not None:
            data["member_energies"] = one.member_energies
        finite = bool(np.isfinite(one.energies).all())
        yield TaskResult(task.key, "done" if finite else "failed", "" if finite else "an energy is not finite", data)


def _geometry(task: Task, known: Mapping[str, TaskResult]) -> Structure:
    if task.given is not None:
        return task.given
    assert task.geometry is not None
    if isinstance(task.system, Complex):
        return task.system.structure.with_positions(np.asarray(known[task.geometry].data["positions"]))
    return structure_of(task.chain, np.asarray(known[task.geometry].data["q"]))
