"""Frames of files, one frame as a labelled structure, and the options that decide how it is read.

What a frame does not contain is determined in this order:

- molecules and their charges: keys of their own; a SMILES that maps every atom, by its formal charges; bonds by
  covalent radii when the options declare all molecules neutral. Otherwise all atoms are one molecule with the total
  charge, since a wrong charge of a molecule is worse than none;
- parent: a key of its own; SMILES and bonds, see `hbcoop_dist.learning.datasets.connectivity`;
- domain: the name of its file.

Periodic structures must be periodic in three directions. They have no dipole, which would depend on the images of their
atoms that are in the file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import networkx as nx
import numpy as np
from ase import units

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.learning.datasets.connectivity import (
    ParentClues,
    connectivity_name,
    mapped_molecules,
    molecule_indices,
    without_atom_maps,
)
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.structures.geometry import bond_graph

if TYPE_CHECKING:
    from ase import Atoms

LABEL_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "energy": ("energy", "REF_energy", "dft_energy", "total_energy", "outputs.pbe.energy_total"),
        "forces": ("forces", "force", "REF_forces", "dft_forces"),
        # keys present in all structures of a set before those of some: NBO charges of OMol25 end at some 70 atoms
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
"""Keys under which a label is looked for in a file; the first one present is used."""

NUMERIC_LABELS = ("energy", "forces", "charges", "dipole", "interaction_energy")
"""Labels that a set may be required to have."""

ENERGY_UNITS: dict[str, float] = {
    "eV": 1.0,
    "Hartree": units.Hartree,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
"""Units of energy, eV."""
LENGTH_UNITS: dict[str, float] = {"Angstrom": 1.0, "Bohr": units.Bohr}
"""Units of length, A."""
DIPOLE_UNITS: dict[str, float] = {"e Angstrom": 1.0, "e Bohr": units.Bohr, "Debye": units.Debye}
"""Units of dipoles, e A."""
NO_KEY = "no such key"


class ReadError(ValueError):
    """A file is not a labelled set; the message names file, frame and key, what was expected and what was found.

    Parameters
    ----------
    message : str
    reason : str
        What is wrong, in equal words for equal reasons; empty when the problem is not one of a single structure.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read.

    Attributes
    ----------
    energy_unit : {"eV", "Hartree", "kcal/mol", "kJ/mol"}
        Unit of energies and, per length, of forces.
    length_unit : {"Angstrom", "Bohr"}
    dipole_unit : {"e Angstrom", "e Bohr", "Debye"}
    keys : mapping of str to tuple of str
        Keys of labels in place of those in `LABEL_KEYS`.
    charge : int or None
        Total charge, e, of frames without one; None refuses them.
    neutral_molecules : bool
        Whether every molecule of every frame is known to be neutral.
    require : tuple of str
        Labels among `NUMERIC_LABELS` without which a structure cannot be used; the energy is always required.
    skip_incomplete : bool
        Whether unusable structures are left out and counted; otherwise the first one is an error.

    Raises
    ------
    ReadError
        When a unit or a label is unknown.
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
        for name, allowed in (("energy", ENERGY_UNITS), ("length", LENGTH_UNITS), ("dipole", DIPOLE_UNITS)):
            if (unit := getattr(self, f"{name}_unit")) not in allowed:
                raise ReadError(f"read options, {name}_unit: expected one of {', '.join(allowed)}, found {unit!r}")
        for name, labels in (("keys", LABEL_KEYS), ("require", NUMERIC_LABELS)):
            if unknown := sorted(set(getattr(self, name)) - set(labels)):
                expected = ", ".join(labels)
                raise ReadError(f"read options, {name}: expected labels among {expected}, found {', '.join(unknown)}")

    def keys_of(self, label: str) -> tuple[str, ...]:
        """Return the keys under which a label is looked for."""
        return self.keys.get(label, LABEL_KEYS[label])


