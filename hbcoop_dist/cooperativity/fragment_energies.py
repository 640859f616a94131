"""Energies of the fragments of many complexes in few model calls, and their many-body expansion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum

import numpy as np

from hbcoop_dist.cooperativity.equation import EV_TO_KCAL, FragmentEnergies
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.structure import Molecules, distinct_fragments


def evaluate_fragments(
    potential: Potential,
    structures: Sequence[Structure],
    fragments: Sequence[tuple[Molecules, ...] | None] | None = None,
    *,
    batch: BatchSize | None = None,
) -> list[FragmentEnergies]:
    """Evaluate fragments of every structure, batched across structures.

    Parameters
    ----------
    potential : Potential
    structures : sequence of Structure
    fragments : sequence, optional
        Fragments of every structure; None, for one structure or for all, selects every distinct fragment.
    batch : BatchSize, optional
        Atoms per call of the potential; by default a new one for its device.

    Returns
    -------
    list of FragmentEnergies
        One per structure, with per-atom energies, parts and member energies where the model gives them. A model whose
        card requires counterpoise evaluates every fragment with the basis functions of the whole complex.
    """
    selected = [
        given or distinct_fragments(structure)
        for structure, given in zip(structures, fragments or [None] * len(structures), strict=True)
    ]
    card = potential.card
    clusters = [
        structure.ghosted(molecules) if card.abilities.counterpoise else structure.subset(molecules)
        for structure, of_structure in zip(structures, selected, strict=True)
        for molecules in of_structure
    ]
    evaluations = iter(
        evaluate(potential, clusters, forces=False, atom_energies=card.abilities.atom_energies, batch=batch)
    )
    results: list[FragmentEnergies] = []
    for structure, of_structure in zip(structures, selected, strict=True):
        rows = [next(evaluations) for _ in of_structure]
        atom_energies = np.zeros((len(rows), len(structure))) if card.abilities.atom_energies else None
        if atom_energies is not None:
            for out, evaluation, molecules in zip(atom_energies, rows, of_structure, strict=True):
                out[np.isin(structure.molecules, molecules)] = evaluation.atom_energies
        parts = [[evaluation.parts[name] for name in card.combination] for evaluation in rows]
        members = [evaluation.member_energies for evaluation in rows]
        of_members = [energies for energies in members if energies is not None]
        results.append(
            FragmentEnergies(
                of_structure,
                np.array([evaluation.energy for evaluation in rows]),
                atom_energies,
                np.array(parts) if card.combination else None,
                np.array(of_members) if len(of_members) == len(rows) else None,
            )
        )
    return results


ORDERS = (2, 3, 4)
"""Orders at which an expansion may be truncated; for M molecules of order k it needs of the order of M^k fragments."""


@dataclass(frozen=True, slots=True)
class ManyBodyExpansion:
    """The many-body expansion of one complex, kcal/mol.

    Attributes
    ----------
    totals : (order,) array
        Sum of the terms of 1, 2, ... molecules; zero beyond the number of molecules.
    remainder : float
        Energy of the complex minus the sum of `totals`: the contribution of all higher orders.
    terms : mapping of tuple of int to float
        E of every set of up to `order` molecules, indices ascending.
    """

    totals: FloatArray
    remainder: float
    terms: Mapping[Molecules, float]

    def cooperative(self, a: int, b: int) -> FloatArray:
        """Resolve the electronic part of Eq. 1 by order.

        Parameters
        ----------
        a, b : int
            Molecule indices of A and B.

        Returns
        -------
        (order - 2,) array
            Contributions of three bodies and more, kcal/mol; their sum is the electronic part of Eq. 1 when `order` is
            the number of molecules.
        """
        contributions = np.zeros(len(self.totals) - 2)
        for molecules, term in self.terms.items():
            if len(molecules) > 2 and a in molecules and b in molecules:
                contributions[len(molecules) - 3] -= term
        return contributions


def expand_energy(
    potential: Potential, structure: Structure, order: int = 4, *, batch: BatchSize | None = None
) -> ManyBodyExpansion:
    """Expand the energy of a complex into terms of 1 to `order` molecules, waters included.

    Parameters
    ----------
    potential : Potential
    structure : Structure
        A complex of M molecules; the energies of all its subsets of up to `order` molecules and of itself are computed.
    order : {2, 3, 4}
    batch : BatchSize, optional
        Atoms per call of the potential; by default a new one for its device.

    Returns
    -------
    ManyBodyExpansion

    Raises
    ------
    ValueError
        When the order is not one of these.
    """
    if order not in ORDERS:
        raise ValueError(f"order: expected one of {', '.join(map(str, ORDERS))}, found {order}")
    complex_ = tuple(range(len(structure.kinds)))
    sets = [molecules for size in range(1, order + 1) for molecules in combinations(complex_, size)]
    # descending size, as in `distinct_fragments`, so that small fragments fill up the batches
    fragments = tuple(dict.fromkeys((complex_, *reversed(sets))))
    (evaluated,) = evaluate_fragments(potential, [structure], [fragments], batch=batch)
    energies = dict(zip(evaluated.fragments, evaluated.energies.tolist(), strict=True))
    terms: dict[Molecules, float] = {}
    for molecules in sets:
        subsets = (subset for size in range(1, len(molecules)) for subset in combinations(molecules, size))
        # energies are about 1e6 times larger than terms, so that rounding after every addition would lose digits
        terms[molecules] = fsum([energies[molecules], *(-terms[subset] for subset in subsets)])
    totals = [fsum(term for molecules, term in terms.items() if len(molecules) == size) for size in range(1, order + 1)]
    return ManyBodyExpansion(
        totals=EV_TO_KCAL * np.array(totals),
        remainder=EV_TO_KCAL * fsum([energies[complex_], *(-term for term in terms.values())]),
        terms={molecules: EV_TO_KCAL * term for molecules, term in terms.items()},
    )
