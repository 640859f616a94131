"""Minimise with LBFGS or FIRE of ASE, in Cartesian coordinates.

Torsions are held exactly, all of them at once.  What ASE offers does not do: `FixInternals` mends one torsion after
another, and since phi1 and phi2 of an H-bond share three atoms its 50 rounds may be too few (a dimer held at phi1 = 30
degrees ends in "adjust_positions did not converge" after 15 to 42 steps, whatever its tolerance or the step length);
harmonic restraints leave every torsion off by its torque over their stiffness.

Minimise with Sella in internal coordinates (Hermes et al., J. Chem. Theory Comput. 2022, 18, 6974).

Every molecule has internal coordinates of its own, a translation and a rotation; torsions are Sella's own dihedral
constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.geometry import get_dihedrals, get_dihedrals_derivatives
from ase.optimize import FIRE, LBFGS
from numpy.typing import NDArray
from sella import Constraints, Sella

from hbcoop_dist.optimize.external.energy_surface import Surface, SurfaceCalculator, Torsion

FloatArray = NDArray[np.float64]

_NEVER = 0.0
"""A force no optimiser gets to: the surface ends it, by our criterion."""
_EXACT, _ROUNDS = 1.0e-12, 20


class HeldTorsions:
    """Torsions that keep their values, as an ASE constraint: Newton steps along all their gradients together."""

    def __init__(self, torsions: Sequence[Torsion]) -> None:
        self.atoms = np.array([torsion.atoms for torsion in torsions])
        self.targets = np.array([torsion.target for torsion in torsions])

    def adjust_positions(self, atoms: Any, new: FloatArray) -> None:
        """Put new positions (N, 3) back to where every torsion has its value."""
        del atoms
        for _ in range(_ROUNDS):
            values, slopes = self._measured(new)
            off = np.angle(np.exp(1j * (values - self.targets)))
            if np.abs(off).max() < _EXACT:
                return
            new -= (np.linalg.pinv(slopes) @ off).reshape(new.shape)
        raise ValueError(f"torsions cannot be held: still {np.abs(off).max():.1e} rad off after {_ROUNDS} rounds")

    def adjust_forces(self, atoms: Any, forces: FloatArray) -> None:
        """Project the torsions' gradients out of forces (N, 3)."""
        _, slopes = self._measured(atoms.positions)
        forces -= (np.linalg.pinv(slopes) @ (slopes @ forces.ravel())).reshape(forces.shape)

    def _measured(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values (n,), rad, and gradients (n, 3 N), rad/A."""
        corners = [x[self.atoms[:, k]] for k in range(4)]
        bonds = [corners[k + 1] - corners[k] for k in range(3)]
        slopes = np.zeros((len(self.atoms), *x.shape))
        for row, quad, slope in zip(slopes, self.atoms, get_dihedrals_derivatives(*bonds), strict=True):
            row[quad] = np.radians(slope)
        return np.radians(get_dihedrals(*bonds)), slopes.reshape(len(slopes), -1)


def relax_lbfgs(surface: Surface) -> None:
    """LBFGS until the surface says that this is enough."""
    _relax(LBFGS, surface)


def relax_fire(surface: Surface) -> None:
    """FIRE until the surface says that this is enough."""
    _relax(FIRE, surface)


def _relax(method: Any, surface: Surface) -> None:
    atoms = surface.template.to_ase()
    atoms.calc = SurfaceCalculator(surface)
    if surface.torsions:
        atoms.set_constraint(HeldTorsions(surface.torsions))
    with method(atoms, logfile=None) as optimiser:
        optimiser.run(fmax=_NEVER, steps=surface.goal.max_calls)


_UNBOUNDED = 1.0e-12
"""A force, eV/A, that no minimisation gets to: the surface ends it, by our criterion."""


def relax(surface: Surface) -> None:
    """Go down the surface until it says that this is enough."""
    atoms = surface.template.to_ase()
    atoms.calc = SurfaceCalculator(surface)
    held = Constraints(atoms)
    for torsion in surface.torsions:
        held.fix_dihedral(torsion.atoms, target=np.degrees(torsion.target))
    with Sella(atoms, order=0, internal=True, allow_fragments=True, constraints=held, logfile=None) as optimiser:
        optimiser.run(fmax=_UNBOUNDED, steps=surface.goal.max_calls)
