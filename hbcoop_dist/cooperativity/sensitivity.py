"""Sensitivity of a cooperative energy to changes without physical meaning: orientation, batching and float type.

Differences between models that are smaller than these values are not significant. The spread over the networks of an
ensemble, which measures the effect of training, is `Cooperativity.spread`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hbcoop_dist.cooperativity.equation import Cooperativity, FragmentEnergies, hbond_cooperativity
from hbcoop_dist.cooperativity.fragment_energies import evaluate_fragments
from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.structure import Molecules, fragments_of


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
