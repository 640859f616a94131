"""Generate unlabelled clusters of molecules: ionic, neutral, in several charge states, and chains of N-methylacetamide.

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

import numpy as np

from hbcoop_dist.generalization.arrange import arrange
from hbcoop_dist.generalization.bare import BareStructure, FloatArray, IntArray
from hbcoop_dist.generalization.monomers import IONIC, NEUTRAL, Monomer
from hbcoop_dist.generalization.nma_chains import nma_chain

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
