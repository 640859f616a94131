"""Relax Drude particles at a geometry of the atoms: step after step by force over spring constant.

Springs are stiffer than what the particles feel of one another, so the steps shrink by a constant factor; L-BFGS of
OpenMM stops at forces of 5e-5 kJ/mol/nm, where the atoms' own forces are off by 5e-7 eV/A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-8  # kJ/mol/nm, 1e-11 eV/A
_MOST_STEPS = 300
_COULOMB = 138.935456  # kJ nm / mol / e^2


class DrudeError(Exception):
    """Drude particles that do not come to rest."""


@dataclass(frozen=True, slots=True)
class Drudes:
    """Drude particles of a system.

    Attributes
    ----------
    particles, owners : (d,) int arrays
        Their places among all particles, and those of the atoms they hang on.
    springs : (d, 1) array
        kJ/mol/nm^2.
    """

    particles: NDArray[np.int64]
    owners: NDArray[np.int64]
    springs: NDArray[np.float64]

    @classmethod
    def of(cls, system: Any) -> Drudes:
        """Those of an OpenMM system; none where it has no Drude force."""
        import openmm
        from openmm import unit

        rows = []
        for force in system.getForces():
            if isinstance(force, openmm.DrudeForce):
                for index in range(force.getNumParticles()):
                    drude, owner, _, _, _, charge, polarizability, _, _ = force.getParticleParameters(index)
                    q = charge.value_in_unit(unit.elementary_charge)
                    rows.append((drude, owner, _COULOMB * q**2 / polarizability.value_in_unit(unit.nanometer**3)))
        table = np.array(rows).reshape(-1, 3)
        return cls(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:])

    def relax(self, context: Any, positions: NDArray[np.float64]) -> None:
        """Set the context's positions, nm, with the Drude particles at rest and lone pairs where they belong.

        Raises
        ------
        DrudeError
            When forces on them stay above 1e-8 kJ/mol/nm.
        """
        from openmm import unit

        where = positions.copy()
        for _ in range(_MOST_STEPS):
            context.setPositions(where)
            context.computeVirtualSites()
            state = context.getState(getForces=True)
            forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
            pull = forces[self.particles]
            if not np.isfinite(pull).all():
                break
            if np.abs(pull).max() < _TOLERANCE:
                return
            where[self.particles] += pull / self.springs
        raise DrudeError(f"expected Drude particles at rest after {_MOST_STEPS} steps, found them pulled apart")
