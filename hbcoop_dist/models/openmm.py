"""Amber ff14SB and flexible TIP3P through OpenMM: the pairwise-additive reference, whose cooperativity is zero.

NMA is acetyl (ACE) and N-methylamine (NME), two caps of the protein force field bonded to each other.
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
from hbcoop_dist.structures import NMA_ATOMS, Structure

CARDS = (
    ModelCard(
        name="amber14",
        family="openmm",
        level_of_theory="classical force field: Amber ff14SB, flexible TIP3P, no cutoff",
        licence="MIT (OpenMM); force field parameters in the public domain",
        citation="Maier et al., J. Chem. Theory Comput. 2015, 11, 3696, doi:10.1021/acs.jctc.5b00255",
        elements=(1, 6, 7, 8),
        # A total over bonds, angles, torsions and pairs, which OpenMM does not hand out atom by atom.
        atom_energies=False,
        charges=True,
        batched=False,
        long_range=True,
        requires=("openmm",),
        packages=("openmm",),
        needs_topology=True,
        options={"method": "amber14/protein.ff14SB.xml + amber14/tip3p.xml, flexible"},
    ),
)

_FILES = ("amber14/protein.ff14SB.xml", "amber14/tip3p.xml")
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
    """An OpenMM context for one list of molecules, the order of its atoms, and their charges in our order."""

    context: Any
    order: NDArray[np.int64]
    charges: NDArray[np.float64]


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
        from openmm import unit

        system = self._system(structure.kinds)
        # The plain array is read in nm; every double arrives unrounded.
        system.context.setPositions(
            structure.positions[system.order] * unit.angstrom.conversion_factor_to(unit.nanometer)
        )
        state = system.context.getState(getEnergy=True, getForces=forces)
        slopes = None
        if forces:
            slopes = np.empty((len(structure), 3))
            raw = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
            slopes[system.order] = raw * (kJ / mol)
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

    system, order, charges = force_field_system(card, forcefield, kinds)
    # Reference is the platform in double precision throughout; the others gain nothing at this size.
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    return _System(context, order, charges)


def force_field_system(
    card: ModelCard, forcefield: Any, kinds: tuple[str, ...]
) -> tuple[Any, NDArray[np.int64], NDArray[np.float64]]:
    """OpenMM system of these molecules, the atom that each of its particles is, and the charge of every atom, e."""
    import openmm
    from openmm import app, unit

    topology, order = _topology(card, kinds)
    system = forcefield.createSystem(
        topology, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False, removeCMMotion=False
    )
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = np.empty(len(order))
    for index, ours in enumerate(order):
        charges[ours] = nonbonded.getParticleParameters(index)[0].value_in_unit(unit.elementary_charge)
    return system, order, charges


def _topology(card: ModelCard, kinds: tuple[str, ...]) -> tuple[Any, NDArray[np.int64]]:
    from openmm import app

    topology = app.Topology()
    order: list[int] = []
    for kind in kinds:
        chain, start = topology.addChain(), len(order)
        if kind == "nma":
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
    folder = Path(app.__file__).parent / "data"
    parameters = hashlib.sha256(b"".join((folder / name).read_bytes() for name in _FILES)).hexdigest()
    return OpenmmPotential(card, parameters, device, app.ForceField(*_FILES))
