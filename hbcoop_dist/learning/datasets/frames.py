"""How files of labelled structures are to be read: names of labels and units; and one frame of them.

One frame of a file as a labelled structure.

What a frame does not say is found like this, in this order:

- molecules and their charges: keys of their own; a SMILES that maps every atom, whose formal charges they have; bonds
  by covalent radii where the caller says that all molecules are neutral.  Else all atoms are one molecule with the
  total charge, since a wrong charge of a molecule is worse than none;
- parent: a key of its own; SMILES and bonds, see `hbcoop_dist.learning.datasets.connectivity`;
- domain: the name of its file.

Structures that repeat do so in all three directions.  They have no dipole: it would depend on which images of their
atoms stand in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms
import networkx as nx

from hbcoop_dist.learning.datasets.connectivity import (
    Parentage,
    connectivity_name,
    mapped_molecules,
    molecules_of,
    plain_smiles,
)
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.structures.bonds import bond_graph

KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "energy": ("energy", "REF_energy", "dft_energy", "total_energy", "outputs.pbe.energy_total"),
        "forces": ("forces", "force", "REF_forces", "dft_forces"),
        # those that every structure of a set has before those that some have: NBO's of OMol25 end at some 70 atoms
        "charges": (
            *("mbis_charges", "mbi_charges", "MBIS_charges", "charges", "REF_charges"),
            *("lowdin_charges", "mulliken_charges", "nbo_charges"),
            *("pbe_ddec_charge", "pbe_cm5_charge", "pbe_bader_charge"),
        ),
        "dipole": ("dipole", "REF_dipole", "dft_dipole"),
        "charge": ("total_charge", "charge"),
        "spin": ("spin", "multiplicity"),
        "smiles": ("smiles",),
        "domain": ("config_type", "domain", "data_id", "mof_type", "info.source"),
        "parent": ("parent", "mof_name", "refcode"),
        "molecules": ("molecules",),
        "molecule_charges": ("molecule_charges",),
        "interaction_energy": ("interaction_energy",),
    }
)
"""Names under which a label is looked for; the first that is there is taken."""

NUMBERS = ("energy", "forces", "charges", "dipole", "interaction_energy")
"""Labels that a set may be required to have."""

_ENERGIES = ("eV", "Hartree", "kcal/mol", "kJ/mol")
_LENGTHS = ("Angstrom", "Bohr")
_DIPOLES = ("e Angstrom", "e Bohr", "Debye")


NOTHING = "no such key"


class ReadError(ValueError):
    """A file is not a labelled set; the message names file, frame and key, what was expected and what was found.

    Attributes
    ----------
    reason : str
        What is wrong, in the same words wherever it is found; empty where it is not one structure that is wrong.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read.

    Attributes
    ----------
    energy_unit : str
        ``eV``, ``Hartree``, ``kcal/mol`` or ``kJ/mol``: of energies and, per length, of forces.
    length_unit : str
        ``Angstrom`` or ``Bohr``.
    dipole_unit : str
        ``e Angstrom``, ``e Bohr`` or ``Debye``.
    keys : mapping of str to tuple of str
        Names of labels in place of those in `KEYS`.
    charge : int or None
        Total charge, e, of frames that do not say theirs; None refuses them.
    neutral_molecules : bool
        Whether every molecule of every frame is known to be neutral.
    require : tuple of str
        Labels among `NUMBERS` without which a structure is of no use; the energy always is.
    skip_incomplete : bool
        Whether structures that cannot be used are left out and counted; otherwise the first is an error.
    """

    energy_unit: str = "eV"
    length_unit: str = "Angstrom"
    dipole_unit: str = "e Angstrom"
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    charge: int | None = 0
    neutral_molecules: bool = False
    require: tuple[str, ...] = ()
    skip_incomplete: bool = False

    def __post_init__(self) -> None:
        for name, known in (("energy_unit", _ENERGIES), ("length_unit", _LENGTHS), ("dipole_unit", _DIPOLES)):
            if (found := getattr(self, name)) not in known:
                raise ReadError(f"reading, {name}: expected one of {', '.join(known)}, found {found!r}")
        if unknown := sorted(set(self.keys) - set(KEYS)):
            raise ReadError(f"reading, keys: expected labels among {', '.join(KEYS)}, found {', '.join(unknown)}")
        if unknown := sorted(set(self.require) - set(NUMBERS)):
            raise ReadError(f"reading, require: expected labels among {', '.join(NUMBERS)}, found {', '.join(unknown)}")

    @property
    def energy(self) -> float:
        """The unit of energy in eV."""
        from ase import units

        values = (1.0, units.Hartree, units.kcal / units.mol, units.kJ / units.mol)
        return float(values[_ENERGIES.index(self.energy_unit)])

    @property
    def length(self) -> float:
        """The unit of length in A."""
        from ase import units

        return float((1.0, units.Bohr)[_LENGTHS.index(self.length_unit)])

    @property
    def dipole(self) -> float:
        """The unit of dipoles in e A."""
        from ase import units

        return float((1.0, units.Bohr, units.Debye)[_DIPOLES.index(self.dipole_unit)])

    def names(self, label: str) -> tuple[str, ...]:
        """Names under which a label is looked for."""
        return self.keys.get(label, KEYS[label])


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame, and where it stands: file, and its place there, as ``frame 3`` or ``row 17``."""

    atoms: Atoms
    path: Path
    place: str
    reading: Reading

    def find(self, label: str) -> tuple[str, Any] | None:
        """The key and the value of a label, None where it has none."""
        # ASE moves the labels that it knows from the columns and the comment line into a calculator.
        results = {} if self.atoms.calc is None else self.atoms.calc.results
        for key in self.reading.names(label):
            for place in (self.atoms.arrays, self.atoms.info, results):
                if place.get(key) is not None:
                    return key, place[key]
        return None

    def get(self, label: str) -> Any:
        """The value of a label, None where it has none."""
        found = self.find(label)
        return None if found is None else found[1]

    def text(self, label: str) -> str | None:
        """A label as text, None where it has none."""
        found = self.get(label)
        return None if found is None else str(found)

    def values(self, label: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
        """A label as finite numbers of this shape, None where it has none."""
        found = self.get(label)
        if found is None:
            return None
        try:
            array = np.asarray(found, dtype=np.float64)
        except (TypeError, ValueError):
            raise self.error(label, f"numbers of shape {shape}", repr(found)[:80]) from None
        if array.size != np.prod(shape, dtype=int) or not np.isfinite(array).all():
            raise self.error(label, f"finite numbers of shape {shape}", f"{array.shape}: {str(found)[:80]}")
        return array.reshape(shape)

    def whole(self, label: str, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
        """A label as whole numbers of this shape, None where it has none."""
        array = self.values(label, shape)
        if array is None:
            return None
        if (array != array.round()).any():
            raise self.error(label, "whole numbers", str(array)[:80])
        return array.astype(np.int64)

    def error(self, label: str, expected: str, found: str) -> ReadError:
        """What to raise about a label."""
        keys = ", ".join(self.reading.names(label))
        # a shape with the number of atoms in it would make every structure another reason
        alike = expected.partition(" of shape")[0]
        return ReadError(
            f"{self.path}, {self.place}, {label} ({keys}): expected {expected}, found {found}",
            f"{label} ({keys}): expected {alike}" + (", found none" if found == NOTHING else ""),
        )


FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def read_frame(frame: Frame) -> tuple[LabelledStructure, Parentage]:
    """The structure, whose parent is still to be told, and what tells it; atoms are put molecule by molecule.

    Raises
    ------
    ReadError
        When it has no energy, not all that is required, or labels of another shape, or repeats in some directions.
    """
    reading = frame.reading
    numbers = frame.atoms.numbers.astype(np.int64)
    positions = frame.atoms.positions * reading.length
    n, cell = len(numbers), _cell(frame)
    charge = _charge(frame)
    smiles, parent = frame.text("smiles"), frame.text("parent")
    energy = frame.values("energy", ())
    if energy is None:
        raise frame.error("energy", "a number", NOTHING)
    forces, charges = frame.values("forces", (n, 3)), frame.values("charges", (n,))
    dipole = frame.values("dipole", (3,)) if cell is None else None
    interaction = frame.values("interaction_energy", ())
    labels = {"forces": forces, "charges": charges, "dipole": dipole, "interaction_energy": interaction}
    for label in reading.require:
        if label in labels and labels[label] is None:
            raise frame.error(label, "numbers", NOTHING)
    # bonds cost more than all the rest, and a framework with a name of its own needs none
    graph = bond_graph(numbers, positions, cell) if parent is None or reading.neutral_molecules else None
    owner, molecule_charges = _molecules(frame, graph, smiles, charge)
    order = np.argsort(owner, kind="stable")
    structure = LabelledStructure(
        numbers=numbers[order],
        positions=positions[order],
        energy=float(energy) * reading.energy,
        forces=None if forces is None else forces[order] * (reading.energy / reading.length),
        parent="",
        domain=frame.text("domain") or frame.path.stem,
        charge=charge,
        charges=None if charges is None else charges[order],
        dipole=None if dipole is None else dipole * reading.dipole,
        molecules=owner[order],
        molecule_charges=molecule_charges,
        interaction_energy=None if interaction is None else float(interaction) * reading.energy,
        cell=cell,
    )
    plain = None if smiles is None else plain_smiles(smiles)
    return structure, Parentage(parent, plain, "" if graph is None else connectivity_name(numbers, graph))


def _cell(frame: Frame) -> FloatArray | None:
    periodic = frame.atoms.pbc
    if not periodic.any():
        return None
    if not periodic.all() or frame.atoms.cell.rank < 3:
        found = "".join("T" if one else "F" for one in periodic)
        raise ReadError(
            f"{frame.path}, {frame.place}, pbc: expected a structure that repeats in no direction or, with three "
            f"lattice vectors, in all, found {found} and {frame.atoms.cell.rank} vectors",
            "pbc: expected a structure that repeats in no direction or in all",
        )
    return np.asarray(frame.atoms.cell, dtype=np.float64) * frame.reading.length


def _charge(frame: Frame) -> int:
    found = frame.whole("charge", ())
    if found is not None:
        return int(found)
    if frame.reading.charge is None:
        raise frame.error("charge", "a whole number", f"{NOTHING}, and no charge for frames that do not say theirs")
    return frame.reading.charge


def _molecules(
    frame: Frame, graph: nx.Graph[int] | None, smiles: str | None, charge: int
) -> tuple[IntArray, tuple[int, ...]]:
    """Molecule of every atom, and charges of molecules that sum to that of the frame."""
    n = len(frame.atoms)
    owner = frame.whole("molecules", (n,))
    if owner is not None:
        count = len(np.unique(owner))
        given = frame.whole("molecule_charges", (count,))
        if sorted(set(owner.tolist())) != list(range(count)):
            raise frame.error("molecules", "indices 0, 1, ... without gaps", str(np.unique(owner))[:80])
        if given is not None and given.sum() != charge:
            raise frame.error("molecule_charges", f"charges that sum to {charge}", str(given.tolist()))
        if given is not None:
            return owner, tuple(int(one) for one in given)
    mapped = None if smiles is None else mapped_molecules(smiles, frame.atoms.numbers)
    if mapped is not None and sum(mapped[1]) == charge:
        return mapped
    if frame.reading.neutral_molecules and charge == 0 and graph is not None:
        bonded = molecules_of(graph)
        return bonded, (0,) * (int(bonded.max()) + 1)
    return np.zeros(n, dtype=np.int64), (charge,)
