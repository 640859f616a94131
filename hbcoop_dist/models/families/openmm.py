"""Force fields through OpenMM: Amber and CHARMM36, additive, whose cooperativity is zero; AMOEBA and Drude polarise.

In Amber NMA is acetyl (ACE) and N-methylamine (NME), two caps of the protein force field bonded to each other. That is
so for AMOEBA too, whose parameters of NMA as a molecule of its own (amoeba09) OpenMM does not ship. CHARMM has NMA.
Drude particles are relaxed at every geometry, from the atoms they hang on, so that nothing depends on what came before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import kJ, mol
from numpy.typing import NDArray

from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, require_elements, require_plain
from hbcoop_dist.models.families.openmm_amoeba import join_amides, shorten_terms
from hbcoop_dist.models.families.openmm_drude import DrudeError, Drudes
from hbcoop_dist.structures import NMA_ATOMS, Structure


def _card(name: str, level_of_theory: str, licence: str, citation: str, method: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="openmm",
        level_of_theory=level_of_theory,
        licence=licence,
        citation=citation,
        elements=(1, 6, 7, 8),
        # A total over bonds, angles, torsions, pairs and induced dipoles, which OpenMM does not hand out atom by atom.
        atom_energies=False,
        charges=True,
        batched=False,
        long_range=True,
        requires=("openmm",),
        packages=("openmm",),
        needs_topology=True,
        options={"method": method},
    )


CARDS = (
    _card(
        "amber14",
        "classical force field: Amber ff14SB, flexible TIP3P, no cutoff",
        "MIT (OpenMM); force field parameters in the public domain",
        "Maier et al., J. Chem. Theory Comput. 2015, 11, 3696, doi:10.1021/acs.jctc.5b00255",
        "amber14/protein.ff14SB.xml + amber14/tip3p.xml, flexible",
    ),
    # Its charges are the permanent monopoles, which do not follow the induced dipoles.
    _card(
        "amoeba2018",
        "polarisable force field: AMOEBA of proteins (amoebabio18; NMA from its caps), mutual induction, no cutoff",
        "MIT (OpenMM); parameters of Tinker's amoebabio18.prm, as OpenMM ships them",
        "Shi et al., J. Chem. Theory Comput. 2013, 9, 4046, doi:10.1021/ct4003702; water: Ren and Ponder, "
        "J. Phys. Chem. B 2003, 107, 5933, doi:10.1021/jp027815+",
        "amoeba2018.xml, amide of NMA one polarisation group, mutual to 1e-10 D, flexible",
    ),
    _card(
        "charmm36",
        "classical force field: CHARMM36 (NMA of CGenFF), flexible CHARMM TIP3P, no cutoff",
        "MIT (OpenMM); parameters of CHARMM36, free of charge for academic and commercial use",
        "Best et al., J. Chem. Theory Comput. 2012, 8, 3257, doi:10.1021/ct300400x; CGenFF: Vanommeslaeghe et al., "
        "J. Comput. Chem. 2010, 31, 671, doi:10.1002/jcc.21367",
        "charmm36.xml + charmm36/water.xml, flexible",
    ),
    _card(
        "charmm-drude",
        "polarisable force field: CHARMM Drude 2023, flexible SWM4-NDP, Drude particles relaxed, no cutoff",
        "MIT (OpenMM); parameters of the CHARMM Drude force field, free of charge for academic and commercial use",
        "Lin et al., J. Chem. Theory Comput. 2020, 16, 3221, doi:10.1021/acs.jctc.0c00057; NMA: Harder et al., "
        "J. Phys. Chem. B 2008, 112, 3509, doi:10.1021/jp709729d",
        "charmm_polar_2023.xml, Drude particles relaxed to 1e-8 kJ/mol/nm, flexible",
    ),
)

_FILES = {
    "amber14": ("amber14/protein.ff14SB.xml", "amber14/tip3p.xml"),
    "amoeba2018": ("amoeba2018.xml",),
    "charmm36": ("charmm36.xml", "charmm36/water.xml"),
    "charmm-drude": ("charmm_polar_2023.xml",),
}
_WHOLE_NMA = ("charmm36", "charmm-drude")
# Measured on water-capped arcs of 4 and 12 against 1e-13 D: 1e-10 is off by 2e-10 eV and 6e-11 eV/A, OpenMM's default
# 1e-5 by 2e-6 of both. At 12 units a point takes 0.09 s of CPU, with 1e-5 0.02 s.
_INDUCTION = {"amoeba2018": {"polarization": "mutual", "mutualInducedTargetEpsilon": 1e-10}}
# OpenMM's own 60 are made for its 1e-5; where they do not do, it raises.
_ITERATIONS = 200
_KEPT_CONTEXTS = 64
# OpenMM wants the atoms of a residue side by side.
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


@dataclass(frozen=True, slots=True)
class _System:
    """An OpenMM context for one list of molecules.

    Attributes
    ----------
    context
    order : (particles,) int array
        The atom that every particle is, or hangs on, in our order.
    atoms : (N,) int array
        Particles that are atoms; the others are Drude particles and lone pairs.
    charges : (N,) array
        Of every atom with what hangs on it, e, in our order.
    drudes : Drudes
    """

    context: Any
    order: NDArray[np.int64]
    atoms: NDArray[np.int64]
    charges: NDArray[np.float64]
    drudes: Drudes


@dataclass(frozen=True, slots=True)
class OpenmmPotential:
    """A classical force field; see `hbcoop_dist.models.base.Potential`."""

    card: ModelCard
    parameter_hash: str
    device: str
    forcefield: Any
    systems: dict[tuple[str, ...], _System] = field(default_factory=dict)

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate one structure after another; structures of the same molecules share a context."""
        require_elements(self.card, structures)
        return [self._single(structure, forces) for structure in structures]

    def _single(self, structure: Structure, forces: bool) -> Evaluation:
        from openmm import OpenMMException, unit

        system = self._system(structure.kinds)
        # The plain array is read in nm; every double arrives unrounded.
        positions = structure.positions[system.order] * unit.angstrom.conversion_factor_to(unit.nanometer)
        system.context.setPositions(positions)
        try:
            if len(system.drudes.particles):
                system.drudes.relax(system.context, positions)
            state = system.context.getState(getEnergy=True, getForces=forces)
        except (OpenMMException, DrudeError) as error:
            raise ModelError(
                f"model {self.card.name}: expected an energy of {structure.kinds}, found {error}"
            ) from error
        slopes = None
        if forces:
            slopes = np.empty((len(structure), 3))
            raw = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
            slopes[system.order[system.atoms]] = raw[system.atoms] * (kJ / mol)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * (kJ / mol)
        return Evaluation(energy=float(energy), forces=slopes, charges=system.charges.copy())

    def _system(self, kinds: tuple[str, ...]) -> _System:
        system = self.systems.pop(kinds, None)
        if system is None:
            while len(self.systems) >= _KEPT_CONTEXTS:
                self.systems.pop(next(iter(self.systems)))
            system = _make_system(self.card, self.forcefield, kinds)
        self.systems[kinds] = system
        return system


