"""Several structures as one batch of atoms, as networks and schemes see it, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hbcoop_dist.models.graphs import join_arrays


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


@dataclass(frozen=True, slots=True, eq=False)
class AtomBatch:
    """Structures one behind the other: N atoms, S structures, M molecules, E edges (ordered pairs within the cutoff).

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
        Sender and receiver of every edge; both lie in one structure.
    slots : (S, L) long tensor
        Atoms of every structure, padded to the largest (L atoms) with atom 0.
    filled : (S, L) bool tensor
        Which slots hold an atom.
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

    @property
    def n_structures(self) -> int:
        """S."""
        return len(self.charge)

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
        graph = join_arrays([one.positions for one in structures], [one.numbers for one in structures], cutoff)
        sizes = np.array(graph.sizes)
        counts = np.array([len(one.molecule_charges) for one in structures])
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
        molecule = np.concatenate([one.molecules + offset for one, offset in zip(structures, offsets, strict=True)])
        filled = np.arange(sizes.max())[None, :] < sizes[:, None]
        slots = np.where(filled, graph.starts[:-1, None] + np.arange(sizes.max())[None, :], 0)

        def whole(values: object) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.long, device=device)

        def real(values: object) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)

        return cls(
            positions=real(graph.positions),
            species=whole(np.searchsorted(np.asarray(elements), graph.numbers)),
            structure=whole(np.repeat(np.arange(len(sizes)), sizes)),
            molecule=whole(molecule),
            structure_of_molecule=whole(np.repeat(np.arange(len(sizes)), counts)),
            charge=real([sum(one.molecule_charges) for one in structures]),
            molecule_charge=real([charge for one in structures for charge in one.molecule_charges]),
            edges=whole(graph.near),
            slots=whole(slots),
            filled=torch.as_tensor(filled, device=device),
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
