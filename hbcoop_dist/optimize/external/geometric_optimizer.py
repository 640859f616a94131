"""Minimisation with geomeTRIC in TRIC coordinates (Wang, Song, J. Chem. Phys. 2016, 144, 214108).

geomeTRIC enforces its dihedral constraints exactly after every step. Each is represented by one delocalised coordinate,
linear about the structure at which the coordinates were made. After larger rotations, e.g. of a methyl group, a step at
constant coordinate changes the torsion, its enforcement raises the energy, and the minimisation stalls at 1e-3 eV/A (an
SO3LR dimer does not converge in 600 calls). So the coordinates are rebuilt every `REFRESH` steps, and the Hessian from
the history; the same dimer then takes 102 calls. The newer treatment of constraints (``conmethod=1``) drops coordinates
of these chains as nearly redundant and does not get below 2e-5 eV/A.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ase.units import Bohr, Hartree
from geometric.engine import Engine
from geometric.internal import DelocalizedInternalCoordinates, Dihedral
from geometric.molecule import Molecule
from geometric.nifty import logger
from geometric.optimize import OPT_STATE, Optimizer
from geometric.params import OptParams

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.optimize.external.energy_surface import Surface

REFRESH = 20
"""Steps after which coordinates with constraints are rebuilt."""
_ENFORCE = 0.1
"""Violation, a.u. or rad, below which geomeTRIC enforces a constraint exactly; starts satisfy their constraints."""
_SMALLEST_TRUST = 1.0e-6
"""Smallest trust radius, A; steps of the default, 1e-4 A, are too long for soft torsions near convergence."""


class _SurfaceEngine(Engine):  # type: ignore[misc]  # geomeTRIC has no types
    """geomeTRIC engine of a surface, in atomic units."""

    def __init__(self, molecule: Any, surface: Surface) -> None:
        super().__init__(molecule)
        self.surface = surface

    def calc_new(self, coords: FloatArray, dirname: str) -> dict[str, Any]:
        """Evaluate energy, Hartree, and gradient, Hartree/Bohr, at coordinates (3 N,), Bohr; writes no files."""
        del dirname
        energy, forces = self.surface.evaluate(coords.reshape(-1, 3) * Bohr)
        return {"energy": energy / Hartree, "gradient": -forces.ravel() / (Hartree / Bohr)}


def relax_geometric(surface: Surface) -> None:
    """Minimise with geomeTRIC until the surface ends it."""
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
    # an energy change of zero is never met, so that only the surface ends the minimisation
    params = OptParams(enforce=_ENFORCE, convergence_energy=0.0, maxiter=surface.goal.max_calls, tmin=_SMALLEST_TRUST)
    engine = _SurfaceEngine(molecule, surface)
    return Optimizer(atoms.positions.ravel() / Bohr, molecule, coordinates, engine, folder, params, print_info=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Disable the logger of geomeTRIC's progress report and restore its state."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
