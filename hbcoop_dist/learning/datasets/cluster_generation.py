"""Put molecules beside each other at wanted distances, without clashes.

Chains of N-methylacetamide off their minima: bent, turned, stretched, with every methyl rotamer.

Generate unlabelled clusters of molecules: ionic, neutral, in several charge states, and chains of N-methylacetamide.

Structure i of a set depends on kind, seed and i alone, so that any part of a set can be made anywhere.  Molecules are
rigid minima, perturbed a little, at distances from contact to far beyond a network's cutoff.

The parent of a cluster is its composition: clusters of one composition differ in where their molecules are, as
conformers of one molecule differ in where its atoms are, and a network that has seen one of them has seen its molecules
together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from hbcoop_dist.learning.datasets.labelled_structures import BareStructure, FloatArray, IntArray
from hbcoop_dist.learning.datasets.molecules import IONIC, NEUTRAL, Monomer
from hbcoop_dist.structures import CONFORMERS, Chain, Rotamer, Structure, conformers_of
from hbcoop_dist.structures.chains import Acetyl, Amine, Conformer
from hbcoop_dist.structures.construction import crude_joint, crude_start, structure_of

# Van der Waals radii, A (Bondi, J. Phys. Chem. 1964, 68, 441). At 0.7 of their sum H..O is at 1.90 and O..O at 2.13 A:
# as close as strong hydrogen bonds bring H, and on the repulsive wall for all else.
_RADII = {1: 1.20, 6: 1.70, 7: 1.55, 8: 1.52}
CONTACT = 0.7


def contact_distances(one: IntArray, other: IntArray) -> FloatArray:
    """Sums of van der Waals radii, A, of the atoms (n,) and (m,) of two molecules: (n, m)."""
    radii = np.zeros(9)
    radii[list(_RADII)] = list(_RADII.values())
    return np.asarray(radii[one][:, None] + radii[other][None, :])


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """A rotation matrix, (3, 3), uniform over all."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_quat(rng.normal(size=4)).as_matrix())


def random_direction(rng: np.random.Generator) -> FloatArray:
    """A unit vector, (3,), uniform over the sphere."""
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def touching_shift(fixed: FloatArray, mover: FloatArray, direction: FloatArray, reach: FloatArray) -> float | None:
    """How far `mover` lies along `direction` when, coming from far away, it first touches `fixed`.

    Parameters
    ----------
    fixed, mover : (n, 3) and (m, 3) arrays
        A.
    direction : (3,) array
        Unit vector.
    reach : (n, m) array
        Distance, A, at which two atoms touch.

    Returns
    -------
    float or None
        Shift, A; None where it passes without touching.
    """
    apart = mover[None, :, :] - fixed[:, None, :]
    along = apart @ direction
    under_root = along**2 - np.einsum("ijk,ijk->ij", apart, apart) + reach**2
    hit = under_root >= 0
    if not hit.any():
        return None
    return float((np.sqrt(under_root[hit]) - along[hit]).max())