def _make_system(card: ModelCard, forcefield: Any, kinds: tuple[str, ...]) -> _System:
    import openmm

    system, order, atoms, charges = force_field_system(card, forcefield, kinds)
    # Reference is the platform in double precision throughout; the others gain nothing at this size, and CPU has no
    # AMOEBA of its own: it runs this one's.
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    return _System(context, order, atoms, charges, Drudes.of(system))


def force_field_system(
    card: ModelCard, forcefield: Any, kinds: tuple[str, ...]
) -> tuple[Any, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """OpenMM system of these molecules, and `order`, `atoms` and `charges` of `_System`."""
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
    shorten_terms(system)
    for force in system.getForces():
        if isinstance(force, openmm.AmoebaMultipoleForce):
            force.setMutualInducedMaxIterations(_ITERATIONS)
            join_amides(force, topology)
    order = np.empty(system.getNumParticles(), dtype=np.int64)
    order[atoms] = places
    drudes = Drudes.of(system)
    order[drudes.particles] = order[drudes.owners]
    for extra, owner in _virtual_sites(system):
        order[extra] = order[owner]
    charges = np.zeros(len(atoms))
    np.add.at(charges, order, _charges(system))
    return system, order, atoms, charges


def _with_extra_particles(forcefield: Any, topology: Any) -> Any:
    """The topology with the Drude particles and lone pairs that the force field wants."""
    from openmm import app, unit

    # positions are thrown away, and must only not lie on a line
    somewhere = np.random.default_rng(0).random((topology.getNumAtoms(), 3))
    modeller = app.Modeller(topology, somewhere * unit.nanometer)
    modeller.addExtraParticles(forcefield)
    return modeller.topology


def _virtual_sites(system: Any) -> list[tuple[int, int]]:
    """Lone pairs and the atoms they belong to."""
    sites = [index for index in range(system.getNumParticles()) if system.isVirtualSite(index)]
    return [(index, system.getVirtualSite(index).getParticle(0)) for index in sites]


def _charges(system: Any) -> list[float]:
    """Charges of all atoms, e, in OpenMM's order."""
    import openmm
    from openmm import unit

    forces = {type(force): force for force in system.getForces()}
    if multipoles := forces.get(openmm.AmoebaMultipoleForce):
        read = multipoles.getMultipoleParameters
    else:
        read = forces[openmm.NonbondedForce].getParticleParameters
    return [read(index)[0].value_in_unit(unit.elementary_charge) for index in range(system.getNumParticles())]


def _topology(card: ModelCard, kinds: tuple[str, ...]) -> tuple[Any, NDArray[np.int64]]:
    from openmm import app

    topology = app.Topology()
    order: list[int] = []
    for kind in kinds:
        chain, start = topology.addChain(), len(order)
        if kind == "nma" and card.name in _WHOLE_NMA:
            atoms = _add_residue(topology, chain, "NMA", NMA_ATOMS)
            bonds, local = _NMA_BONDS, list(range(len(NMA_ATOMS)))
        elif kind == "nma":
            atoms = _add_residue(topology, chain, "ACE", _ACE) | _add_residue(topology, chain, "NME", _NME)
            bonds, local = _NMA_BONDS, _NMA_ORDER
        elif kind == "water":
            atoms = _add_residue(topology, chain, "HOH", ("O", "H1", "H2"))
            bonds, local = (("O", "H1"), ("O", "H2")), [0, 1, 2]
        else:
            raise ModelError(f"model {card.name}: expected molecules nma or water, found {kind!r}")
        for first, second in bonds:
            topology.addBond(atoms[first], atoms[second])
        order += [start + index for index in local]
    return topology, np.array(order)


def _add_residue(topology: Any, chain: Any, name: str, atoms: Sequence[str]) -> dict[str, Any]:
    from openmm import app

    residue = topology.addResidue(name, chain)
    return {atom: topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue) for atom in atoms}


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> OpenmmPotential:
    """Read the force field that OpenMM ships.

    Raises
    ------
    ModelError
        When asked for a checkpoint, a GPU or another float type.
    """
    from openmm import app

    require_plain(card, checkpoint, device, dtype)
    folder, files = Path(app.__file__).parent / "data", _FILES[card.name]
    parameters = hashlib.sha256(b"".join((folder / name).read_bytes() for name in files)).hexdigest()
    return OpenmmPotential(card, parameters, device, app.ForceField(*files))
