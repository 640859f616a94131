"""Force fields through OpenMM: Amber and CHARMM36 (additive, without cooperativity), AMOEBA and Drude (polarisable).

In Amber and AMOEBA, NMA is acetyl (ACE) and N-methylamine (NME), two caps of the protein force field bonded to each
other; OpenMM does not ship AMOEBA's parameters of NMA as a molecule (amoeba09). CHARMM has parameters of NMA. Drude
particles are relaxed at every geometry, from the positions of their atoms, so that no result depends on earlier ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import kJ, mol

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.models import base
from hbcoop_dist.models.published_models import published_cards
from hbcoop_dist.structures import NMA_ATOMS, Structure

_FILES = {
    "amber14": ("amber14/protein.ff14SB.xml", "amber14/tip3p.xml"),
    "amoeba2018": ("amoeba2018.xml",),
    "charmm36": ("charmm36.xml", "charmm36/water.xml"),
    "charmm-drude": ("charmm_polar_2023.xml",),
}
_NMA_RESIDUE = ("charmm36", "charmm-drude")
# Error measured on water-capped arcs of 4 and 12 units against 1e-13 D: 2e-10 eV and 6e-11 eV/A with 1e-10, 2e-6 of
# both with OpenMM's default 1e-5. A point of 12 units takes 0.09 s of CPU time, with 1e-5 0.02 s.
_INDUCTION = {"amoeba2018": {"polarization": "mutual", "mutualInducedTargetEpsilon": 1e-10}}
# OpenMM's default of 60 is meant for its tolerance of 1e-5; it raises when iterations are exhausted.
_ITERATIONS = 200
_MAX_CONTEXTS = 64
# Atoms of a residue must be adjacent in OpenMM's order.
_ACE = ("CA", "C", "O", "HA1", "HA2", "HA3")
_NME = ("N", "H", "CN", "HN1", "HN2", "HN3")
_NMA_ORDER = [NMA_ATOMS.index(name) for name in _ACE + _NME]
_NMA_BONDS = (
    *(("CA", name) for name in ("HA1", "HA2", "HA3", "C")),
    ("C", "O"),
    ("C", "N"),
    ("N", "H"),
    ("N", "CN"),
    *(("CN", name) for name in ("HN1", "HN2", "HN3")),
)


class DrudeError(Exception):
    """Drude particles could not be relaxed."""


_DRUDE_TOLERANCE = 1e-8  # kJ/mol/nm, 1e-11 eV/A
_MAX_DRUDE_STEPS = 300
_COULOMB = 138.935456  # kJ nm / mol / e^2


@dataclass(frozen=True, slots=True)
class Drudes:
    """Drude particles of a system.

    They are relaxed by steps of force over spring constant. Springs are stiffer than the interactions between the
    particles, so that the steps decrease by a constant factor. OpenMM's L-BFGS stops at forces of 5e-5 kJ/mol/nm,
    where forces on the atoms are off by 5e-7 eV/A.

    Attributes
    ----------
    particles, owners : (d,) int arrays
        Indices of the Drude particles, and of the atoms they are attached to, among all particles.
    springs : (d, 1) array
        Spring constants, kJ/mol/nm^2.
    """

    particles: IntArray
    owners: IntArray
    springs: FloatArray

    @classmethod
    def of(cls, system: Any) -> Drudes:
        """Find the Drude particles of an OpenMM system; none where it has no Drude force.

        Parameters
        ----------
        system : openmm.System
        """
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

    def relax(self, context: Any, positions: FloatArray) -> None:
        """Set the positions of a context, with relaxed Drude particles and computed lone pairs.

        Parameters
        ----------
        context : openmm.Context
        positions : (particles, 3) array
            nm; Drude particles at the positions of their atoms.

        Raises
        ------
        DrudeError
            When forces on Drude particles stay above 1e-8 kJ/mol/nm.
        """
        from openmm import unit

        moved = positions.copy()
        for _ in range(_MAX_DRUDE_STEPS):
            context.setPositions(moved)
            context.computeVirtualSites()
            state = context.getState(getForces=True)
            forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
            pull = forces[self.particles]
            if not np.isfinite(pull).all():
                break
            if np.abs(pull).max() < _DRUDE_TOLERANCE:
                return
            moved[self.particles] += pull / self.springs
        raise DrudeError(f"Drude particles that were pulled apart, not at rest after {_MAX_DRUDE_STEPS} steps")


@dataclass(frozen=True, slots=True)
class ForceFieldSystem:
    """An OpenMM system of some molecules.

    Attributes
    ----------
    system : openmm.System
    order : (particles,) int array
        Index in our order of the atom that every particle is, or is attached to.
    atoms : (N,) int array
        Particles that are atoms; the others are Drude particles and lone pairs.
    charges : (N,) array
        Charge of every atom together with the particles attached to it, e, in our order.
    drudes : Drudes
    """

    system: Any
    order: IntArray
    atoms: IntArray
    charges: FloatArray
    drudes: Drudes


@dataclass(frozen=True, slots=True)
class OpenmmPotential(base.SequentialPotential):
    """A classical force field; structures of the same molecules share a context.

    Attributes
    ----------
    forcefield : openmm.app.ForceField
    contexts : dict
        Systems and their contexts by molecule types, least recently used first.
    """

    forcefield: Any
    contexts: dict[tuple[str, ...], tuple[ForceFieldSystem, Any]] = field(default_factory=dict)

    def compute_single(self, structure: Structure, forces: bool, atom_energies: bool) -> base.Evaluation:
        from openmm import OpenMMException, unit

        system, context = self._context(structure.kinds)
        # OpenMM reads a plain array in nm, without rounding.
        positions = structure.positions[system.order] * unit.angstrom.conversion_factor_to(unit.nanometer)
        context.setPositions(positions)
        try:
            if len(system.drudes.particles):
                system.drudes.relax(context, positions)
            state = context.getState(getEnergy=True, getForces=forces)
        except (OpenMMException, DrudeError) as error:
            raise base.ModelError(
                f"model {self.card.name}: expected an energy of {structure.kinds}, found {error}"
            ) from error
        slopes = None
        if forces:
            slopes = np.empty((len(structure), 3))
            raw = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
            slopes[system.order[system.atoms]] = raw[system.atoms] * (kJ / mol)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * (kJ / mol)
        return base.Evaluation(energy=float(energy), forces=slopes, charges=system.charges.copy())

    def _context(self, kinds: tuple[str, ...]) -> tuple[ForceFieldSystem, Any]:
        entry = self.contexts.pop(kinds, None)
        if entry is None:
            while len(self.contexts) >= _MAX_CONTEXTS:
                self.contexts.pop(next(iter(self.contexts)))
            entry = _new_context(self.card, self.forcefield, kinds)
        self.contexts[kinds] = entry
        return entry


def _new_context(card: base.ModelCard, forcefield: Any, kinds: tuple[str, ...]) -> tuple[ForceFieldSystem, Any]:
    import openmm

    made = force_field_system(card, forcefield, kinds)
    # Reference is the platform in double precision throughout. The others gain nothing at this size, and the CPU
    # platform runs AMOEBA with the code of this one.
    platform = openmm.Platform.getPlatformByName("Reference")
    return made, openmm.Context(made.system, openmm.VerletIntegrator(0.001), platform)


def force_field_system(card: base.ModelCard, forcefield: Any, kinds: tuple[str, ...]) -> ForceFieldSystem:
    """Make the OpenMM system of some molecules.

    Parameters
    ----------
    card : ModelCard
    forcefield : openmm.app.ForceField
        Force field of the card.
    kinds : tuple of str
        ``nma`` or ``water`` for every molecule.

    Raises
    ------
    ModelError
        When there is another kind of molecule.
    """
    import openmm
    from openmm import app

    topology, places = _topology(card, kinds)
    atoms = np.arange(len(places))
    if card.name == "charmm-drude":
        topology = _with_extra_particles(forcefield, topology)
        atoms = np.array([atom.index for atom in topology.atoms() if atom.element is not None])
    system = forcefield.createSystem(
        topology,
        nonbondedMethod=app.NoCutoff,
        constraints=None,
        rigidWater=False,
        removeCMMotion=False,
        **_INDUCTION.get(card.name, {}),
    )
    _shorten_planar_terms(system)
    for force in system.getForces():
        if isinstance(force, openmm.AmoebaMultipoleForce):
            force.setMutualInducedMaxIterations(_ITERATIONS)
            _join_amides(force, topology)
    order = np.empty(system.getNumParticles(), dtype=np.int64)
    order[atoms] = places
    drudes = Drudes.of(system)
    order[drudes.particles] = order[drudes.owners]
    for extra, owner in _virtual_sites(system):
        order[extra] = order[owner]
    charges = np.zeros(len(atoms))
    np.add.at(charges, order, _charges(system))
    return ForceFieldSystem(system, order, atoms, charges, drudes)


def _with_extra_particles(forcefield: Any, topology: Any) -> Any:
    """Add the Drude particles and lone pairs of the force field to a topology."""
    from openmm import app, unit

    # The positions are not used, but they must not be collinear.
    positions = np.random.default_rng(0).random((topology.getNumAtoms(), 3))
    modeller = app.Modeller(topology, positions * unit.nanometer)
    modeller.addExtraParticles(forcefield)
    return modeller.topology


def _virtual_sites(system: Any) -> list[tuple[int, int]]:
    """Indices of lone pairs and of the atoms they belong to."""
    sites = [index for index in range(system.getNumParticles()) if system.isVirtualSite(index)]
    return [(index, system.getVirtualSite(index).getParticle(0)) for index in sites]


def _charges(system: Any) -> list[float]:
    """Charges of all particles, e, in OpenMM's order."""
    import openmm
    from openmm import unit

    forces = {type(force): force for force in system.getForces()}
    if multipoles := forces.get(openmm.AmoebaMultipoleForce):
        read = multipoles.getMultipoleParameters
    else:
        read = forces[openmm.NonbondedForce].getParticleParameters
    return [read(index)[0].value_in_unit(unit.elementary_charge) for index in range(system.getNumParticles())]


