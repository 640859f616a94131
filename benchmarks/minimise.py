"""The package's minimiser against ASE, Sella and geomeTRIC on the same chains: force calls and wall clock.

    python benchmarks/minimise.py calls [MODEL ...]   evaluations of every chain of the paper's grid, by constraint
    python benchmarks/minimise.py ours [MODEL] [N]    wall clock of the slice arc + linear, n = 2..N (12), bare
    python benchmarks/minimise.py ase [MODEL] [N]     the same slice with ASE LBFGS and dihedral restraints, up to N
    python benchmarks/minimise.py sella [MODEL] [N]   the same with Sella in the mirror plane, as ours
    python benchmarks/minimise.py geometric [MODEL] [N]   the same with geomeTRIC
    python benchmarks/minimise.py report              all measurements as markdown tables

Float64, one thread, to 1e-5 eV/A. All optimisers start from the same crude chains. The time of ours includes the ladder
of shorter chains and the Hessians; every time includes the fragment energies. A ratio covers the lengths that the other
optimiser has finished, against a run of ours on the same lengths; it is given without and with our out-of-plane modes,
which the others do not compute. Results go into benchmarks/minimise.jsonl, one line each, so that slow optimisers can
be interrupted. Chains of up to 8 units run until they converge; a longer one is stopped after ten minutes.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import get_dihedrals, get_dihedrals_derivatives
from ase.optimize import LBFGS

import hbcoop_dist as hb
from hbcoop_dist.campaigns import model_worker
from hbcoop_dist.campaigns.hbond import worker
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.campaigns.hbond.task_graph import MinimumResult
from hbcoop_dist.campaigns.kind import AnyPlan
from hbcoop_dist.core.results import TaskResult
from hbcoop_dist.execution.scheduler import SerialBackend, iter_results
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.batching import BatchSize
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.external.availability import Optimiser
from hbcoop_dist.optimize.external.minimization import minimise_with
from hbcoop_dist.optimize.lowest_modes import LowestMode
from hbcoop_dist.optimize.minimization import Start
from hbcoop_dist.optimize.quasi_newton import Goal
from hbcoop_dist.structures import Chain, Structure, make_chain
from hbcoop_dist.structures.geometry import head_tail_contact
from hbcoop_dist.structures.monomers import build, crude_start, planar_torsions
from hbcoop_dist.structures.structure import distinct_fragments

RESULTS = Path(__file__).with_suffix(".jsonl")
LONGEST = 12
# the originals of what `campaign` replaces by functions that measure time
LOAD, MODES = model_worker.load_potential, worker.find_lowest_modes
PATTERNS, LENGTHS = ("arc", "linear"), range(2, LONGEST + 1)
MAX_FORCE, CAP_SECONDS, STIFFNESS = 1.0e-5, 600.0, 20.0
RUNS_OUT = 8
"""Longest chain whose minimisation is never stopped."""
OPTIMISERS = {"ase": "ASE LBFGS with restraints", "sella": "Sella", "geometric": "geomeTRIC"}


def record(**line: Any) -> None:
    """Save and print one measurement."""
    line |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "threads": os.environ["OMP_NUM_THREADS"]}
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(line)


def measured() -> list[dict[str, Any]]:
    """Return every measurement so far."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


