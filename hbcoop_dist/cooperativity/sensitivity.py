"""How far a cooperative energy moves when nothing physical changes: what no difference between models may be read into.

Turning a chain, sending its fragments in other batches or in float32 changes no physics: what moves then is errors of
arithmetic, and what a model does not promise.  (How little the training data decide is `Cooperativity.spread`, over the
networks of an ensemble, trained alike and as good as one another.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.cooperativity.equation import Cooperativity, cooperativity
from hbcoop_dist.cooperativity.fragments import FragmentEnergies, fragment_energies
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import BatchSize
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.fragments import Molecules, fragments_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bond:
    """One H-bond of a chain with all that Eq. 1 needs.

    Attributes
    ----------
    structure : Structure
        The complex.
    hbond : int
        From 1.
    dimer : Structure
        The isolated dimer, in the same conformer and rotamers.
    """

    structure: Structure
    hbond: int
    dimer: Structure

    def pieces(self) -> tuple[tuple[Molecules, ...], tuple[Molecules, ...]]:
        """Fragments that Eq. 1 takes from the complex, and from the dimer."""
        wanted = (fragments_of(self.structure, self.hbond), fragments_of(self.dimer, 1))
        here, alone = (tuple(dict.fromkeys(found for found in one.values() if found)) for one in wanted)
        return here, alone

    def turned(self, rotation: FloatArray) -> Bond:
        """The same in another orientation; `rotation` is (3, 3)."""
        both = (one.with_positions(one.positions @ rotation.T) for one in (self.structure, self.dimer))
        return Bond(next(both), self.hbond, next(both))


@dataclass(frozen=True, slots=True)
class Spread:
    """Several values of one cooperative energy, kcal/mol.

    Attributes
    ----------
    value : float
        As a campaign has it.
    others : (k,) array
        What it becomes when nothing physical changes.
    """

    value: float
    others: FloatArray

    @property
    def largest(self) -> float:
        """Largest distance of another value from the value."""
        return float(np.abs(self.others - self.value).max())


def cooperativities(
    potential: Potential, bonds: Sequence[Bond], *, batch: BatchSize | None = None
) -> list[Cooperativity]:
    """Eq. 1 of every bond, in as few calls as fit."""
    structures = [structure for bond in bonds for structure in (bond.structure, bond.dimer)]
    wanted = [pieces for bond in bonds for pieces in bond.pieces()]
    found = iter(fragment_energies(potential, structures, wanted, batch=batch))
    return [_equation(bond, next(found), next(found)) for bond in bonds]


def _equation(bond: Bond, energies: FragmentEnergies, dimer_energies: FragmentEnergies) -> Cooperativity:
    return cooperativity(bond.structure, energies, bond.hbond, bond.dimer, dimer_energies)


def _totals(potential: Potential, bonds: Sequence[Bond], batch: BatchSize | None = None) -> FloatArray:
    return np.array([one.total for one in cooperativities(potential, bonds, batch=batch)])


def under_rotation(potential: Potential, bond: Bond, *, turns: int = 8, seed: int = 0) -> Spread:
    """dV of a bond in random orientations.

    Parameters
    ----------
    potential : Potential
    bond : Bond
    turns : int
        Orientations beside the one given, uniform over all.
    seed : int
    """
    values = _totals(potential, [bond, *_turned(bond, turns, seed)])
    return Spread(float(values[0]), values[1:])


def _turned(bond: Bond, turns: int, seed: int) -> Iterator[Bond]:
    from scipy.spatial.transform import Rotation

    # quaternions of normal deviates point everywhere alike
    for rotation in Rotation.from_quat(np.random.default_rng(seed).standard_normal((turns, 4))):
        yield bond.turned(rotation.as_matrix())


def under_batching(potential: Potential, bond: Bond, *, shuffles: int = 4, seed: int = 0) -> Spread:
    """dV of a bond with its fragments in other company: one a call, and in random order in calls of random size.

    Parameters
    ----------
    potential : Potential
    bond : Bond
    shuffles : int
        Random orders.
    seed : int
    """
    random = np.random.default_rng(seed)
    (value,), (alone,) = (_totals(potential, [bond], batch) for batch in (None, BatchSize(1)))
    atoms = sum(len(bond.structure) for _ in bond.pieces()[0])
    mixed = [_shuffled(potential, bond, random, BatchSize(int(random.integers(1, atoms)))) for _ in range(shuffles)]
    return Spread(float(value), np.array([alone, *mixed]))


def _shuffled(potential: Potential, bond: Bond, random: np.random.Generator, batch: BatchSize) -> float:
    """Eq. 1 with the fragments of complex and dimer sent in one random order."""
    pieces = bond.pieces()
    points = [(place, molecules) for place, of in enumerate(pieces) for molecules in of]
    order = random.permutation(len(points))
    structures = [(bond.structure, bond.dimer)[points[k][0]] for k in order]
    found = fragment_energies(potential, structures, [(points[k][1],) for k in order], batch=batch)
    energies = {points[k]: one.energies[0] for k, one in zip(order, found, strict=True)}
    here, alone = (
        FragmentEnergies(of, np.array([energies[place, molecules] for molecules in of]))
        for place, of in enumerate(pieces)
    )
    return _equation(bond, here, alone).total


def in_float_type(potential: Potential, other: Potential, bond: Bond, *, turns: int = 8, seed: int = 0) -> Spread:
    """dV of a bond with the same model in another float type, in random orientations.

    Round-off of one orientation is one draw from its distribution: it takes several to see how large it gets.

    Parameters
    ----------
    potential, other : Potential
        The model, and the same in another float type.
    bond : Bond
    turns : int
        Orientations of the other, beside the one given.
    seed : int
    """
    (value,) = _totals(potential, [bond])
    return Spread(float(value), _totals(other, [bond, *_turned(bond, turns, seed)]))


def floor(potential: Potential, bond: Bond, single: Potential | None = None) -> dict[str, float]:
    """How certain one cooperative energy is, kcal/mol.

    Parameters
    ----------
    potential : Potential
    bond : Bond
    single : Potential, optional
        The same model in float32.

    Returns
    -------
    dict of str to float
        ``dV``; ``rotation``, ``batch`` and ``float32``, the largest change under each; ``ensemble`` and
        ``electronic``, the standard deviation of dV and of its electronic part over the networks of an ensemble. NaN
        where there is no such thing.
    """
    (found,) = cooperativities(potential, [bond])
    return {
        "dV": found.total,
        "rotation": under_rotation(potential, bond).largest,
        "batch": under_batching(potential, bond).largest,
        "float32": in_float_type(potential, single, bond).largest if single else float("nan"),
        "ensemble": found.spread.get("total", float("nan")),
        "electronic": found.spread.get("electronic", float("nan")),
    }