def _topology(card: base.ModelCard, kinds: tuple[str, ...]) -> tuple[Any, IntArray]:
    from openmm import app

    topology = app.Topology()
    order: list[int] = []
    for kind in kinds:
        chain, start = topology.addChain(), len(order)
        if kind == "nma" and card.name in _NMA_RESIDUE:
            atoms = _add_residue(topology, chain, "NMA", NMA_ATOMS)
            bonds, local = _NMA_BONDS, list(range(len(NMA_ATOMS)))
        elif kind == "nma":
            atoms = _add_residue(topology, chain, "ACE", _ACE) | _add_residue(topology, chain, "NME", _NME)
            bonds, local = _NMA_BONDS, _NMA_ORDER
        elif kind == "water":
            atoms = _add_residue(topology, chain, "HOH", ("O", "H1", "H2"))
            bonds, local = (("O", "H1"), ("O", "H2")), [0, 1, 2]
        else:
            raise base.ModelError(f"model {card.name}: expected molecules nma or water, found {kind!r}")
        for first, second in bonds:
            topology.addBond(atoms[first], atoms[second])
        order += [start + index for index in local]
    return topology, np.array(order)


def _add_residue(topology: Any, chain: Any, name: str, atoms: Sequence[str]) -> dict[str, Any]:
    from openmm import app

    residue = topology.addResidue(name, chain)
    return {atom: topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue) for atom in atoms}