class Rows(ABC):
    """Structures of one file or folder, in any order and none kept in memory; subclasses open it and set ``path``.

    Everything that a structure has beside its geometry is in ``arrays``, ``info`` and the results of its calculator,
    under the keys of the file.

    Attributes
    ----------
    form : str
        The format, in words.
    entry : str
        One structure of the file in words, for messages: ``frame of extended XYZ``.
    path : Path
    """

    form: ClassVar[str]
    entry: ClassVar[str]
    path: Path

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _read(self, number: int) -> Atoms:
        """Return structure `number`, from 0; any exception means that it is damaged."""

    def position(self, number: int) -> str:
        """Return the position of structure `number`, from 0, for messages: ``frame 3``, ``row 17``."""
        return f"{self.entry.split()[0]} {number}"

    def atoms(self, number: int) -> Atoms:
        """Return structure `number`, from 0.

        Raises
        ------
        ReadError
            When it is damaged.
        """
        try:
            return self._read(number)
        except ReadError:
            raise
        except Exception as error:  # decoding a damaged structure may raise anything
            expected = f"expected a {self.entry}"
            raise ReadError(f"{self.path}, {self.position(number)}: {expected}, found: {error!r}", expected) from error

    def close(self) -> None:  # noqa: B027
        """Close what is open; by default no file stays open between two structures."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a file.

    Attributes
    ----------
    atoms : ase.Atoms
    path : Path
        File.
    position : str
        Position in the file, for example ``frame 3`` or ``row 17``.
    options : ReadOptions
    """

    atoms: Atoms
    path: Path
    position: str
    options: ReadOptions

    def find(self, label: str) -> tuple[str, Any] | None:
        """Return the key and the value of a label, or None."""
        # ASE moves labels that it knows from the columns and the comment line into a calculator
        results = {} if self.atoms.calc is None else self.atoms.calc.results
        for key in self.options.keys_of(label):
            for mapping in (self.atoms.arrays, self.atoms.info, results):
                if mapping.get(key) is not None:
                    return key, mapping[key]
        return None

    def get(self, label: str) -> Any:
        """Return the value of a label, or None."""
        entry = self.find(label)
        return None if entry is None else entry[1]

    def text(self, label: str) -> str | None:
        """Return a label as text, or None."""
        value = self.get(label)
        return None if value is None else str(value)

    def floats(self, label: str, shape: tuple[int, ...]) -> FloatArray | None:
        """Return a label as finite numbers of a shape, or None.

        Raises
        ------
        ReadError
            When the label has another shape, or values that are not finite numbers.
        """
        value = self.get(label)
        if value is None:
            return None
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise self.error(label, f"numbers of shape {shape}", repr(value)[:80]) from None
        if array.size != np.prod(shape, dtype=int) or not np.isfinite(array).all():
            raise self.error(label, f"finite numbers of shape {shape}", f"{array.shape}: {str(value)[:80]}")
        return array.reshape(shape)

    def integers(self, label: str, shape: tuple[int, ...]) -> IntArray | None:
        """Return a label as integers of a shape, or None; errors as of `floats`."""
        array = self.floats(label, shape)
        if array is None:
            return None
        if (array != array.round()).any():
            raise self.error(label, "whole numbers", str(array)[:80])
        return array.astype(np.int64)

    def error(self, label: str, expected: str, found: str) -> ReadError:
        """Return the error about a label."""
        keys = ", ".join(self.options.keys_of(label))
        # without the shape, which contains the number of atoms, equal problems have equal reasons
        general = expected.partition(" of shape")[0]
        return ReadError(
            f"{self.path}, {self.position}, {label} ({keys}): expected {expected}, found {found}",
            f"{label} ({keys}): expected {general}" + (", found none" if found == NO_KEY else ""),
        )


