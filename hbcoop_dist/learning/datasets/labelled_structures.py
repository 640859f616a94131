"""Structures with and without reference labels, sets of them, and sets as plain arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from hbcoop_dist.core.arrays import AnyArray, BoolArray, FloatArray, IntArray

_OF_ATOMS: Mapping[str, tuple[tuple[int, ...], type]] = {
    "numbers": ((), np.int64),
    "molecules": ((), np.int64),
    "positions": ((3,), np.float64),
    "forces": ((3,), np.float64),
    "charges": ((), np.float64),
}
"""Packed fields with one value for every atom: shape and type of the value."""
_OF_STRUCTURES: Mapping[str, tuple[tuple[int, ...], type]] = {
    "energy": ((), np.float64),
    "charge": ((), np.int64),
    "dipole": ((3,), np.float64),
    "interaction_energy": ((), np.float64),
    "cell": ((3, 3), np.float64),
}
"""Packed fields with one value for every structure."""
_OPTIONAL = ("forces", "charges", "dipole", "interaction_energy", "cell")


@dataclass(frozen=True, slots=True, eq=False)
class UnlabelledStructure:
    """Molecules at given positions, and their place in chemical space.

    Attributes
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.
    molecules : (N,) int array
        Index of the molecule of every atom: 0, 1, ... in ascending order.
    molecule_charges : tuple of int
        Charge of every molecule, e.
    parent, domain : str
        See `LabelledStructure`.
    cell : (3, 3) array or None
        Lattice vectors as rows, A, of a structure that is periodic in three directions.
    """

    numbers: IntArray
    positions: FloatArray
    molecules: IntArray
    molecule_charges: tuple[int, ...]
    parent: str
    domain: str
    cell: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def charge(self) -> int:
        """Total charge, e."""
        return sum(self.molecule_charges)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledStructure:
    """One structure and its labels.

    Attributes
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.
    energy : float
        eV.
    forces : (N, 3) array or None
        eV/A.
    parent : str
        Parent molecule, or composition of molecules: structures of one parent are never on both sides of a split.
    domain : str
        Part of chemical space, by which errors are grouped.
    charge : int
        Total charge, e.
    charges : (N,) array or None
        Partial charges, e.
    dipole : (3,) array or None
        e A; for a charged structure, about the origin of `positions`. It is ignored for a periodic structure, where it
        is not defined.
    molecules : (N,) int array
        Index of the molecule of every atom: 0, 1, ... in ascending order; all 0 when molecules are not known.
    molecule_charges : tuple of int
        Charge of every molecule, e.
    interaction_energy : float or None
        Energy minus the energies of its molecules, each alone at the same geometry, eV; for a periodic structure, each
        alone in the same cell with its own images.
    cell : (3, 3) array or None
        Lattice vectors as rows, A, of a structure that is periodic in three directions; None otherwise.

    Raises
    ------
    ValueError
        When shapes or charges do not match.
    """

    numbers: IntArray
    positions: FloatArray
    energy: float
    forces: FloatArray | None
    parent: str
    domain: str
    charge: int = 0
    charges: FloatArray | None = None
    dipole: FloatArray | None = None
    molecules: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    molecule_charges: tuple[int, ...] = ()
    interaction_energy: float | None = None
    cell: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.numbers)
        if len(self.molecules) != n:
            object.__setattr__(self, "molecules", np.zeros(n, dtype=np.int64))
        if not self.molecule_charges:
            object.__setattr__(self, "molecule_charges", (self.charge,))
        if self.positions.shape != (n, 3) or (self.forces is not None and self.forces.shape != (n, 3)):
            raise ValueError(f"labelled structure of {n} atoms: expected positions and forces ({n}, 3), found others")
        if self.cell is not None and (self.cell.shape != (3, 3) or not abs(np.linalg.det(self.cell)) > 0):
            raise ValueError(f"labelled structure of {n} atoms: expected three lattice vectors, found {self.cell}")
        if sum(self.molecule_charges) != self.charge or len(self.molecule_charges) != int(self.molecules.max()) + 1:
            raise ValueError(
                f"labelled structure of charge {self.charge}: expected one charge for each of "
                f"{int(self.molecules.max()) + 1} molecules, with that sum, found {self.molecule_charges}"
            )

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def gap(self) -> float:
        """Smallest distance between atoms of different molecules, A; infinite for one molecule.

        Images of other molecules count, a molecule's own images do not.
        """
        apart = self.molecules[:, None] != self.molecules[None, :]
        if not apart.any():
            return float("inf")
        if self.cell is None:
            distances = np.linalg.norm(self.positions[:, None] - self.positions[None, :], axis=-1)
        else:
            from ase.geometry import get_distances

            _, distances = get_distances(self.positions, cell=self.cell, pbc=True)
        return float(distances[apart].min())


def isolated_molecules(structure: UnlabelledStructure | LabelledStructure) -> list[UnlabelledStructure]:
    """Return every molecule of a structure alone, in its place and cell, and with its own charge.

    Parameters
    ----------
    structure : UnlabelledStructure or LabelledStructure

    Returns
    -------
    list of UnlabelledStructure
        Of the parent and the domain of the structure.
    """
    alone = []
    for molecule, charge in enumerate(structure.molecule_charges):
        atoms = structure.molecules == molecule
        numbers, owner = structure.numbers[atoms], np.zeros(int(atoms.sum()), dtype=np.int64)
        place = structure.parent, structure.domain, structure.cell
        alone.append(UnlabelledStructure(numbers, structure.positions[atoms], owner, (charge,), *place))
    return alone


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """Labelled structures under a name.

    Attributes
    ----------
    name : str
    structures : tuple of LabelledStructure
    level_of_theory, source, licence : str
        Level of theory, citation and terms of the labels.
    left_out : tuple of str
        Lines about structures in the files that could not be used.
    """

    name: str
    structures: tuple[LabelledStructure, ...]
    level_of_theory: str
    source: str
    licence: str
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.structures)

    def __iter__(self) -> Iterator[LabelledStructure]:
        return iter(self.structures)

    def take(self, indices: Iterable[int]) -> tuple[LabelledStructure, ...]:
        """Return the structures at these indices, in this order."""
        return tuple(self.structures[index] for index in indices)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(int(z) for z in np.unique(np.concatenate([structure.numbers for structure in self.structures])))

    @property
    def sha256(self) -> str:
        """Hash of everything that a network is trained on and tested against."""
        digest = hashlib.sha256()
        for one in self.structures:
            for array in (one.numbers, one.positions, one.forces, one.charges, one.dipole, one.molecules):
                digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
            labels = (one.energy, one.parent, one.domain, one.charge, one.molecule_charges, one.interaction_energy)
            digest.update(repr(labels).encode())
            if one.cell is not None:
                digest.update(np.ascontiguousarray(one.cell).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class PackedStructures:
    """S labelled structures as concatenated arrays, of N atoms and M molecules in all.

    Packing is exact to the bit. Labels that a structure lacks are zero, and ``has_`` arrays, (S,), mark those present.

    Attributes
    ----------
    offsets, molecule_offsets : (S + 1,) int arrays
        Start of every structure among atoms and among molecules.
    numbers, molecules : (N,) int arrays
        Atomic numbers, and index of the molecule within the structure.
    positions, forces : (N, 3) arrays
        A; eV/A.
    charges : (N,) array
        e.
    dipole : (S, 3) array
        e A.
    molecule_charges : (M,) int array
        e.
    energy, interaction_energy : (S,) arrays
        eV.
    charge : (S,) int array
        e.
    parents, domains : tuple of str
    cell : (S, 3, 3) array or None
        Lattice vectors as rows, A; None, as `has_cell`, without periodic structures.
    """

    offsets: IntArray
    molecule_offsets: IntArray
    numbers: IntArray
    molecules: IntArray
    positions: FloatArray
    molecule_charges: IntArray
    energy: FloatArray
    charge: IntArray
    parents: tuple[str, ...]
    domains: tuple[str, ...]
    has_forces: BoolArray
    forces: FloatArray
    has_charges: BoolArray
    charges: FloatArray
    has_dipole: BoolArray
    dipole: FloatArray
    has_interaction_energy: BoolArray
    interaction_energy: FloatArray
    has_cell: BoolArray | None = None
    cell: FloatArray | None = None

    @classmethod
    def of(cls, structures: Sequence[LabelledStructure]) -> PackedStructures:
        """Pack structures, possibly none."""
        packed: dict[str, Any] = {
            f"has_{name}": np.array([getattr(one, name) is not None for one in structures], dtype=bool)
            for name in _OPTIONAL
        }
        for name, (shape, dtype) in _OF_ATOMS.items():
            values = [_or_zeros(getattr(one, name), (len(one), *shape)) for one in structures]
            packed[name] = np.concatenate([np.zeros((0, *shape), dtype), *values]).astype(dtype)
        for name, (shape, dtype) in _OF_STRUCTURES.items():
            values = [_or_zeros(getattr(one, name), shape) for one in structures]
            packed[name] = np.array(values, dtype).reshape(-1, *shape)
        if not packed["has_cell"].any():
            packed |= {"has_cell": None, "cell": None}
        return cls(
            offsets=_offsets([len(one) for one in structures]),
            molecule_offsets=_offsets([len(one.molecule_charges) for one in structures]),
            molecule_charges=np.array([charge for one in structures for charge in one.molecule_charges], np.int64),
            parents=tuple(one.parent for one in structures),
            domains=tuple(one.domain for one in structures),
            **packed,
        )

    def __len__(self) -> int:
        return len(self.parents)

    def structures(self) -> tuple[LabelledStructure, ...]:
        """Return the structures."""
        return tuple(self._structure(index) for index in range(len(self)))

    def _structure(self, index: int) -> LabelledStructure:
        atoms = slice(*self.offsets[index : index + 2])
        charges = self.molecule_charges[slice(*self.molecule_offsets[index : index + 2])]
        labels: dict[str, Any] = {}
        for name, place in {**dict.fromkeys(_OF_ATOMS, atoms), **dict.fromkeys(_OF_STRUCTURES, index)}.items():
            present = getattr(self, f"has_{name}") if name in _OPTIONAL else np.ones(len(self), dtype=bool)
            if present is None or not present[index]:
                labels[name] = None
            else:
                value = np.array(getattr(self, name)[place])
                labels[name] = value if value.ndim else value.item()
        parent, domain = self.parents[index], self.domains[index]
        return LabelledStructure(**labels, parent=parent, domain=domain, molecule_charges=tuple(charges.tolist()))

    def arrays(self) -> dict[str, AnyArray | str]:
        """Return the fields by name for a file: arrays, and `parents` and `domains` as JSON lists."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        values |= {"parents": json.dumps(self.parents), "domains": json.dumps(self.domains)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> PackedStructures:
        """Read the output of `arrays`.

        Parameters
        ----------
        arrays : mapping
            Other names are ignored.

        Raises
        ------
        ValueError
            When fields are missing or do not match each other.
        """
        names = {entry.name for entry in fields(cls)}
        if not {"cell", "has_cell"} & set(arrays):
            names -= {"cell", "has_cell"}
        if missing := sorted(names - set(arrays)):
            raise ValueError(f"packed structures: expected {', '.join(sorted(names))}, found no {', '.join(missing)}")
        values = {name: arrays[name] for name in names}
        values |= {name: tuple(json.loads(str(values[name]))) for name in ("parents", "domains")}
        packed = cls(**values)
        lengths = (len(packed.parents), len(packed.domains), len(packed.energy), len(packed.offsets) - 1)
        if len(set(lengths)) > 1 or packed.offsets[-1] != len(packed.numbers):
            raise ValueError(
                f"packed structures: expected as many parents, domains, energies and offsets (one more), and atoms up "
                f"to the last, found {lengths}, {packed.offsets[-1]} and {len(packed.numbers)}"
            )
        return packed


def _offsets(sizes: Sequence[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _or_zeros(value: Any, shape: tuple[int, ...]) -> Any:
    return np.zeros(shape) if value is None else value