_POLARISATION_GROUPS = (("CA", "HA1", "HA2", "HA3"), ("C", "O", "N", "H"), ("CN", "HN1", "HN2", "HN3"))


def _join_amides(multipoles: Any, topology: Any) -> None:
    """Make the amide of every NMA one polarisation group, as in peptides.

    AMOEBA's permanent multipoles are derived for induction between groups only. The atom types of ACE include the N of
    the next residue in their group, those of NME the C of the residue before, but neither includes the other, so that
    C=O and N-H of NMA would polarise each other. The dipole of the built monomer would be 4.76 D; with one group it is
    3.78 D (experiment in the gas phase: 3.73 D).
    """
    covalent_maps = (
        multipoles.PolarizationCovalent11,
        multipoles.PolarizationCovalent12,
        multipoles.PolarizationCovalent13,
        multipoles.PolarizationCovalent14,
    )
    for chain in topology.chains():  # one molecule each
        indices = {atom.name: atom.index for atom in chain.atoms()}
        if "CA" not in indices:
            continue
        groups = [[indices[name] for name in group] for group in _POLARISATION_GROUPS]
        for own, group in enumerate(groups):
            for apart, covalent_map in enumerate(covalent_maps):
                others = {other for g in {own - apart, own + apart} if 0 <= g < len(groups) for other in groups[g]}
                for atom in group:
                    multipoles.setCovalentMap(atom, covalent_map, sorted(others))


# AMOEBA's terms of planar centres p2, to which p1, p3 and p4 are bonded, in internal coordinates. OpenMM 8.6 writes the
# projection of an atom onto a plane in Cartesian coordinates and differentiates it for every new context, which takes
# 20 s of CPU time in place of 2 s.
_DEGREES = "57.2957795130823"
# Height of p2 above the plane of the other three, in units of distance(p2,p4). It is a sine: OpenMM takes the arc
# cosine of 1 - height^2 / 2, which loses half of the digits near the mirror plane.
_HEIGHT = "sin(angle(p2,p4,p1))*sin(dihedral(p2,p4,p1,p3))"
_PLANAR_GEOMETRY = {
    "AmoebaOutOfPlaneBendForce": f"theta={_DEGREES}*abs(asin({_HEIGHT}))",
    # Angle p1, projection of p2 onto the plane, p3.
    "AmoebaInPlaneAngleForce": (
        f"theta={_DEGREES}*acos((distance(p1,p2)*distance(p2,p3)*cos(angle(p1,p2,p3))-square)"
        "/sqrt((distance(p1,p2)^2-square)*(distance(p2,p3)^2-square)));"
        f" square=(distance(p2,p4)*{_HEIGHT})^2"
    ),
}


def _shorten_planar_terms(system: Any) -> None:
    """Replace the geometry of the two terms of planar centres; polynomials and parameters remain."""
    for force in system.getForces():
        if geometry := _PLANAR_GEOMETRY.get(force.getName()):
            polynomial, _, _ = force.getEnergyFunction().partition("theta =")
            force.setEnergyFunction(polynomial + geometry)


class OpenmmFamily(base.ModelFamily):
    """Force fields that OpenMM ships."""

    cards = published_cards("openmm")

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> OpenmmPotential:
        from openmm import app

        base.require_plain(card, checkpoint, device, dtype)
        folder, files = Path(app.__file__).parent / "data", _FILES[card.name]
        parameters = hashlib.sha256(b"".join((folder / name).read_bytes() for name in files)).hexdigest()
        return OpenmmPotential(card, parameters, device, app.ForceField(*files))


FAMILY = OpenmmFamily()
