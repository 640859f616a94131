"""Our staged minimiser against ASE on the same chains: force calls, wall clock, and where ours spends its time.

    python benchmarks/minimise.py calls [MODEL ...]   force calls of every chain of the paper's grid
    python benchmarks/minimise.py ours [MODEL]        wall clock of the slice arc + linear, n = 2..12, bare
    python benchmarks/minimise.py ase [MODEL] [N]     the same slice with ASE LBFGS and dihedral restraints, up to N
    python benchmarks/minimise.py report              all that was measured so far, as markdown tables

Float64, one thread, to 1e-5 eV/A.  Both sides start from the same crude chains; on our side the ladder's and the
Hessians' force calls count.  Results go into benchmarks/minimise.jsonl, one line each, so that the slow side can be
done in several sittings.  Chains of up to 8 units run out; a longer one that has not converged after ten minutes counts
as ten minutes.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import get_dihedrals, get_dihedrals_derivatives
from ase.optimize import LBFGS

import hbcoop_dist as hb
from hbcoop_dist import work
from hbcoop_dist.campaign import CampaignSpec
from hbcoop_dist.execute import SerialBackend, execute
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.results import TaskResult
from hbcoop_dist.structures import Structure, System, chain_system
from hbcoop_dist.structures.build import build, planar_torsions
from hbcoop_dist.structures.fragments import distinct_fragments
from hbcoop_dist.structures.measure import head_tail_contact
from hbcoop_dist.tasks import Task

RESULTS = Path(__file__).with_suffix(".jsonl")
PATTERNS, LENGTHS = ("arc", "linear"), range(2, 13)
MAX_FORCE, CAP_SECONDS, STIFFNESS = 1.0e-5, 600.0, 20.0
RUNS_OUT = 8
"""Longest chain whose minimisation is not cut off."""


def record(**line: Any) -> None:
    """Append one measurement."""
    line |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "threads": os.environ["OMP_NUM_THREADS"]}
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(line)


def measured() -> list[dict[str, Any]]:
    """Every measurement so far."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


class Timed:
    """A potential that counts its calls and the seconds inside them."""

    def __init__(self, inner: Potential) -> None:
        self.inner, self.seconds, self.calls = inner, 0.0, 0
        self.card, self.parameter_hash, self.device = inner.card, inner.parameter_hash, inner.device

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """As the potential inside."""
        begun = time.perf_counter()
        found = self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)
        self.seconds += time.perf_counter() - begun
        self.calls += 1
        return found


def campaign(model: str, cappings: list[str]) -> tuple[hb.Plan, dict[str, TaskResult], float, Timed]:
    """Our side: the plan's tasks in this process; seconds without loading the model."""
    fields = {"campaign": "benchmark", "models": [model], "patterns": list(PATTERNS), "lengths": "2..12"}
    drawn = hb.plan(CampaignSpec.model_validate({**fields, "capping": cappings}))
    source = drawn.sources[model]
    timed = Timed(work.load_once(source.card, source.path, "cpu"))
    timed.evaluate([build(chain_system("arc", 2))])
    work.load_once = lambda card, path, device: timed  # type: ignore[assignment]
    timed.seconds, timed.calls = 0.0, 0
    begun = time.perf_counter()
    found = execute(drawn.batches, drawn.sources, drawn.spec.minimize, {}, SerialBackend())
    results = {result.key: result for result in found}
    return drawn, results, time.perf_counter() - begun, timed


def calls(model: str) -> None:
    """Force calls of every chain of the grid."""
    drawn, results, _, _ = campaign(model, ["none", "water"])
    done: dict[System, Task] = {task.system: task for task in drawn.tasks.values() if task.kind == "minimise"}
    for pattern in PATTERNS:
        for capping in ("none", "water"):
            row = {}
            for length in LENGTHS:
                system = chain_system(pattern, length, capping)  # type: ignore[arg-type]
                result = results[done[system].key]
                structure = build(system).with_positions(np.asarray(result.data["positions"]))
                mark = "" if result.status == "done" else f" ({result.status})"
                mark += " ring" if head_tail_contact(structure) < 3.0 else ""
                row[length] = f"{result.data['force_calls']}{mark}"
            record(what="calls", model=model, pattern=pattern, capping=capping, calls=row)


def ours(model: str) -> None:
    """Wall clock of the bare slice: minimisations, out-of-plane modes and fragment energies."""
    _, results, seconds, timed = campaign(model, ["none"])
    statuses = sorted({result.status for result in results.values()})
    outside = 1000 * (seconds - timed.seconds) / timed.calls
    record(
        what="ours",
        model=model,
        seconds=seconds,
        share_in_model=timed.seconds / seconds,
        model_calls=timed.calls,
        outside_ms_per_call=outside,
        statuses=statuses,
    )


