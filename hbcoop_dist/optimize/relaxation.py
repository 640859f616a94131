"""Free minimisation of a complex in Cartesian coordinates with ASE's BFGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ase.calculators.calculator import Calculator, all_changes

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.optimize.quasi_newton import Goal, force_norms
from hbcoop_dist.structures import Structure

MAX_STEP = 0.1
"""Longest displacement of an atom in one step, A."""
UNREACHABLE_FORCE = 0.0
"""Force criterion, eV/A, for optimisers whose own criterion must never apply, because ours ends them."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Result of a free minimisation.

    Attributes
    ----------
    positions : (N, 3) array
        A.
    energy : float
        eV.
    max_force, rms_force : float
        Largest atomic force and RMS over components, eV/A.
    force_calls : int
        Number of evaluations.
    converged : bool
    """

    positions: FloatArray
    energy: float
    max_force: float
    rms_force: float
    force_calls: int
    converged: bool


class _PotentialCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """ASE calculator of a potential that counts its evaluations."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, potential: Potential, structure: Structure) -> None:
        super().__init__()
        self.potential, self.structure, self.calls = potential, structure, 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        evaluation = self.potential.evaluate([self.structure.with_positions(self.atoms.positions)])[0]
        self.calls += 1
        self.results = {"energy": evaluation.energy, "forces": evaluation.forces}


def relax(potential: Potential, structure: Structure, goal: Goal) -> Relaxed:
    """Minimise all coordinates of one structure.

    Parameters
    ----------
    potential : Potential
    structure : Structure
        Start geometry.
    goal : Goal
        Convergence criteria and largest number of steps.

    Returns
    -------
    Relaxed
    """
    # imports scipy, which is slow
    from ase.optimize import BFGS

    atoms = structure.to_ase()
    atoms.calc = _PotentialCalculator(potential, structure)
    with BFGS(atoms, logfile=None, maxstep=MAX_STEP) as optimiser:
        for _ in optimiser.irun(fmax=UNREACHABLE_FORCE, steps=goal.max_calls):
            if goal.is_met(*force_norms(atoms.get_forces())):
                break
    max_force, rms_force = force_norms(atoms.get_forces())
    return Relaxed(
        atoms.positions.copy(),
        float(atoms.get_potential_energy()),
        max_force,
        rms_force,
        atoms.calc.calls,
        goal.is_met(max_force, rms_force),
    )
