"""Minimise with geomeTRIC in TRIC coordinates (Wang, Song, J. Chem. Phys. 2016, 144, 214108).

Torsions are geomeTRIC's own dihedral constraints, enforced exactly after every step.  One delocalised coordinate
stands for each, linearised where the coordinates were made: after larger turns (a methyl group's, say) a step at
constant coordinate is no longer one at constant torsion, enforcing it raises the energy again, and the minimisation
stalls at 1e-3 eV/A (measured: 600 calls for an SO3LR dimer, and not there).  So the coordinates are made anew every
`REFRESH` steps, the Hessian rebuilt from the history; the same dimer then takes 102 calls.  Its newer way of handling
constraints (``conmethod=1``) drops coordinates of these chains as nearly redundant and does not get below 2e-5 eV/A.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree
from geometric.engine import Engine
from geometric.internal import DelocalizedInternalCoordinates, Dihedral
from geometric.molecule import Molecule
from geometric.nifty import logger
from geometric.optimize import OPT_STATE, Optimizer
from geometric.params import OptParams
from numpy.typing import NDArray

from hbcoop_dist.optimize.external.energy_surface import Surface

REFRESH = 20
"""Steps after which constrained coordinates are made anew."""
_ENFORCE = 0.1
"""Violation, a.u. or rad, below which geomeTRIC enforces a constraint exactly: always, from these starts."""
_SMALLEST_TRUST = 1.0e-6
"""Angstrom; the default of 1e-4 is a step too long for the soft torsions at the end."""


class _SurfaceEngine(Engine):  # type: ignore[misc]  # geomeTRIC has no types
    """A surface as geomeTRIC asks it, in atomic units."""

    def __init__(self, molecule: Any, surface: Surface) -> None:
        super().__init__(molecule)
        self.surface = surface

    def calc_new(self, coords: NDArray[np.float64], dirname: str) -> dict[str, Any]:
        """Energy and gradient at coordinates (3 N,), Bohr; nothing is written into the folder."""
        del dirname
        energy, forces = self.surface.evaluate(coords.reshape(-1, 3) * Bohr)
        return {"energy": energy / Hartree, "gradient": -forces.ravel() / (Hartree / Bohr)}


def relax(surface: Surface) -> None:
    """Go down the surface until it says that this is enough."""
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        optimiser = _optimiser(surface, folder)
        optimiser.calcEnergyForce()
        optimiser.prepareFirstStep()
        while optimiser.state not in (OPT_STATE.CONVERGED, OPT_STATE.FAILED):
            optimiser.step()
            if optimiser.state != OPT_STATE.NEEDS_EVALUATION:
                continue
            optimiser.calcEnergyForce()
            optimiser.evaluateStep()
            if surface.torsions and optimiser.Iteration % REFRESH == 0:
                optimiser.refreshCoordinates()


def _optimiser(surface: Surface, folder: str) -> Any:
    atoms = surface.template.to_ase()
    molecule = Molecule()
    molecule.elem = atoms.get_chemical_symbols()
    molecule.xyzs = [atoms.positions]
    molecule.build_topology()
    coordinates = DelocalizedInternalCoordinates(
        molecule,
        build=True,
        connect=False,
        addcart=False,
        constraints=[Dihedral(*torsion.atoms) for torsion in surface.torsions] or None,
        cvals=[torsion.target for torsion in surface.torsions] or None,
    )
    # an energy change of zero is never met, so that the surface ends the run, by our criterion
    params = OptParams(enforce=_ENFORCE, convergence_energy=0.0, maxiter=surface.goal.max_calls, tmin=_SMALLEST_TRUST)
    engine = _SurfaceEngine(molecule, surface)
    return Optimizer(atoms.positions.ravel() / Bohr, molecule, coordinates, engine, folder, params, print_info=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress report: one logger carries all of it, and is given back as it was."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