class Restrained(Calculator):
    """A potential with harmonic restraints on phi1 and phi2 of every H-bond, as an ASE calculator."""

    implemented_properties = ("energy", "forces")

    def __init__(self, potential: Potential, structure: Structure, system: System) -> None:
        super().__init__()
        self.potential, self.structure, self.calls = potential, structure, 0
        names = {"N": 3, "C": 1, "O": 2}
        self.indices, self.targets = [], []
        for bond, conformer in enumerate(system.conformers):
            a, b = 12 * bond, 12 * (bond + 1)
            self.indices.append([a + names["N"], a + names["C"], a + names["O"], b + names["N"]])
            self.indices.append([a + names["C"], a + names["O"], b + names["N"], b + names["C"]])
            self.targets += planar_torsions(conformer)

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: list[str] = all_changes
    ) -> None:
        """Energy (eV) and forces (eV/A) of the potential and of the restraints."""
        super().calculate(atoms, properties, system_changes)
        x = np.asarray(self.atoms.positions)
        found = self.potential.evaluate([self.structure.with_positions(x)])[0]
        self.calls += 1
        corners = [x[[quad[k] for quad in self.indices]] for k in range(4)]
        bonds = [corners[k + 1] - corners[k] for k in range(3)]
        off = np.radians(get_dihedrals(*bonds)) - np.array(self.targets)
        off = (off + np.pi) % (2 * np.pi) - np.pi
        slopes = np.radians(get_dihedrals_derivatives(*bonds))
        forces = np.array(found.forces)
        for quad, slope, angle in zip(self.indices, slopes, off, strict=True):
            forces[quad] -= STIFFNESS * angle * slope
        self.results = {"energy": found.energy + 0.5 * STIFFNESS * float(off @ off), "forces": forces}


def ase(model: str, longest: int) -> None:
    """The other side, chain by chain; what is in the file already is not done again."""
    potential = registry.load(model)
    have = {
        (line["pattern"], line["length"]) for line in measured() if line["what"] == "ase" and line["model"] == model
    }
    for length in range(2, longest + 1):
        for pattern in PATTERNS:
            if (pattern, length) in have:
                continue
            system = chain_system(pattern, length)  # type: ignore[arg-type]
            structure = build(system)
            atoms = structure.to_ase()
            atoms.calc = Restrained(potential, structure, system)
            optimiser = LBFGS(atoms, logfile=None)
            begun, converged = time.perf_counter(), False
            for state in optimiser.irun(fmax=MAX_FORCE, steps=100_000):
                converged = bool(state)
                if length > RUNS_OUT and time.perf_counter() - begun > CAP_SECONDS:
                    break
            seconds = time.perf_counter() - begun
            if length > RUNS_OUT:
                seconds = min(seconds, CAP_SECONDS)
            final = structure.with_positions(atoms.positions)
            begun = time.perf_counter()
            for molecules in distinct_fragments(final):
                potential.evaluate([final.subset(molecules)], forces=False)
            fragment_seconds = time.perf_counter() - begun
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


def report() -> None:
    """Markdown of the last measurement of each kind."""
    lines = measured()
    rows = {(r["model"], r["pattern"], r["capping"]): r["calls"] for r in lines if r["what"] == "calls"}
    print("| model | pattern | caps |", " | ".join(str(n) for n in LENGTHS), "|")
    print("|---|---|---|" + "---|" * len(LENGTHS))
    for (model, pattern, capping), row in rows.items():
        print(f"| {model} | {pattern} | {capping} |", " | ".join(row[str(n)] for n in LENGTHS), "|")
    for model in dict.fromkeys(line["model"] for line in lines if line["what"] == "ours"):
        own = [line for line in lines if line["what"] == "ours" and line["model"] == model][-1]
        other = {(r["pattern"], r["length"]): r for r in lines if r["what"] == "ase" and r["model"] == model}
        print(
            f"\n{model}: ours {own['seconds']:.1f} s for n = 2..12, {100 * own['share_in_model']:.0f} % in the model,"
        )
        print(f"{own['outside_ms_per_call']:.1f} ms outside it per model call.")
        if other:
            total = sum(line["seconds"] for line in other.values())
            stuck = sum(not line["converged"] for line in other.values())
            print(f"ASE LBFGS with restraints: {total:.0f} s for {len(other)} of 22 chains, {stuck} not converged.")


def main(arguments: list[str]) -> None:
    """Dispatch; see the module."""
    what, *rest = arguments or ["report"]
    if what == "calls":
        for model in rest or ["so3lr", "ani-2x", "gfn2-xtb"]:
            calls(model)
    elif what == "ours":
        ours(rest[0] if rest else "so3lr")
    elif what == "ase":
        ase(rest[0] if rest else "so3lr", int(rest[1]) if len(rest) > 1 else 8)
    else:
        report()


if __name__ == "__main__":
    main(sys.argv[1:])
