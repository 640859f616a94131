"""Energies of the fragments of many complexes in few model calls, their many-body expansion, and the sensitivity of
cooperative energies to rotation, batching and float type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import fsum

import numpy as np

from hbcoop_dist.cooperativity.equation import EV_TO_KCAL, Cooperativity, FragmentEnergies, hbond_cooperativity
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.structure import Molecules, distinct_fragments, fragments_of

ORDERS = (2, 3, 4)
"""Orders at which an expansion may be truncated; for M molecules of order k it needs of the order of M^k fragments."""


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


@dataclass(frozen=True, slots=True)
class ChainHBond:
    """One H-bond of a chain with the geometries that Eq. 1 needs.

    Attributes
    ----------
    structure : Structure
        The chain.
    hbond : int
        H-bond of the chain, from 1.
    dimer : Structure
        The isolated dimer in the same conformer and rotamers.
    """

    structure: Structure
    hbond: int
    dimer: Structure

    def fragments(self) -> tuple[tuple[Molecules, ...], tuple[Molecules, ...]]:
        """Return the distinct fragments that Eq. 1 takes from the chain and from the dimer."""
        by_name = (fragments_of(self.structure, self.hbond), fragments_of(self.dimer, 1))
        chain, dimer = (tuple(dict.fromkeys(filter(None, fragments.values()))) for fragments in by_name)
        return chain, dimer

    def rotated(self, rotation: FloatArray) -> ChainHBond:
        """Return a copy with chain and dimer rotated by `rotation`, (3, 3)."""
        chain, dimer = (x.with_positions(x.positions @ rotation.T) for x in (self.structure, self.dimer))
        return ChainHBond(chain, self.hbond, dimer)


@dataclass(frozen=True, slots=True)
class Variation:
    """Values of one cooperative energy under changes without physical meaning, kcal/mol.

    Attributes
    ----------
    value : float
        Value without change, as in a campaign.
    others : (k,) array
        Values after k changes.
    """

    value: float
    others: FloatArray

    @property
    def largest(self) -> float:
        """Largest absolute difference from `value`."""
        return float(np.abs(self.others - self.value).max())


def cooperativities(
    potential: Potential, hbonds: Sequence[ChainHBond], *, batch: BatchSize | None = None
) -> list[Cooperativity]:
    """Evaluate Eq. 1 for many H-bonds in as few calls as fit into memory.

    Parameters
    ----------
    potential : Potential
    hbonds : sequence of ChainHBond
    batch : BatchSize, optional
        Atoms per call of the potential; by default a new one for its device.

    Returns
    -------
    list of Cooperativity
        One per H-bond.
    """
    structures = [structure for hbond in hbonds for structure in (hbond.structure, hbond.dimer)]
    fragments = [of_structure for hbond in hbonds for of_structure in hbond.fragments()]
    energies = iter(evaluate_fragments(potential, structures, fragments, batch=batch))
    return [_equation(hbond, next(energies), next(energies)) for hbond in hbonds]


def _equation(hbond: ChainHBond, energies: FragmentEnergies, dimer_energies: FragmentEnergies) -> Cooperativity:
    return hbond_cooperativity(hbond.structure, energies, hbond.hbond, hbond.dimer, dimer_energies)


def _totals(potential: Potential, hbonds: Sequence[ChainHBond], batch: BatchSize | None = None) -> FloatArray:
    return np.array([result.total for result in cooperativities(potential, hbonds, batch=batch)])


def under_rotation(potential: Potential, hbond: ChainHBond, *, turns: int = 8, seed: int = 0) -> Variation:
    """Evaluate dV in random orientations.

    Parameters
    ----------
    potential : Potential
    hbond : ChainHBond
    turns : int
        Number of orientations, uniformly distributed, besides the given one.
    seed : int
        Of the random numbers.

    Returns
    -------
    Variation
    """
    values = _totals(potential, [hbond, *_rotated(hbond, turns, seed)])
    return Variation(float(values[0]), values[1:])


def _rotated(hbond: ChainHBond, turns: int, seed: int) -> Iterator[ChainHBond]:
    from scipy.spatial.transform import Rotation

    # normally distributed quaternions give uniformly distributed rotations
    for rotation in Rotation.from_quat(np.random.default_rng(seed).standard_normal((turns, 4))):
        yield hbond.rotated(rotation.as_matrix())


def under_batching(potential: Potential, hbond: ChainHBond, *, shuffles: int = 4, seed: int = 0) -> Variation:
    """Evaluate dV with other batches: one fragment per call, and fragments in random order in calls of random size.

    Parameters
    ----------
    potential : Potential
    hbond : ChainHBond
    shuffles : int
        Number of random orders.
    seed : int
        Of the random numbers.

    Returns
    -------
    Variation
    """
    random = np.random.default_rng(seed)
    (value,), (single,) = (_totals(potential, [hbond], batch) for batch in (None, BatchSize(1)))
    atoms = sum(len(hbond.structure) for _ in hbond.fragments()[0])
    mixed = [_shuffled(potential, hbond, random, BatchSize(int(random.integers(1, atoms)))) for _ in range(shuffles)]
    return Variation(float(value), np.array([single, *mixed]))


def _shuffled(potential: Potential, hbond: ChainHBond, random: np.random.Generator, batch: BatchSize) -> float:
    """Evaluate dV with the fragments of chain and dimer in one random order."""
    fragments = hbond.fragments()
    points = [(source, molecules) for source, of_source in enumerate(fragments) for molecules in of_source]
    order = random.permutation(len(points))
    structures = [(hbond.structure, hbond.dimer)[points[k][0]] for k in order]
    evaluated = evaluate_fragments(potential, structures, [(points[k][1],) for k in order], batch=batch)
    energies = {points[k]: result.energies[0] for k, result in zip(order, evaluated, strict=True)}
    chain, dimer = (
        FragmentEnergies(of_source, np.array([energies[source, molecules] for molecules in of_source]))
        for source, of_source in enumerate(fragments)
    )
    return _equation(hbond, chain, dimer).total


def in_float_type(
    potential: Potential, other: Potential, hbond: ChainHBond, *, turns: int = 8, seed: int = 0
) -> Variation:
    """Evaluate dV with the same model in another float type, in random orientations.

    Round-off differs between orientations, so that several are needed to estimate its size.

    Parameters
    ----------
    potential, other : Potential
        The model, and the same model in another float type.
    hbond : ChainHBond
    turns : int
        Number of orientations for `other` besides the given one.
    seed : int
        Of the random numbers.

    Returns
    -------
    Variation
    """
    (value,) = _totals(potential, [hbond])
    return Variation(float(value), _totals(other, [hbond, *_rotated(hbond, turns, seed)]))


def sensitivities(potential: Potential, hbond: ChainHBond, single: Potential | None = None) -> dict[str, float]:
    """Summarise the sensitivity of one cooperative energy.

    Parameters
    ----------
    potential : Potential
    hbond : ChainHBond
    single : Potential, optional
        The same model in float32.

    Returns
    -------
    dict of str to float
        kcal/mol: ``dV``; the largest changes of dV under ``rotation``, ``batch`` and ``float32``; and the standard
        deviations of dV, ``ensemble``, and of its electronic part, ``electronic``, over the networks of an ensemble.
        NaN where `single` is missing or the model is no ensemble.
    """
    (result,) = cooperativities(potential, [hbond])
    return {
        "dV": result.total,
        "rotation": under_rotation(potential, hbond).largest,
        "batch": under_batching(potential, hbond).largest,
        "float32": in_float_type(potential, single, hbond).largest if single else float("nan"),
        "ensemble": result.spread.get("total", float("nan")),
        "electronic": result.spread.get("electronic", float("nan")),
    }
