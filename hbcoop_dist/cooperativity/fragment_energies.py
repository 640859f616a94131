"""Evaluation of the fragments of many complexes with a model, in as few calls as fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hbcoop_dist.cooperativity.equation import FragmentEnergies
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.complexes import Molecules, distinct_fragments


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
