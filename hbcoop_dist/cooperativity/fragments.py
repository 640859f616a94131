"""Energies of every distinct fragment of many complexes, in as few model calls as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.fragments import Molecules, distinct_fragments

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FragmentEnergies:
    """Energies of the fragments of one complex, at the complex's geometry.

    Attributes
    ----------
    fragments : tuple of tuple of int
        Molecules of every fragment.
    energies : (m,) array
        eV.
    atom_energies : (m, N) array or None
        eV, atoms of the complex; zero where an atom is not in the fragment.
    parts : (m, p) array or None
        eV, what the energies are put together from, in the order of the card's `combination`.
    member_energies : (m, M) array or None
        eV, what each of the M networks of an ensemble says; None where the model is none.
    """

    fragments: tuple[Molecules, ...]
    energies: FloatArray
    atom_energies: FloatArray | None = None
    parts: FloatArray | None = None
    member_energies: FloatArray | None = None

    def energy(self, molecules: Molecules) -> float:
        """Energy of one fragment, eV; no molecule at all has none."""
        return float(self.energies[self.fragments.index(molecules)]) if molecules else 0.0

    def of_members(self, molecules: Molecules) -> FloatArray:
        """What each network of an ensemble says of one fragment, (M,), eV."""
        if self.member_energies is None:
            raise ValueError("fragment energies: this model is no ensemble")
        if not molecules:
            return np.zeros(self.member_energies.shape[1])
        return np.asarray(self.member_energies[self.fragments.index(molecules)])

    def of_atoms(self, molecules: Molecules) -> FloatArray:
        """Per-atom energies (N,) of one fragment, eV, on the atoms of the complex."""
        if self.atom_energies is None:
            raise ValueError("fragment energies: this model gives no per-atom energies")
        if not molecules:
            return np.zeros(self.atom_energies.shape[1])
        return np.asarray(self.atom_energies[self.fragments.index(molecules)])


def fragment_energies(
    potential: Potential,
    structures: Sequence[Structure],
    fragments: Sequence[tuple[Molecules, ...] | None] | None = None,
    *,
    batch: BatchSize | None = None,
) -> list[FragmentEnergies]:
    """Energies of fragments of every structure, batched across structures.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure
    fragments : sequence, optional
        Fragments wanted of each structure; None, for one or for all, stands for every distinct one.
    batch : BatchSize, optional
        Atoms per call of the potential; a new one for its device by default.

    Returns
    -------
    list of FragmentEnergies
        With per-atom energies when the model's card promises them, and with those of its members where it is an
        ensemble. Where it asks for counterpoise, every fragment has
        the basis functions of the whole complex.
    """
    asked_for = fragments or [None] * len(structures)
    wanted = [one or distinct_fragments(structure) for structure, one in zip(structures, asked_for, strict=True)]
    card = potential.card
    asked = [
        structure.ghosted(molecules) if card.abilities.counterpoise else structure.subset(molecules)
        for structure, pieces in zip(structures, wanted, strict=True)
        for molecules in pieces
    ]
    with_atoms = card.abilities.atom_energies
    found = iter(evaluate(potential, asked, forces=False, atom_energies=with_atoms, batch=batch))
    out: list[FragmentEnergies] = []
    for structure, pieces in zip(structures, wanted, strict=True):
        energies = np.empty(len(pieces))
        atoms = np.zeros((len(pieces), len(structure))) if with_atoms else None
        parts = np.empty((len(pieces), len(card.combination))) if card.combination else None
        members = []
        for row, molecules in enumerate(pieces):
            evaluation = next(found)
            members.append(evaluation.member_energies)
            energies[row] = evaluation.energy
            if parts is not None:
                parts[row] = [evaluation.parts[name] for name in card.combination]
            if atoms is not None:
                atoms[row, np.isin(structure.molecules, molecules)] = evaluation.atom_energies
        known = [one for one in members if one is not None]
        together = np.array(known) if len(known) == len(pieces) else None
        out.append(FragmentEnergies(pieces, energies, atoms, parts, together))
    return out