class Timed:
    """A potential that counts its calls and their seconds."""

    def __init__(self, inner: Potential) -> None:
        self.inner, self.seconds, self.calls, self.modes_seconds = inner, 0.0, 0, 0.0
        self.card, self.parameter_hash, self.device = inner.card, inner.parameter_hash, inner.device

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate as the wrapped potential, and count."""
        start = time.perf_counter()
        evaluations = self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return evaluations


def campaign(
    model: str, cappings: list[str], longest: int = LONGEST, constraint: str = "mirror"
) -> tuple[AnyPlan, dict[str, TaskResult], float, Timed]:
    """Run a campaign in this process; the seconds do not include loading the model."""
    fields = {"campaign": "benchmark", "models": [model], "patterns": list(PATTERNS), "lengths": f"2..{longest}"}
    plan = hb.plan(HBondSpec.model_validate({**fields, "capping": cappings, "constraint": constraint}))
    source = plan.sources[model]
    assert isinstance(source, ModelSource)
    timed = Timed(LOAD(source.card, source.path, "cpu"))
    timed.evaluate([build(make_chain("arc", 2))])
    model_worker.load_potential = lambda card, path, device: timed  # type: ignore[assignment, return-value]
    BatchSize.of("cpu")  # imports what a worker imports only once

    def timed_modes(*arguments: Any) -> list[LowestMode]:
        started = time.perf_counter()
        verdicts = MODES(*arguments)
        timed.modes_seconds += time.perf_counter() - started
        return verdicts

    worker.find_lowest_modes = timed_modes
    timed.seconds, timed.calls = 0.0, 0
    start = time.perf_counter()
    make_work = worker.ChainWork.factory(plan.sources, plan.spec.minimize)
    results = {result.key: result for result in iter_results(plan.batches, make_work, {}, SerialBackend())}
    return plan, results, time.perf_counter() - start, timed


def calls(model: str, constraint: str) -> None:
    """Record the evaluations of every chain of the grid: minimisation + searches + lowest mode."""
    plan, results, seconds, _ = campaign(model, ["none", "water"], constraint=constraint)
    keys: dict[Chain, str] = {task.chain: task.key for task in plan.tasks.values() if task.kind == "minimise"}
    for pattern in PATTERNS:
        for capping in ("none", "water"):
            row = {}
            for length in LENGTHS:
                chain = make_chain(pattern, length, capping)  # type: ignore[arg-type]
                result = results[keys[chain]]
                minimum = result.payload_as(MinimumResult)
                structure = build(chain).with_positions(minimum.positions)
                mark = "" if result.status == "done" else f" ({result.status})"
                mark += " ring" if head_tail_contact(structure) < 3.0 else ""
                parts = (minimum.force_calls, minimum.search_calls, minimum.mode_calls)
                row[length] = f"{' + '.join(map(str, parts))}{mark}"
            chain_labels = {"pattern": pattern, "capping": capping, "constraint": constraint}
            record(what="calls", model=model, **chain_labels, calls=row, seconds=seconds)


def ours(model: str, longest: int) -> None:
    """Record the wall clock of the bare slice: minimisations, out-of-plane modes and fragment energies."""
    _, results, seconds, timed = campaign(model, ["none"], longest)
    statuses = sorted({result.status for result in results.values()})
    outside = 1000 * (seconds - timed.seconds) / timed.calls
    record(
        what="ours",
        model=model,
        longest=longest,
        seconds=seconds,
        modes_seconds=timed.modes_seconds,
        share_in_model=timed.seconds / seconds,
        model_calls=timed.calls,
        outside_ms_per_call=outside,
        statuses=statuses,
    )


class Restrained(Calculator):  # type: ignore[misc]  # ase has no types
    """A potential with harmonic restraints on phi1 and phi2 of every H-bond, as an ASE calculator."""

    implemented_properties = ("energy", "forces")

    def __init__(self, potential: Potential, structure: Structure, chain: Chain) -> None:
        super().__init__()
        self.potential, self.structure, self.calls = potential, structure, 0
        names = {"N": 3, "C": 1, "O": 2}
        self.indices: list[list[int]] = []
        self.targets: list[float] = []
        for bond, conformer in enumerate(chain.conformers):
            a, b = 12 * bond, 12 * (bond + 1)
            self.indices.append([a + names["N"], a + names["C"], a + names["O"], b + names["N"]])
            self.indices.append([a + names["C"], a + names["O"], b + names["N"], b + names["C"]])
            self.targets += planar_torsions(conformer)

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: list[str] = all_changes
    ) -> None:
        """Compute energy (eV) and forces (eV/A) of the potential and of the restraints."""
        super().calculate(atoms, properties, system_changes)
        x = np.asarray(self.atoms.positions)
        evaluation = self.potential.evaluate([self.structure.with_positions(x)])[0]
        self.calls += 1
        corners = [x[[quad[k] for quad in self.indices]] for k in range(4)]
        bonds = [corners[k + 1] - corners[k] for k in range(3)]
        off = np.radians(get_dihedrals(*bonds)) - np.array(self.targets)
        off = (off + np.pi) % (2 * np.pi) - np.pi
        slopes = np.radians(get_dihedrals_derivatives(*bonds))
        forces = np.array(evaluation.forces)
        for quad, slope, angle in zip(self.indices, slopes, off, strict=True):
            forces[quad] -= STIFFNESS * angle * slope
        self.results = {"energy": evaluation.energy + 0.5 * STIFFNESS * float(off @ off), "forces": forces}


def ase(model: str, longest: int) -> None:
    """Minimise chain by chain with ASE's LBFGS, without the chains that were measured before."""
    potential = registry.load(model)
    have = {
        (line["pattern"], line["length"]) for line in measured() if line["what"] == "ase" and line["model"] == model
    }
    for length in range(2, longest + 1):
        for pattern in PATTERNS:
            if (pattern, length) in have:
                continue
            chain = make_chain(pattern, length)  # type: ignore[arg-type]
            structure = build(chain)
            atoms = structure.to_ase()
            atoms.calc = Restrained(potential, structure, chain)
            optimiser = LBFGS(atoms, logfile=None)
            start, converged = time.perf_counter(), False
            for state in optimiser.irun(fmax=MAX_FORCE, steps=100_000):
                converged = bool(state)
                if length > RUNS_OUT and time.perf_counter() - start > CAP_SECONDS:
                    break
            seconds = time.perf_counter() - start
            if length > RUNS_OUT:
                seconds = min(seconds, CAP_SECONDS)
            fragment_seconds = fragments(potential, structure.with_positions(atoms.positions))
            energy = float(potential.evaluate([structure.with_positions(atoms.positions)])[0].energy)
            flat = float(np.abs(atoms.positions[:, 2][[i % 12 < 6 for i in range(len(atoms))]]).max())
            record(
                what="ase",
                model=model,
                pattern=pattern,
                length=length,
                seconds=seconds,
                fragment_seconds=fragment_seconds,
                force_calls=atoms.calc.calls,
                converged=converged,
                energy=energy,
                off_plane=flat,
            )


