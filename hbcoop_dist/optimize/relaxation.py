"""Minimise any cluster of molecules freely, in Cartesian coordinates, with ASE's BFGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from hbcoop_dist.models.base import Potential
from hbcoop_dist.optimize.quasi_newton import Goal
from hbcoop_dist.structures import Structure

FloatArray = NDArray[np.float64]
MAX_STEP = 0.1
"""Longest move of an atom in one step, A."""
_NEVER = 0.0
"""A force the optimiser never gets to: our own criterion ends it."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Where a free minimisation ended.

    Attributes
    ----------
    positions : (N, 3) array
        A.
    energy : float
        eV.
    max_force, rms_force : float
        Largest atomic force and RMS over components, eV/A.
    force_calls : int
    converged : bool
    """

    positions: FloatArray
    energy: float
    max_force: float
    rms_force: float
    force_calls: int
    converged: bool


class _PotentialCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """A potential as ASE asks for it; counts its calls."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, potential: Potential, structure: Structure) -> None:
        super().__init__()
        self.potential, self.structure, self.calls = potential, structure, 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        found = self.potential.evaluate([self.structure.with_positions(self.atoms.positions)])[0]
        self.calls += 1
        self.results = {"energy": found.energy, "forces": found.forces}


def relax(potential: Potential, structure: Structure, goal: Goal) -> Relaxed:
    """Minimise all coordinates of one structure.

    Parameters
    ----------
    potential : Potential
    structure : Structure
        Where to start.
    goal : Goal
        Force left, and calls granted.

    Returns
    -------
    Relaxed
    """
    # it imports scipy, which nobody who only plans should wait for
    from ase.optimize import BFGS

    atoms = structure.to_ase()
    atoms.calc = _PotentialCalculator(potential, structure)
    with BFGS(atoms, logfile=None, maxstep=MAX_STEP) as optimiser:
        for _ in optimiser.irun(fmax=_NEVER, steps=goal.max_calls):
            if _small(atoms.get_forces(), goal):
                break
    forces = atoms.get_forces()
    return Relaxed(
        atoms.positions.copy(),
        float(atoms.get_potential_energy()),
        float(np.linalg.norm(forces, axis=1).max()),
        float(np.sqrt((forces**2).mean())),
        atoms.calc.calls,
        _small(forces, goal),
    )


def _small(forces: FloatArray, goal: Goal) -> bool:
    largest = float(np.linalg.norm(forces, axis=1).max())
    enough = goal.rms_force is None or float(np.sqrt((forces**2).mean())) <= goal.rms_force
    return largest <= goal.max_force and enough
