"""One frame of a file as a labelled structure, and the options that decide how it is read.

What a frame does not contain is determined in this order:

- molecules and their charges: keys of their own; a SMILES that maps every atom, by its formal charges; bonds by
  covalent radii when the options declare all molecules neutral. Otherwise all atoms are one molecule with the total
  charge, since a wrong charge of a molecule is worse than none;
- parent: a key of its own; all frames that share a SMILES or the bonds between their atoms get one parent, so that a
  molecule keeps its parent in files that describe it in different ways, and as a conformer with a stretched bond;
- domain: the name of its file.

Periodic structures must be periodic in three directions. They have no dipole, which would depend on the images of their
atoms that are in the file.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.structures.bonds import bond_graph

if TYPE_CHECKING:
    from ase import Atoms


def molecule_indices(graph: nx.Graph[int]) -> IntArray:
    """Return the index of the molecule of every atom, (N,), numbered by their first atoms."""
    owner = np.empty(len(graph), dtype=np.int64)
    for molecule, atoms in enumerate(sorted(nx.connected_components(graph), key=min)):
        owner[list(atoms)] = molecule
    return owner


def connectivity_name(numbers: IntArray, graph: nx.Graph[int]) -> str:
    """Return formula and Weisfeiler-Lehman hash of the bonds, equal for conformers and for stereoisomers.

    Parameters
    ----------
    numbers : (N,) int array
    graph : networkx.Graph
        From `hbcoop_dist.structures.bonds.bond_graph`.
    """
    from ase.data import chemical_symbols
    from ase.formula import Formula

    formula = Formula.from_list([chemical_symbols[z] for z in numbers]).format("hill")
    return f"{formula} {nx.weisfeiler_lehman_graph_hash(graph, node_attr='element', iterations=6, digest_size=6)}"


def without_atom_maps(smiles: str) -> str:
    """Return a SMILES without atom maps, ``[H:5]`` as ``[H]``."""
    return re.sub(r":\d+\]", "]", smiles)


def mapped_molecules(smiles: str, numbers: IntArray) -> tuple[IntArray, tuple[int, ...]] | None:
    """Return molecules and their formal charges from a SMILES that maps the atoms 1 .. N.

    Parameters
    ----------
    smiles : str
    numbers : (N,) int array
        Atomic numbers.

    Returns
    -------
    tuple or None
        Index of the molecule of every atom, (N,), and charge of every molecule, e; None when the SMILES cannot be read,
        or maps and elements are not those of the atoms.
    """
    molecules = _smiles_molecules(smiles)
    if molecules is None:
        return None
    owner = np.full(len(numbers), -1, dtype=np.int64)
    for molecule, (atoms, _) in enumerate(molecules):
        for atom, element in atoms:
            if not 0 <= atom < len(numbers) or numbers[atom] != element:
                return None
            owner[atom] = molecule
    return None if (owner < 0).any() else (owner, tuple(charge for _, charge in molecules))


@functools.lru_cache(maxsize=4096)
def _smiles_molecules(smiles: str) -> tuple[tuple[tuple[tuple[int, int], ...], int], ...] | None:
    """Mapped atoms (index from 0, atomic number) and charge of every molecule; None when the SMILES is not readable."""
    from ase.data import atomic_numbers
    from pysmiles import read_smiles

    # stereochemistry, which pysmiles checks, does not matter here; neither do its warnings about unusual valences
    logging.getLogger("pysmiles").setLevel(logging.ERROR)
    flat = smiles.translate(str.maketrans("", "", "/\\@"))
    try:
        graph = read_smiles(flat, explicit_hydrogen=False, reinterpret_aromatic=False, strict=False)
    except (ValueError, KeyError, IndexError):
        return None
    graph.remove_edges_from([(first, second) for first, second, order in graph.edges(data="order") if order == 0])
    return tuple(
        (
            tuple(
                (graph.nodes[k].get("class", 0) - 1, atomic_numbers[graph.nodes[k].get("element", "X")])
                for k in sorted(atoms)
            ),
            sum(graph.nodes[k]["charge"] for k in atoms),
        )
        for atoms in sorted(nx.connected_components(graph), key=min)
    )


@dataclass(frozen=True, slots=True)
class ParentClues:
    """Properties of a frame that determine its parent.

    Attributes
    ----------
    parent : str or None
        Parent given in the file, which takes precedence.
    smiles : str or None
        SMILES without atom maps.
    connectivity : str
        Name from `connectivity_name`; empty when `parent` is given and bonds were not determined.
    """

    parent: str | None
    smiles: str | None
    connectivity: str


def parent_names(frames: Sequence[ParentClues]) -> list[str]:
    """Return the parent of every frame: as given, or the first SMILES, or connectivity, of all frames linked by either.

    Parameters
    ----------
    frames : sequence of ParentClues
        All frames of a set.
    """
    graph: nx.Graph[tuple[str, str]] = nx.Graph()
    for frame in frames:
        if frame.parent is None:
            graph.add_node(("connectivity", frame.connectivity))
            if frame.smiles is not None:
                graph.add_edge(("connectivity", frame.connectivity), ("smiles", frame.smiles))
    names: dict[str, str] = {}
    for component in nx.connected_components(graph):
        smiles = sorted(text for kind, text in component if kind == "smiles")
        connectivities = sorted(text for kind, text in component if kind == "connectivity")
        names.update(dict.fromkeys(connectivities, (smiles or connectivities)[0]))
    return [names[frame.connectivity] if frame.parent is None else frame.parent for frame in frames]


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

ENERGY_UNITS = ("eV", "Hartree", "kcal/mol", "kJ/mol")
LENGTH_UNITS = ("Angstrom", "Bohr")
DIPOLE_UNITS = ("e Angstrom", "e Bohr", "Debye")
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
        for name, units in (
            ("energy_unit", ENERGY_UNITS),
            ("length_unit", LENGTH_UNITS),
            ("dipole_unit", DIPOLE_UNITS),
        ):
            if (unit := getattr(self, name)) not in units:
                raise ReadError(f"read options, {name}: expected one of {', '.join(units)}, found {unit!r}")
        for name, labels in (("keys", LABEL_KEYS), ("require", NUMERIC_LABELS)):
            if unknown := sorted(set(getattr(self, name)) - set(labels)):
                expected = ", ".join(labels)
                raise ReadError(f"read options, {name}: expected labels among {expected}, found {', '.join(unknown)}")

    @property
    def energy_in_ev(self) -> float:
        """Unit of energy, eV."""
        from ase import units

        return float(
            (1.0, units.Hartree, units.kcal / units.mol, units.kJ / units.mol)[ENERGY_UNITS.index(self.energy_unit)]
        )

    @property
    def length_in_angstrom(self) -> float:
        """Unit of length, A."""
        from ase import units

        return float((1.0, units.Bohr)[LENGTH_UNITS.index(self.length_unit)])

    @property
    def dipole_in_e_angstrom(self) -> float:
        """Unit of dipoles, e A."""
        from ase import units

        return float((1.0, units.Bohr, units.Debye)[DIPOLE_UNITS.index(self.dipole_unit)])

    def keys_of(self, label: str) -> tuple[str, ...]:
        """Return the keys under which a label is looked for."""
        return self.keys.get(label, LABEL_KEYS[label])


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
    energy_unit, length_unit = options.energy_in_ev, options.length_in_angstrom
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
        dipole=None if dipole is None else dipole * options.dipole_in_e_angstrom,
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
    return np.asarray(frame.atoms.cell, dtype=np.float64) * frame.options.length_in_angstrom


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
