"""Neighbours of atoms, in molecules and in crystals: there the images of an atom are neighbours like any others.

Several structures as one batch of atoms, as networks and schemes see it, in torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hbcoop_dist.models.neighbour_graphs import join_arrays

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Placed(Protocol):
    """What is asked of a structure."""

    @property
    def numbers(self) -> IntArray: ...
    @property
    def positions(self) -> FloatArray: ...
    @property
    def cell(self) -> FloatArray | None: ...


def edges_of(structures: Sequence[Placed], cutoff: float) -> tuple[IntArray, FloatArray | None]:
    """Ordered pairs of atoms within the cutoff, A, of structures one behind the other.

    Returns
    -------
    edges : (2, E) int array
        First and second atom of every pair.
    shifts : (E, 3) array or None
        Lattice vector, A, that moves the second atom to where it is a neighbour; None where no structure repeats.
    """
    if all(one.cell is None for one in structures):
        return join_arrays(
            [one.positions for one in structures], [one.numbers for one in structures], cutoff
        ).near, None
    found = [_edges(one, cutoff) for one in structures]
    starts = np.cumsum([0, *(len(one.numbers) for one in structures[:-1])])
    edges = np.concatenate([pairs + start for (pairs, _), start in zip(found, starts, strict=True)], axis=1)
    return edges, np.concatenate([shifts for _, shifts in found])


def images_within(positions: FloatArray, cell: FloatArray, cutoff: float) -> tuple[IntArray, FloatArray]:
    """The same of one crystal: (2, E) and (E, 3); an atom is a neighbour of its own images, not of itself.

    Cells smaller than the cutoff are no trouble: two atoms are then as many pairs as there are images within it.
    """
    from matscipy.neighbours import neighbour_list

    first, second, steps = neighbour_list("ijS", positions=positions, cell=cell, pbc=[True] * 3, cutoff=cutoff)
    return np.stack([first, second]).astype(np.int64), steps @ cell


def _edges(one: Placed, cutoff: float) -> tuple[IntArray, FloatArray]:
    if one.cell is not None:
        return images_within(one.positions, one.cell, cutoff)
    pairs = join_arrays([one.positions], [one.numbers], cutoff).near
    return pairs, np.zeros((pairs.shape[1], 3))


class Charged(Protocol):
    """What a batch needs to know of a structure."""

    @property
    def numbers(self) -> NDArray[np.int64]: ...
    @property
    def positions(self) -> NDArray[np.float64]: ...
    @property
    def molecules(self) -> NDArray[np.int64]: ...
    @property
    def molecule_charges(self) -> tuple[int, ...]: ...
    @property
    def cell(self) -> NDArray[np.float64] | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class AtomBatch:
    """Structures one behind the other: N atoms, S structures, M molecules, E edges (ordered pairs within the cutoff).

    Structures that repeat and others may stand in one batch. In a cell smaller than the cutoff two atoms have several
    edges, and an atom edges to its own images: an edge is known by its place, not by its atoms.

    Attributes
    ----------
    positions : (N, 3) tensor
        A; what forces are derivatives by.
    species : (N,) long tensor
        Place of each atom's element among those of the network.
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
        Sender and receiver of every edge; both lie in one structure. See `vectors` for what lies between them.
    slots : (S, L) long tensor
        Atoms of every structure, padded to the largest (L atoms) with atom 0.
    filled : (S, L) bool tensor
        Which slots hold an atom.
    shifts : (E, 3) tensor or None
        Lattice vector, A, that moves the receiver of every edge to where it is a neighbour; None where no structure
        repeats.
    cells : tuple of (3, 3) array or None
        Lattice vectors of every structure as rows, A, in float64; None of one that does not repeat.
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
    cells: tuple[NDArray[np.float64] | None, ...]

    @property
    def n_structures(self) -> int:
        """S."""
        return len(self.charge)

    @property
    def repeats(self) -> bool:
        """Whether any structure does."""
        return self.shifts is not None

    def atoms(self) -> list[slice]:
        """Where the atoms of every structure stand."""
        ends = np.cumsum(self.filled.sum(dim=1).tolist()).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def vectors(self) -> torch.Tensor:
        """From the sender of every edge to the image of its receiver, (E, 3), A: what architectures measure."""
        sender, receiver = self.edges
        between = self.positions.index_select(0, receiver) - self.positions.index_select(0, sender)
        return between if self.shifts is None else between + self.shifts

    @classmethod
    def of(
        cls,
        structures: Sequence[Charged],
        elements: Sequence[int],
        cutoff: float,
        *,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
    ) -> AtomBatch:
        """Join structures; `elements` are the network's atomic numbers, ascending, `cutoff` in A."""
        edges, shifts = edges_of(structures, cutoff)
        sizes = np.array([len(one.numbers) for one in structures])
        starts = np.cumsum(sizes) - sizes
        counts = np.array([len(one.molecule_charges) for one in structures])
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
        molecule = np.concatenate([one.molecules + offset for one, offset in zip(structures, offsets, strict=True)])
        filled = np.arange(sizes.max())[None, :] < sizes[:, None]
        slots = np.where(filled, starts[:, None] + np.arange(sizes.max())[None, :], 0)

        def whole(values: object) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.long, device=device)

        def real(values: object) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)

        return cls(
            positions=real(np.concatenate([one.positions for one in structures])),
            species=whole(np.searchsorted(np.asarray(elements), np.concatenate([one.numbers for one in structures]))),
            structure=whole(np.repeat(np.arange(len(sizes)), sizes)),
            molecule=whole(molecule),
            structure_of_molecule=whole(np.repeat(np.arange(len(sizes)), counts)),
            charge=real([sum(one.molecule_charges) for one in structures]),
            molecule_charge=real([charge for one in structures for charge in one.molecule_charges]),
            edges=whole(edges),
            slots=whole(slots),
            filled=torch.as_tensor(filled, device=device),
            shifts=None if shifts is None else real(shifts),
            cells=tuple(one.cell for one in structures),
        )

    def padded(self, values: torch.Tensor) -> torch.Tensor:
        """Values of atoms, (N, ...), as (S, L, ...) with zeros where no atom is."""
        shape = (*self.filled.shape, *[1] * (values.ndim - 1))
        return values[self.slots] * self.filled.reshape(shape).to(values.dtype)

    def flat(self, values: torch.Tensor) -> torch.Tensor:
        """The reverse: values of slots, (S, L, ...), as (N, ...)."""
        return values[self.filled]

    def sum_structures(self, values: torch.Tensor) -> torch.Tensor:
        """Values of atoms, (N, ...), summed by structure: (S, ...)."""
        zeros = values.new_zeros((self.n_structures, *values.shape[1:]))
        return zeros.index_add(0, self.structure, values)

    def sum_molecules(self, values: torch.Tensor) -> torch.Tensor:
        """Values of atoms, (N, ...), summed by molecule: (M, ...)."""
        zeros = values.new_zeros((len(self.molecule_charge), *values.shape[1:]))
        return zeros.index_add(0, self.molecule, values)