def arrange(
    molecules: Sequence[tuple[IntArray, FloatArray]],
    excess: Sequence[float | None],
    far: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Positions, (N, 3) A, of molecules that come one after another from a random side.

    Parameters
    ----------
    molecules : sequence of (numbers, positions)
        Each about its own centroid.
    excess : sequence of float or None
        For every molecule after the first, what is added to the contact distances at which it stops, A; None for one
        that stops as soon as any atom is nearer than `far`.
    far : float
        A.
    rng : numpy Generator
    """
    placed = [molecules[0][1] @ random_rotation(rng).T]
    numbers = [molecules[0][0]]
    for (own, shape), extra in zip(molecules[1:], excess, strict=True):
        fixed, present = np.concatenate(placed), np.concatenate(numbers)
        contacts = contact_distances(present, own)
        reach = np.full_like(contacts, far) if extra is None else CONTACT * contacts + extra
        shift = None
        while shift is None:
            target = placed[rng.integers(len(placed))].mean(axis=0)
            mover, direction = shape @ random_rotation(rng).T + target, random_direction(rng)
            shift = touching_shift(fixed, mover, direction, reach)
        placed.append(mover + shift * direction)
        numbers.append(own)
    together = np.concatenate(placed)
    return np.asarray(together - together.mean(axis=0))


_PATTERNS = ("arc", "linear", "any")
_STRETCHED = 0.2
_TRIES = 1000
# O..N in A, then theta1, phi1, theta2, phi2, phi3 in rad: about what room temperature does to an H-bond.
_SPREAD = np.array([0.12, 0.2, 0.25, 0.2, 0.25, 0.25])
_SHORTEST = 2.7
# H..O of an H-bond of 1.75 A is at 0.64 of the sum of van der Waals radii.
_CLASH = 0.6


def nma_chain(size: int, rng: np.random.Generator, *, jitter: float, stretch: float) -> BareStructure:
    """One perturbed chain.

    Parameters
    ----------
    size : int
        Units.
    rng : numpy Generator
    jitter : float
        Standard deviation of every Cartesian coordinate about the chain of rigid units, A.
    stretch : float
        In one chain of five every O..N is longer by one and the same length, up to this, A.

    Raises
    ------
    ValueError
        When no chain without clashes is found.
    """
    extra = stretch * float(rng.random()) if rng.random() < _STRETCHED else 0.0
    for _ in range(_TRIES):
        system = _system(size, rng)
        structure = structure_of(system, crude_start(system, hbonds=_joints(system, extra, rng)))
        moved = structure.positions + rng.normal(scale=jitter, size=structure.positions.shape)
        if not _clashes(structure, moved):
            moved = (moved - moved.mean(axis=0)) @ random_rotation(rng).T
            label = f"{size} nma"
            return BareStructure(structure.numbers, moved, structure.molecules, (0,) * size, label, label)
    raise ValueError(f"chain of {size} NMA: expected one without clashes in {_TRIES} tries, found none")


def _system(size: int, rng: np.random.Generator) -> Chain:
    pattern = str(rng.choice(_PATTERNS))
    if pattern == "any" or size == 1:
        names = [str(name) for name in rng.choice(CONFORMERS, size=size - 1)]
        conformers: tuple[Conformer, ...] = tuple(names)  # type: ignore[arg-type]
    else:
        conformers = conformers_of(pattern, size)  # type: ignore[arg-type]
    acetyls, amines = get_args(Acetyl), get_args(Amine)
    rotamers = tuple(Rotamer(acetyls[rng.integers(2)], amines[rng.integers(2)]) for _ in range(size))
    return Chain(conformers, rotamers)


def _joints(system: Chain, extra: float, rng: np.random.Generator) -> list[FloatArray]:
    joints: list[FloatArray] = []
    for conformer in system.conformers:
        joint = crude_joint(conformer) + _SPREAD * rng.normal(size=6)
        joint[0] = max(joint[0], _SHORTEST) + extra
        joints.append(joint)
    return joints


def _clashes(structure: Structure, positions: FloatArray) -> bool:
    distances = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    apart = structure.molecules[:, None] != structure.molecules[None, :]
    return bool((apart & (distances < _CLASH * contact_distances(structure.numbers, structure.numbers))).any())


KINDS = ("ionic", "neutral", "nma", "charge-states")
SIZES = {
    "ionic": (1, 2, 2, 2, 3, 3, 4, 4),
    "neutral": (1, 2, 2, 2, 3, 3, 4, 4),
    "nma": (1, 2, 3, 4, 5, 6, 7, 8),
    "charge-states": (1, 2, 2),
}
"""Molecules of a cluster, by kind; sizes take turns, so that one listed twice comes twice as often."""

LARGEST_CHARGE = 2
STATES = (-1, 0, 1)
"""Charges, e, of every geometry of the kind ``charge-states``, one after another."""

_JITTER = 0.03
_REGIMES = ("near", "far", "mixed")
_REGIME_WEIGHTS = (0.4, 0.3, 0.3)
# Where nothing touches, the smallest contact distance (H..H) plus this is still within the cutoff.
_CLOSEST = 2.0


def clusters(
    kind: str,
    count: int,
    seed: int,
    *,
    first: int = 0,
    sizes: Sequence[int] = (),
    cutoff: float = 5.0,
    beyond: float = 10.0,
) -> tuple[BareStructure, ...]:
    """Structures `first` to `first + count - 1` of a generated set.

    Parameters
    ----------
    kind : str
        ``ionic`` (ammonium, formate, water, methanol, formaldehyde; total charge -2 to 2), ``neutral`` (water,
        methanol, formaldehyde, ammonia, formic acid), ``nma`` (chains, their H-bonds as they are or stretched) or
        ``charge-states`` (what is neutral, in contact, and the same geometry with an electron more and one less: only
        the total charge tells them apart, and no molecule has a charge of its own).
    count : int
    seed : int
        Not negative.
    first : int
    sizes : sequence of int
        Numbers of molecules, which take turns; those of `SIZES` when left out.
    cutoff : float
        A. Of the clusters of several molecules 4 in 10 have every molecule within it of another, 3 in 10 have all their
        molecules farther apart; in the others each molecule is one or the other by chance.
    beyond : float
        How far past the cutoff molecules are put, A.

    Returns
    -------
    tuple of BareStructure
        Domain: total charge (ionic, charge-states), number of molecules (neutral, nma).

    Raises
    ------
    ValueError
        For another kind, or no or not positive sizes.
    """
    if kind not in KINDS:
        raise ValueError(f"clusters, kind: expected one of {', '.join(KINDS)}, found {kind!r}")
    chosen = tuple(sizes) or SIZES[kind]
    if min(chosen) < 1 or cutoff <= _CLOSEST or beyond <= 0:
        raise ValueError(
            f"clusters {kind}: expected sizes from 1, a cutoff above {_CLOSEST} A and a positive distance beyond, "
            f"found {chosen}, {cutoff}, {beyond}"
        )
    made: list[BareStructure] = []
    for place in range(first, first + count):
        turn = place // len(STATES) if kind == "charge-states" else place
        rng = np.random.default_rng([KINDS.index(kind), seed, turn])
        one = _cluster(kind, chosen[turn % len(chosen)], rng, cutoff, beyond)
        made.append(_in_state(one, STATES[place % len(STATES)]) if kind == "charge-states" else one)
    return tuple(made)


def _in_state(one: BareStructure, charge: int) -> BareStructure:
    """The same atoms as one molecule of another charge: which of its molecules holds it, the labels say."""
    nobody: IntArray = np.zeros(len(one), dtype=np.int64)
    return replace(one, molecules=nobody, molecule_charges=(charge,), domain=_charge_state(charge))


def _cluster(kind: str, size: int, rng: np.random.Generator, cutoff: float, beyond: float) -> BareStructure:
    if kind == "nma":
        return nma_chain(size, rng, jitter=_JITTER, stretch=cutoff + beyond)
    drawn = _composition(IONIC if kind == "ionic" else NEUTRAL, size, rng)
    molecules = [(one.numbers, _perturbed(one, rng)) for one in drawn]
    regime = "near" if kind == "charge-states" else str(rng.choice(_REGIMES, p=_REGIME_WEIGHTS))
    excess = [_excess(regime, cutoff, rng) for _ in range(size - 1)]
    positions = arrange(molecules, excess, cutoff + beyond * float(rng.random()), rng)
    charges = tuple(one.charge for one in drawn)
    owner: IntArray = np.repeat(np.arange(size), [len(one.numbers) for one in drawn])
    return BareStructure(
        numbers=np.concatenate([one.numbers for one in drawn]),
        positions=positions,
        molecules=owner,
        molecule_charges=charges,
        parent=_formula(drawn),
        domain=_charge_state(sum(charges)) if kind == "ionic" else f"{size} molecule{'s' if size > 1 else ''}",
    )


def _composition(choices: Sequence[Monomer], size: int, rng: np.random.Generator) -> list[Monomer]:
    """Molecules in the order of `choices`, so that the order of atoms tells nothing but the composition."""
    while True:
        places = sorted(int(place) for place in rng.integers(len(choices), size=size))
        drawn = [choices[place] for place in places]
        if abs(sum(one.charge for one in drawn)) <= LARGEST_CHARGE:
            return drawn


def _perturbed(one: Monomer, rng: np.random.Generator) -> FloatArray:
    moved = one.positions + rng.normal(scale=_JITTER, size=one.positions.shape)
    return np.asarray(moved - moved.mean(axis=0))


def _excess(regime: str, cutoff: float, rng: np.random.Generator) -> float | None:
    """More often near contact, where the energy changes fastest."""
    if regime == "far" or (regime == "mixed" and rng.random() < 0.5):
        return None
    return float((cutoff - _CLOSEST) * rng.random() ** 2)


def _charge_state(charge: int) -> str:
    return f"charge {charge:+d}" if charge else "charge 0"


def _formula(drawn: Sequence[Monomer]) -> str:
    counts = Counter(one.name for one in drawn)
    return " + ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
