"""Batches of structures as one set of atoms and edges in torch, with periodic images as neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.models.batching import join_arrays


class ChargedAtoms(Protocol):
    """Atoms that belong to molecules with charges, in a periodic cell or not: what a batch needs of a structure."""

    def __len__(self) -> int: ...
    @property
    def numbers(self) -> IntArray: ...
    @property
    def positions(self) -> FloatArray: ...
    @property
    def cell(self) -> FloatArray | None: ...
    @property
    def molecules(self) -> IntArray: ...
    @property
    def molecule_charges(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True, eq=False)
class NeutralAtoms:
    """A structure of neutral molecules without a cell, as `ChargedAtoms`.

    Attributes
    ----------
    numbers : (N,) int array
        Atomic numbers.
    positions : (N, 3) array
        A.
    molecules : (N,) int array
        Index of the molecule of every atom.
    molecule_charges : tuple of int
        Zero for every molecule.
    cell : None
    """

    numbers: IntArray
    positions: FloatArray
    molecules: IntArray
    molecule_charges: tuple[int, ...] = (0,)
    cell: None = None

    def __len__(self) -> int:
        return len(self.numbers)


def find_edges(structures: Sequence[ChargedAtoms], cutoff: float) -> tuple[IntArray, FloatArray | None]:
    """Find the ordered pairs of atoms within a cutoff in a sequence of structures.

    Parameters
    ----------
    structures : sequence of ChargedAtoms
        Atoms are counted through the whole sequence.
    cutoff : float
        A.

    Returns
    -------
    edges : (2, E) int array
        First and second atom of every pair.
    shifts : (E, 3) array or None
        Lattice vector, A, from the second atom to its image in the pair; None without periodic structures.
    """
    if all(structure.cell is None for structure in structures):
        positions = [structure.positions for structure in structures]
        return join_arrays(positions, [structure.numbers for structure in structures], cutoff).near, None
    lists = [_edges_of_structure(structure, cutoff) for structure in structures]
    starts = np.cumsum([0, *(len(structure.numbers) for structure in structures[:-1])])
    edges = np.concatenate([pairs + start for (pairs, _), start in zip(lists, starts, strict=True)], axis=1)
    return edges, np.concatenate([shifts for _, shifts in lists])


def find_periodic_edges(positions: FloatArray, cell: FloatArray, cutoff: float) -> tuple[IntArray, FloatArray]:
    """Find the ordered pairs of atoms within a cutoff in one crystal, images included.

    An atom is a neighbour of its own images but not of itself. The cell may be smaller than the cutoff; two atoms are
    then as many pairs as there are images within it.

    Parameters
    ----------
    positions : (N, 3) array
        A.
    cell : (3, 3) array
        Lattice vectors as rows, A.
    cutoff : float
        A.

    Returns
    -------
    edges : (2, E) int array
    shifts : (E, 3) array
        Lattice vectors, A; see `find_edges`.
    """
    from matscipy.neighbours import neighbour_list

    first, second, steps = neighbour_list("ijS", positions=positions, cell=cell, pbc=[True] * 3, cutoff=cutoff)
    return np.stack([first, second]).astype(np.int64), steps @ cell


def _edges_of_structure(structure: ChargedAtoms, cutoff: float) -> tuple[IntArray, FloatArray]:
    if structure.cell is not None:
        return find_periodic_edges(structure.positions, structure.cell, cutoff)
    pairs = join_arrays([structure.positions], [structure.numbers], cutoff).near
    return pairs, np.zeros((pairs.shape[1], 3))


@dataclass(frozen=True, slots=True, eq=False)
class AtomBatch:
    """Concatenated structures: N atoms, S structures, M molecules, E edges (ordered pairs within the cutoff).

    Periodic and other structures may share a batch. In a cell smaller than the cutoff two atoms have several edges, and
    an atom has edges to its own images, so edges are identified by their index rather than by their atoms.

    Attributes
    ----------
    positions : (N, 3) tensor
        Positions, A, with respect to which forces are derivatives.
    species : (N,) long tensor
        Index of each atom's element among the network's elements.
    structure : (N,) long tensor
        Structure of each atom, ascending.
    molecule : (N,) long tensor
        Molecule of each atom, counted through the whole batch.
    structure_of_molecule : (M,) long tensor
    charge : (S,) tensor
        Total charge of every structure, e.
    molecule_charge : (M,) tensor
        Charge of every molecule, e.
    edges : (2, E) long tensor
        Sender and receiver of every edge, both in one structure; see `vectors` for the geometry.
    slots : (S, L) long tensor
        Atoms of every structure, padded with atom 0 to the size L of the largest.
    filled : (S, L) bool tensor
        Which slots hold an atom.
    shifts : (E, 3) tensor or None
        Lattice vector, A, from the receiver of every edge to its image; None without periodic structures.
    cells : tuple of (3, 3) array or None
        Lattice vectors of every structure as rows, A, in float64; None for one that is not periodic.
    """

    positions: torch.Tensor
    species: torch.Tensor
    structure: torch.Tensor
    molecule: torch.Tensor
    structure_of_molecule: torch.Tensor
    charge: torch.Tensor
    molecule_charge: torch.Tensor
    edges: torch.Tensor
    slots: torch.Tensor
    filled: torch.Tensor
    shifts: torch.Tensor | None
    cells: tuple[FloatArray | None, ...]

    @property
    def n_structures(self) -> int:
        """Number S of structures."""
        return len(self.charge)

    @property
    def periodic(self) -> bool:
        """Whether any structure is periodic."""
        return self.shifts is not None

    def atom_slices(self) -> list[slice]:
        """Return the range of atoms of every structure."""
        ends = np.cumsum(self.filled.sum(dim=1).tolist()).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def vectors(self) -> torch.Tensor:
        """Return the vectors, (E, 3), A, from the sender of every edge to the image of its receiver."""
        sender, receiver = self.edges
        between = self.positions.index_select(0, receiver) - self.positions.index_select(0, sender)
        return between if self.shifts is None else between + self.shifts

    @classmethod
    def of(
        cls,
        structures: Sequence[ChargedAtoms],
        elements: Sequence[int],
        cutoff: float,
        *,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
    ) -> AtomBatch:
        """Join structures into a batch.

        Parameters
        ----------
        structures : sequence of ChargedAtoms
        elements : sequence of int
            Atomic numbers of the network, ascending; they must include those of the structures.
        cutoff : float
            A.
        dtype : torch.dtype
        device : str
        """
        edges, shifts = find_edges(structures, cutoff)
        sizes = np.array([len(structure.numbers) for structure in structures])
        starts = np.cumsum(sizes) - sizes
        counts = np.array([len(structure.molecule_charges) for structure in structures])
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
        molecule = np.concatenate([one.molecules + offset for one, offset in zip(structures, offsets, strict=True)])
        filled = np.arange(sizes.max())[None, :] < sizes[:, None]
        slots = np.where(filled, starts[:, None] + np.arange(sizes.max())[None, :], 0)
        numbers = np.concatenate([structure.numbers for structure in structures])

        def integers(values: object) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.long, device=device)

        def floats(values: object) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)

        return cls(
            positions=floats(np.concatenate([structure.positions for structure in structures])),
            species=integers(np.searchsorted(np.asarray(elements), numbers)),
            structure=integers(np.repeat(np.arange(len(sizes)), sizes)),
            molecule=integers(molecule),
            structure_of_molecule=integers(np.repeat(np.arange(len(sizes)), counts)),
            charge=floats([sum(structure.molecule_charges) for structure in structures]),
            molecule_charge=floats([charge for structure in structures for charge in structure.molecule_charges]),
            edges=integers(edges),
            slots=integers(slots),
            filled=torch.as_tensor(filled, device=device),
            shifts=None if shifts is None else floats(shifts),
            cells=tuple(structure.cell for structure in structures),
        )

    def padded(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of atoms, (N, ...), by slot, (S, L, ...), with zeros in empty slots."""
        shape = (*self.filled.shape, *[1] * (values.ndim - 1))
        return values[self.slots] * self.filled.reshape(shape).to(values.dtype)

    def flat(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of slots, (S, L, ...), by atom, (N, ...)."""
        return values[self.filled]

    def sum_structures(self, values: torch.Tensor) -> torch.Tensor:
        """Sum values of atoms, (N, ...), by structure: (S, ...)."""
        zeros = values.new_zeros((self.n_structures, *values.shape[1:]))
        return zeros.index_add(0, self.structure, values)

    def sum_molecules(self, values: torch.Tensor) -> torch.Tensor:
        """Sum values of atoms, (N, ...), by molecule: (M, ...)."""
        zeros = values.new_zeros((len(self.molecule_charge), *values.shape[1:]))
        return zeros.index_add(0, self.molecule, values)
