"""Minimisation with OpenMM's LocalEnergyMinimizer, phi1 and phi2 restrained: the protocol of Feng, Xu, Huang (2025).

ANI and MACE run through openmm-ml in single precision, with the verified checkpoint that the model was loaded from;
force fields run as they are. Unlike the other optimisers, OpenMM minimises its own energy surface and ends where its
tolerance is met or its line search finds no lower energy. In single precision the latter happens first, at an RMS force
of 1 to 3 kJ/mol/nm (ANI-2x and MACE, n = 2 to 5) instead of the tolerance of 0.01. The end point is then evaluated once
on the `Surface` in float64, which decides about convergence.
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
from openmm import app, unit

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.models.base import ModelCard, ModelError, Potential
from hbcoop_dist.models.families.openmm import OpenmmPotential, force_field_system
from hbcoop_dist.optimize.external.energy_surface import Surface
from hbcoop_dist.structures import Structure


def system_of(potential: Potential, checkpoint: Path | None, structure: Structure) -> tuple[Any, IntArray]:
    """Make the OpenMM system of a structure.

    Parameters
    ----------
    potential : Potential
    checkpoint : Path or None
        File or folder that the potential was loaded from; None for force fields.
    structure : Structure

    Returns
    -------
    system : openmm.System
    order : (N,) int array
        Atom of the structure for every particle of the system.

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
    with _torch_loads_pickles():
        system = _machine_learned(card, checkpoint).createSystem(
            _topology(structure), removeCMMotion=False, precision="single", device=potential.device
        )
    return system, np.arange(len(structure))


def _machine_learned(card: ModelCard, checkpoint: Path) -> Any:
    from openmmml import MLPotential

    if card.family == "ani":
        from hbcoop_dist.optimize.external import openmm_ani

        return MLPotential(openmm_ani.NAME, folder=checkpoint)
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
def _torch_loads_pickles() -> Iterator[None]:
    """Let torch load a whole pickled network, as openmm-ml requires, and suppress its output and warnings.

    The file was verified when the model itself was loaded from it.
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
"""Stiffness of the restraints, kJ/mol/rad^2: a torque of 0.1 eV/rad rotates a torsion by 0.06 degrees. With ten times
this stiffness L-BFGS ends at three times the force (ANI-2x dimer)."""
RESTRAINT_TOLERANCE = np.radians(0.1)
"""Deviation, rad, of a restrained torsion in a converged structure."""

_HARMONIC = "0.5*stiffness*min(off, 2*pi-off)^2; off = abs(theta-target); pi = 3.14159265358979324"


def relax_openmm(surface: Surface, checkpoint: Path | None, tolerance: float) -> None:
    """Minimise in OpenMM until its minimiser ends, then evaluate the surface at the end point.

    Parameters
    ----------
    surface : Surface
    checkpoint : Path or None
        File or folder that the surface's potential was loaded from.
    tolerance : float
        RMS force, kJ/mol/nm, of OpenMM's minimiser.
    """
    system, order = system_of(surface.potential, checkpoint, surface.template)
    places = np.argsort(order)
    if surface.torsions:
        system.addForce(_restraints(surface, places))
    counter = _Counter()
    system.addForce(openmm.PythonForce(counter.count))
    # the Reference platform sums in double precision, so that only the model is in single precision
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(surface.template.positions[order] * unit.angstrom.conversion_factor_to(unit.nanometer))
    openmm.LocalEnergyMinimizer.minimize(context, tolerance, 0, _Budget(counter, surface.goal.max_calls))
    surface.calls = counter.calls
    positions = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    surface.evaluate(positions[places])


def _restraints(surface: Surface, places: IntArray) -> Any:
    force = openmm.CustomTorsionForce(_HARMONIC)
    force.addGlobalParameter("stiffness", STIFFNESS)
    force.addPerTorsionParameter("target")
    for torsion in surface.torsions:
        force.addTorsion(*(int(places[atom]) for atom in torsion.atoms), [torsion.target])
    return force


class _Counter:
    """A zero force that counts evaluations, since OpenMM reports only the steps of a minimisation."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self, state: Any) -> tuple[float, FloatArray]:
        """Count an evaluation; return zero energy and forces."""
        self.calls += 1
        return 0.0, np.zeros((len(state.getPositions(asNumpy=True)), 3))


class _Budget(openmm.MinimizationReporter):  # type: ignore[misc]  # OpenMM has no types
    """Reporter that ends a minimisation after the step in which its budget of calls is exhausted."""

    def __init__(self, counter: _Counter, max_calls: int) -> None:
        super().__init__()
        self._counter, self._max_calls = counter, max_calls

    def report(self, iteration: int, x: Any, grad: Any, args: Any) -> bool:
        """Return whether the minimisation ends."""
        del iteration, x, grad, args
        return self._counter.calls >= self._max_calls