def fragments(potential: Potential, structure: Structure) -> float:
    """Return the seconds of the fragment energies, one after another."""
    start = time.perf_counter()
    for molecules in distinct_fragments(structure):
        potential.evaluate([structure.subset(molecules)], forces=False)
    return time.perf_counter() - start


class TimeLimited(Timed):
    """A potential that raises when the time of a long chain is over, which ends the optimiser."""

    def __init__(self, inner: Potential, length: int) -> None:
        super().__init__(inner)
        self.until = time.perf_counter() + (CAP_SECONDS if length > RUNS_OUT else float("inf"))

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate as the wrapped potential until the time is over."""
        if time.perf_counter() > self.until:
            raise TimeoutError(f"not converged after {CAP_SECONDS:.0f} s")
        return super().evaluate(structures, forces=forces, atom_energies=atom_energies)


def other(optimiser: Optimiser, model: str, longest: int) -> None:
    """Minimise chain by chain in the mirror plane with another package's optimiser, without those measured before."""
    potential = registry.load(model)
    have = {(r["pattern"], r["length"]) for r in measured() if r["what"] == optimiser and r["model"] == model}
    # so that the package is imported and its kernels are compiled before the measurement
    dimer = make_chain("arc", 2)
    minimise_with(optimiser, potential, [crude(dimer)], goal=Goal(max_calls=3))
    for length in range(2, longest + 1):
        for pattern in PATTERNS:
            if (pattern, length) in have:
                continue
            start = crude(make_chain(pattern, length))  # type: ignore[arg-type]
            began = time.perf_counter()
            limited, goal = TimeLimited(potential, length), Goal(MAX_FORCE, None, 10**6)
            (minimised,) = minimise_with(optimiser, limited, [start], goal=goal)
            seconds = time.perf_counter() - began
            record(
                what=optimiser,
                model=model,
                pattern=pattern,
                length=length,
                seconds=seconds,
                fragment_seconds=fragments(potential, minimised.structure),
                force_calls=minimised.path.force_calls,
                converged=minimised.path.converged,
                energy=minimised.path.energy,
                max_force=minimised.path.max_force,
            )


