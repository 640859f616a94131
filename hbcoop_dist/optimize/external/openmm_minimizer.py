"""The OpenMM system of a structure: ANI and MACE through openmm-ml in single precision, a force field as it is.

Parameters are the verified checkpoint that the model was loaded from; openmm-ml downloads nothing.

Minimise with OpenMM's LocalEnergyMinimizer, phi1 and phi2 restrained: the published protocol, forces and all.

Unlike the other optimisers it does not go down our surface but down OpenMM's own, whose forces of ANI and MACE are
float32.  It ends where its tolerance is met or where its line search finds no lower energy, which is what ends it in
single precision: at 1 to 3 kJ/mol/nm (RMS; ANI-2x and MACE, n = 2 to 5) instead of the 0.01 asked for.  Where it ends
is then measured once on our surface, in float64, and that decides.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from hbcoop_dist.models.base import ModelCard, ModelError, Potential
from hbcoop_dist.models.families.openmm import OpenmmPotential, force_field_system
from hbcoop_dist.optimize.external.energy_surface import Surface
from hbcoop_dist.structures import Structure


def system_of(potential: Potential, checkpoint: Path | None, structure: Structure) -> tuple[Any, NDArray[np.int64]]:
    """System of all a structure's atoms, and the atom of the structure that each of its particles is.

    Raises
    ------
    ModelError
        When OpenMM cannot run the model.
    """
    card = potential.card
    if isinstance(potential, OpenmmPotential):
        made = force_field_system(card, potential.forcefield, structure.kinds)
        system, order = made.system, made.order
        return system, order
    if checkpoint is None:
        raise ModelError(f"model {card.name}: expected a checkpoint for openmm-ml, found none")
    with _unpickled():
        system = _machine_learned(card, checkpoint).createSystem(
            _topology(structure), removeCMMotion=False, precision="single", device=potential.device
        )
    return system, np.arange(len(structure))


def _machine_learned(card: ModelCard, checkpoint: Path) -> Any:
    from openmmml import MLPotential

    if card.family == "ani":
        from hbcoop_dist.optimize.external import openmm_ani as ani_in_openmm

        return MLPotential(ani_in_openmm.NAME, folder=checkpoint)
    if card.family == "mace":
        return MLPotential("mace", modelPath=str(checkpoint))
    raise ModelError(f"model {card.name}: expected family ani, mace or openmm for OpenMM, found {card.family}")


def _topology(structure: Structure) -> Any:
    topology = app.Topology()
    residue = topology.addResidue("NMA", topology.addChain())
    for number in structure.numbers:
        topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
    return topology


@contextlib.contextmanager
def _unpickled() -> Iterator[None]:
    """Let torch read a whole pickled network, as openmm-ml needs, and keep what is printed and warned of here.

    Nothing is trusted that was not before: the model itself was loaded from the same verified file.
    """
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


STIFFNESS = 1.0e4
"""Of the restraints, kJ/mol/rad^2: a torque of 0.1 eV/rad turns a torsion by 0.06 degrees.  Ten times stiffer ones
make L-BFGS end at three times the force (ANI-2x dimer)."""
RESTRAINED = np.radians(0.1)
"""How far, rad, restraints may leave a torsion off its value in a converged structure."""

_HARMONIC = "0.5*stiffness*min(off, 2*pi-off)^2; off = abs(theta-target); pi = 3.14159265358979324"


def relax(surface: Surface, checkpoint: Path | None, tolerance: float) -> None:
    """Go down OpenMM's surface until its minimiser ends, then evaluate ours there.

    Parameters
    ----------
    surface : Surface
    checkpoint : Path or None
        Of the surface's potential.
    tolerance : float
        RMS force, kJ/mol/nm.
    """
    system, order = system_of(surface.potential, checkpoint, surface.template)
    places = np.argsort(order)
    if surface.torsions:
        system.addForce(_restraints(surface, places))
    counter = _Counter()
    system.addForce(openmm.PythonForce(counter.count))
    # Reference adds up in double precision throughout, so that single precision is the model's alone.
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(surface.template.positions[order] * unit.angstrom.conversion_factor_to(unit.nanometer))
    openmm.LocalEnergyMinimizer.minimize(context, tolerance, 0, _Budget(counter, surface.goal.max_calls))
    surface.calls = counter.calls
    found = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    surface.evaluate(found[places])


def _restraints(surface: Surface, places: NDArray[np.int64]) -> Any:
    force = openmm.CustomTorsionForce(_HARMONIC)
    force.addGlobalParameter("stiffness", STIFFNESS)
    force.addPerTorsionParameter("target")
    for torsion in surface.torsions:
        force.addTorsion(*(int(places[atom]) for atom in torsion.atoms), [torsion.target])
    return force


class _Counter:
    """A force of zero that counts: OpenMM says of a minimisation how many steps it took, not how many evaluations."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self, state: Any) -> tuple[float, NDArray[np.float64]]:
        """No energy and no forces."""
        self.calls += 1
        return 0.0, np.zeros((len(state.getPositions(asNumpy=True)), 3))


class _Budget(openmm.MinimizationReporter):  # type: ignore[misc]  # OpenMM has no types
    """Ends a minimisation, after the step it is in, that has had its calls."""

    def __init__(self, counter: _Counter, max_calls: int) -> None:
        super().__init__()
        self._counter, self._max_calls = counter, max_calls

    def report(self, iteration: int, x: Any, grad: Any, args: Any) -> bool:
        """Whether to stop."""
        del iteration, x, grad, args
        return self._counter.calls >= self._max_calls