def read_frame(frame: Frame) -> tuple[LabelledStructure, ParentClues]:
    """Convert a frame to a labelled structure, with the atoms of each molecule contiguous.

    Parameters
    ----------
    frame : Frame

    Returns
    -------
    structure : LabelledStructure
        With an empty parent, since that depends on all frames of the set.
    clues : ParentClues

    Raises
    ------
    ReadError
        When the energy or a required label is missing, a label has another shape, or the frame is periodic in some
        directions only.
    """
    options = frame.options
    energy_unit, length_unit = ENERGY_UNITS[options.energy_unit], LENGTH_UNITS[options.length_unit]
    numbers = frame.atoms.numbers.astype(np.int64)
    positions = frame.atoms.positions * length_unit
    n, cell = len(numbers), _cell(frame)
    charge = _charge(frame)
    smiles, parent = frame.text("smiles"), frame.text("parent")
    energy = frame.floats("energy", ())
    if energy is None:
        raise frame.error("energy", "a number", NO_KEY)
    forces, charges = frame.floats("forces", (n, 3)), frame.floats("charges", (n,))
    dipole = frame.floats("dipole", (3,)) if cell is None else None
    interaction = frame.floats("interaction_energy", ())
    labels = {"forces": forces, "charges": charges, "dipole": dipole, "interaction_energy": interaction}
    for label in options.require:
        if label in labels and labels[label] is None:
            raise frame.error(label, "numbers", NO_KEY)
    # finding bonds takes longer than everything else, and is not needed when the parent is given
    graph = bond_graph(numbers, positions, cell) if parent is None or options.neutral_molecules else None
    owner, molecule_charges = _molecules(frame, graph, smiles, charge)
    order = np.argsort(owner, kind="stable")
    structure = LabelledStructure(
        numbers=numbers[order],
        positions=positions[order],
        energy=float(energy) * energy_unit,
        forces=None if forces is None else forces[order] * (energy_unit / length_unit),
        parent="",
        domain=frame.text("domain") or frame.path.stem,
        charge=charge,
        charges=None if charges is None else charges[order],
        dipole=None if dipole is None else dipole * DIPOLE_UNITS[options.dipole_unit],
        molecules=owner[order],
        molecule_charges=molecule_charges,
        interaction_energy=None if interaction is None else float(interaction) * energy_unit,
        cell=cell,
    )
    connectivity = "" if graph is None else connectivity_name(numbers, graph)
    return structure, ParentClues(parent, None if smiles is None else without_atom_maps(smiles), connectivity)


def _cell(frame: Frame) -> FloatArray | None:
    periodic = frame.atoms.pbc
    if not periodic.any():
        return None
    if not periodic.all() or frame.atoms.cell.rank < 3:
        directions = "".join("T" if direction else "F" for direction in periodic)
        raise ReadError(
            f"{frame.path}, {frame.position}, pbc: expected a structure that is periodic in no direction or, with "
            f"three lattice vectors, in all, found {directions} and {frame.atoms.cell.rank} vectors",
            "pbc: expected a structure that is periodic in no direction or in all",
        )
    return np.asarray(frame.atoms.cell, dtype=np.float64) * LENGTH_UNITS[frame.options.length_unit]


def _charge(frame: Frame) -> int:
    charge = frame.integers("charge", ())
    if charge is not None:
        return int(charge)
    if frame.options.charge is None:
        raise frame.error("charge", "a whole number", f"{NO_KEY}, and no default charge")
    return frame.options.charge


def _molecules(
    frame: Frame, graph: nx.Graph[int] | None, smiles: str | None, charge: int
) -> tuple[IntArray, tuple[int, ...]]:
    """Molecule of every atom, and charges of molecules that sum to that of the frame."""
    n = len(frame.atoms)
    owner = frame.integers("molecules", (n,))
    if owner is not None:
        count = len(np.unique(owner))
        charges = frame.integers("molecule_charges", (count,))
        if sorted(set(owner.tolist())) != list(range(count)):
            raise frame.error("molecules", "indices 0, 1, ... without gaps", str(np.unique(owner))[:80])
        if charges is not None and charges.sum() != charge:
            raise frame.error("molecule_charges", f"charges that sum to {charge}", str(charges.tolist()))
        if charges is not None:
            return owner, tuple(int(value) for value in charges)
    mapped = None if smiles is None else mapped_molecules(smiles, frame.atoms.numbers)
    if mapped is not None and sum(mapped[1]) == charge:
        return mapped
    if frame.options.neutral_molecules and charge == 0 and graph is not None:
        bonded = molecule_indices(graph)
        return bonded, (0,) * (int(bonded.max()) + 1)
    return np.zeros(n, dtype=np.int64), (charge,)