def crude(chain: Chain) -> Start:
    """Return the crude start of a chain; the other optimisers make Hessians of their own."""
    q = crude_start(chain)
    return Start(chain, q, np.zeros((len(q), len(q))))


def ratios(lines: list[dict[str, Any]], model: str) -> None:
    """Print the time of every optimiser against ours for the lengths that it has finished."""
    print(f"\n{model}, bare arc and linear chains. All: one thread, float64, max force {MAX_FORCE:g} eV/A.\n")
    print("| other optimiser | n | chains | unconverged | other, s | ours, s | ratio | ours with modes, s | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for optimiser, name in OPTIMISERS.items():
        rows = {(r["pattern"], r["length"]): r for r in lines if r["what"] == optimiser and r["model"] == model}
        done = [n for n in LENGTHS if all((p, k) in rows for p in PATTERNS for k in range(2, n + 1))]
        if not done:
            continue
        chains = [row for (_, length), row in rows.items() if length <= done[-1]]
        total = sum(row["seconds"] + row.get("fragment_seconds", 0.0) for row in chains)
        stuck = sum(not row["converged"] for row in chains)
        own = [
            r for r in lines if r["what"] == "ours" and r["model"] == model and r.get("longest", LONGEST) == done[-1]
        ]
        columns = f"run ours {model} {done[-1]} | - | - | -"
        if own:
            with_modes = own[-1]["seconds"]
            alone = with_modes - own[-1]["modes_seconds"]
            columns = f"{alone:.1f} | {total / alone:.0f} | {with_modes:.1f} | {total / with_modes:.0f}"
        print(f"| {name} | 2..{done[-1]} | {len(chains)} | {stuck} | {total:.1f} | {columns} |")


def report() -> None:
    """Print the last measurement of each kind as markdown."""
    lines = measured()
    labels = ("model", "constraint", "pattern", "capping")
    rows = {tuple(r[name] for name in labels): r["calls"] for r in lines if r["what"] == "calls"}
    print("| model | constraint | pattern | caps |", " | ".join(str(n) for n in LENGTHS), "|")
    print("|---|---|---|---|" + "---|" * len(LENGTHS))
    for chain, row in rows.items():
        print(f"| {' | '.join(chain)} |", " | ".join(row[str(n)] for n in LENGTHS), "|")
    for model in dict.fromkeys(line["model"] for line in lines if line["what"] == "ours"):
        own = max(
            (r for r in lines if r["what"] == "ours" and r["model"] == model), key=lambda r: r.get("longest", LONGEST)
        )
        print(
            f"\n{model}: ours {own['seconds']:.1f} s for n = 2..{own.get('longest', LONGEST)}, "
            f"{100 * own['share_in_model']:.0f} % in the model, "
            f"{own['outside_ms_per_call']:.1f} ms outside it per model call."
        )
        ratios(lines, model)


def main(arguments: list[str]) -> None:
    """Run the measurement that the command line names."""
    what, *rest = arguments or ["report"]
    if what == "calls":
        for model in rest or ["so3lr", "ani-2x", "gfn2-xtb"]:
            for constraint in ("mirror", "torsions"):
                calls(model, constraint)
    elif what == "ours":
        ours(rest[0] if rest else "so3lr", int(rest[1]) if len(rest) > 1 else LONGEST)
    elif what == "ase":
        ase(rest[0] if rest else "so3lr", int(rest[1]) if len(rest) > 1 else 8)
    elif what in ("sella", "geometric"):
        other(cast(Optimiser, what), rest[0] if rest else "so3lr", int(rest[1]) if len(rest) > 1 else RUNS_OUT)
    else:
        report()


if __name__ == "__main__":
    main(sys.argv[1:])
