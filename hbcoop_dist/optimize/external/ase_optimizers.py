"""Minimisation with LBFGS and FIRE of ASE in Cartesian coordinates, and with Sella in internal coordinates.

In LBFGS and FIRE all torsions are constrained exactly and simultaneously by `FixedTorsions`. ASE's own `FixInternals`
corrects one torsion after another, and since phi1 and phi2 of an H-bond share three atoms, its 50 rounds may not
suffice: a dimer at phi1 = 30 degrees ends in "adjust_positions did not converge" after 15 to 42 steps, with any
tolerance and step length. Harmonic restraints would leave every torsion off by its torque divided by their stiffness.

Sella (Hermes et al., J. Chem. Theory Comput. 2022, 18, 6974) uses internal coordinates, a translation and a rotation of
every molecule, and its own constraints of dihedral angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import get_dihedrals, get_dihedrals_derivatives
from ase.optimize import FIRE, LBFGS

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.optimize.external.energy_surface import Surface, SurfaceCalculator, Torsion
from hbcoop_dist.optimize.quasi_newton import Goal, force_norms
from hbcoop_dist.structures import Structure

_EXACT, _ROUNDS = 1.0e-12, 20
_SELLA_FORCE = 1.0e-12
"""Force criterion, eV/A, that Sella never meets; it does not accept zero."""
MAX_STEP = 0.1
"""Longest displacement of an atom in one step, A."""
UNREACHABLE_FORCE = 0.0
"""Force criterion, eV/A, for optimisers whose own criterion must never apply, because ours ends them."""


class FixedTorsions:
    """ASE constraint that fixes torsions by Newton steps along all their gradients together.

    Parameters
    ----------
    torsions : sequence of Torsion
    """

    def __init__(self, torsions: Sequence[Torsion]) -> None:
        self.atoms = np.array([torsion.atoms for torsion in torsions])
        self.targets = np.array([torsion.target for torsion in torsions])

    def adjust_positions(self, atoms: Any, new: FloatArray) -> None:
        """Correct new positions (N, 3) in place so that every torsion has its target value."""
        del atoms
        for _ in range(_ROUNDS):
            values, gradients = self._measure(new)
            deviations = np.angle(np.exp(1j * (values - self.targets)))
            if np.abs(deviations).max() < _EXACT:
                return
            new -= (np.linalg.pinv(gradients) @ deviations).reshape(new.shape)
        raise ValueError(
            f"torsions: expected convergence to their targets in {_ROUNDS} rounds, "
            f"found a deviation of {np.abs(deviations).max():.1e} rad"
        )

    def adjust_forces(self, atoms: Any, forces: FloatArray) -> None:
        """Project the gradients of the torsions out of forces (N, 3) in place."""
        _, gradients = self._measure(atoms.positions)
        forces -= (np.linalg.pinv(gradients) @ (gradients @ forces.ravel())).reshape(forces.shape)

    def _measure(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values (n,), rad, and gradients (n, 3 N), rad/A."""
        corners = [x[self.atoms[:, k]] for k in range(4)]
        bonds = [corners[k + 1] - corners[k] for k in range(3)]
        gradients = np.zeros((len(self.atoms), *x.shape))
        for row, atoms, gradient in zip(gradients, self.atoms, get_dihedrals_derivatives(*bonds), strict=True):
            row[atoms] = np.radians(gradient)
        return np.radians(get_dihedrals(*bonds)), gradients.reshape(len(gradients), -1)


def relax_lbfgs(surface: Surface) -> None:
    """Minimise with LBFGS until the surface ends it."""
    _relax(LBFGS, surface)


def relax_fire(surface: Surface) -> None:
    """Minimise with FIRE until the surface ends it."""
    _relax(FIRE, surface)


def _relax(method: Any, surface: Surface) -> None:
    atoms = surface.template.to_ase()
    atoms.calc = SurfaceCalculator(surface)
    if surface.torsions:
        atoms.set_constraint(FixedTorsions(surface.torsions))
    with method(atoms, logfile=None) as optimiser:
        optimiser.run(fmax=UNREACHABLE_FORCE, steps=surface.goal.max_calls)


def relax_sella(surface: Surface) -> None:
    """Minimise with Sella until the surface ends it."""
    # an optional package
    from sella import Constraints, Sella

    atoms = surface.template.to_ase()
    atoms.calc = SurfaceCalculator(surface)
    constraints = Constraints(atoms)
    for torsion in surface.torsions:
        constraints.fix_dihedral(torsion.atoms, target=np.degrees(torsion.target))
    with Sella(atoms, order=0, internal=True, allow_fragments=True, constraints=constraints, logfile=None) as optimiser:
        optimiser.run(fmax=_SELLA_FORCE, steps=surface.goal.max_calls)


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
