"""Generate unlabelled clusters of molecules: ionic, neutral, in several charge states, and chains of N-methylacetamide.

Structure i of a set depends on kind, seed and i alone, so that any part of a set can be generated anywhere. Molecules
are rigid minima, slightly perturbed, at distances from contact to far beyond a network's cutoff; chains of
N-methylacetamide are bent, twisted and stretched, with every methyl rotamer.

The parent of a cluster is its composition: clusters of one composition differ in the positions of their molecules as
conformers of a molecule differ in those of its atoms, and a network that was trained on one of them has seen its
molecules together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from ase.data.vdw import vdw_radii

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.learning.datasets.labelled_structures import UnlabelledStructure
from hbcoop_dist.structures import CONFORMERS, Chain, Rotamer, Structure, conformers_of
from hbcoop_dist.structures.chains import Acetyl, Amine, Conformer
from hbcoop_dist.structures.monomers import crude_joint, crude_start, structure_of

KINDS = ("ionic", "neutral", "nma", "charge-states")
_FEW = (1, 2, 2, 2, 3, 3, 4, 4)
SIZES = {"ionic": _FEW, "neutral": _FEW, "nma": (1, 2, 3, 4, 5, 6, 7, 8), "charge-states": (1, 2, 2)}
"""Numbers of molecules by kind, used in turn; a size that is listed twice is used twice as often."""

LARGEST_CHARGE = 2
"""Largest absolute total charge of an ionic cluster, e."""

STATES = (-1, 0, 1)
"""Charges, e, of every geometry of the kind ``charge-states``, in turn."""

CONTACT = 0.7
"""Contact distance in sums of van der Waals radii: 1.90 A for H..O, as in strong H-bonds, and 2.13 A for O..O."""

_JITTER = 0.03
"""Standard deviation of every Cartesian coordinate, A."""
_REGIMES = ("near", "far", "mixed")
_REGIME_WEIGHTS = (0.4, 0.3, 0.3)
_CLOSEST = 2.0
"""Smallest cutoff, A: it exceeds the smallest contact distance (H..H), so that molecules in contact are within it."""

_PATTERNS = ("arc", "linear", "any")
_STRETCHED = 0.2
"""Probability that a chain is stretched."""
_TRIES = 1000
_SPREAD = np.array([0.12, 0.2, 0.25, 0.2, 0.25, 0.25])
"""Standard deviations of O..N in A, then theta1, phi1, theta2, phi2, phi3 in rad: about those at room temperature."""
_SHORTEST = 2.7
"""Shortest O..N, A."""
_CLASH = 0.6
"""Closest distance of two molecules of a chain in sums of van der Waals radii; H..O of 1.75 A is at 0.64."""


@dataclass(frozen=True, slots=True, eq=False)
class Monomer:
    """A molecule of clusters.

    Attributes
    ----------
    name : str
    charge : int
        e.
    numbers : (n,) int array
        Atomic numbers.
    positions : (n, 3) array
        A, about the centroid: a minimum of GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 2019, 15, 1652)
        to 1e-4 eV/A, alone and with its charge. Four decimals suffice, since positions are perturbed.
    """

    name: str
    charge: int
    numbers: IntArray
    positions: FloatArray


def _read_monomers() -> dict[str, Monomer]:
    from ase.io import read

    return {
        atoms.info["name"]: Monomer(atoms.info["name"], int(atoms.info["charge"]), atoms.numbers, atoms.positions)
        for atoms in read(Path(__file__).with_name("monomers.xyz"), index=":", format="extxyz")
    }


_MONOMERS = _read_monomers()
IONIC_MONOMERS = tuple(_MONOMERS[name] for name in ("ammonium", "formate", "water", "methanol", "formaldehyde"))
NEUTRAL_MONOMERS = tuple(_MONOMERS[name] for name in ("water", "methanol", "formaldehyde", "ammonia", "formic acid"))


def generate_clusters(
    kind: str,
    count: int,
    seed: int,
    *,
    first: int = 0,
    sizes: Sequence[int] = (),
    cutoff: float = 5.0,
    beyond: float = 10.0,
) -> tuple[UnlabelledStructure, ...]:
    """Generate the structures `first` to `first + count - 1` of a set.

    Parameters
    ----------
    kind : {"ionic", "neutral", "nma", "charge-states"}
        ``ionic``: ammonium, formate, water, methanol, formaldehyde, with a total charge from -2 to 2. ``neutral``:
        water, methanol, formaldehyde, ammonia, formic acid. ``nma``: chains with their H-bonds as they are or
        stretched. ``charge-states``: neutral clusters in contact, each also with an electron more and one less;
        geometries of the states are equal, and no molecule has a charge of its own.
    count : int
    seed : int
        Not negative.
    first : int
    sizes : sequence of int
        Numbers of molecules, used in turn; `SIZES` by default.
    cutoff : float
        A. Of the clusters of several molecules 4 in 10 have every molecule within it of another, 3 in 10 have all their
        molecules farther apart; in the others it is random for each molecule.
    beyond : float
        Largest distance of molecules past the cutoff, A.

    Returns
    -------
    tuple of UnlabelledStructure
        Domains are the total charge (ionic, charge-states) or the number of molecules (neutral, nma).

    Raises
    ------
    ValueError
        When the kind is unknown, or sizes or distances are out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"clusters, kind: expected one of {', '.join(KINDS)}, found {kind!r}")
    sizes_in_turn = tuple(sizes) or SIZES[kind]
    if min(sizes_in_turn) < 1 or cutoff <= _CLOSEST or beyond <= 0:
        raise ValueError(
            f"clusters {kind}: expected sizes from 1, a cutoff above {_CLOSEST} A and a positive distance beyond, "
            f"found {sizes_in_turn}, {cutoff}, {beyond}"
        )
    has_states = kind == "charge-states"
    structures: list[UnlabelledStructure] = []
    for index in range(first, first + count):
        turn = index // len(STATES) if has_states else index
        rng = np.random.default_rng([KINDS.index(kind), seed, turn])
        cluster = _generate_cluster(kind, sizes_in_turn[turn % len(sizes_in_turn)], rng, cutoff, beyond)
        structures.append(_in_charge_state(cluster, STATES[index % len(STATES)]) if has_states else cluster)
    return tuple(structures)


def _in_charge_state(cluster: UnlabelledStructure, charge: int) -> UnlabelledStructure:
    """The same atoms as one molecule of another charge, since its distribution over molecules is not known."""
    owner: IntArray = np.zeros(len(cluster), dtype=np.int64)
    return replace(cluster, molecules=owner, molecule_charges=(charge,), domain=_charge_domain(charge))


def _generate_cluster(
    kind: str, size: int, rng: np.random.Generator, cutoff: float, beyond: float
) -> UnlabelledStructure:
    if kind == "nma":
        return generate_chain(size, rng, jitter=_JITTER, stretch=cutoff + beyond)
    monomers = _composition(IONIC_MONOMERS if kind == "ionic" else NEUTRAL_MONOMERS, size, rng)
    molecules = [(monomer.numbers, _perturbed(monomer, rng)) for monomer in monomers]
    regime = "near" if kind == "charge-states" else str(rng.choice(_REGIMES, p=_REGIME_WEIGHTS))
    excess = [_excess(regime, cutoff, rng) for _ in range(size - 1)]
    positions = arrange(molecules, excess, cutoff + beyond * float(rng.random()), rng)
    charges = tuple(monomer.charge for monomer in monomers)
    owner: IntArray = np.repeat(np.arange(size), [len(monomer.numbers) for monomer in monomers])
    counts = Counter(monomer.name for monomer in monomers)
    return UnlabelledStructure(
        numbers=np.concatenate([monomer.numbers for monomer in monomers]),
        positions=positions,
        molecules=owner,
        molecule_charges=charges,
        parent=" + ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items()),
        domain=_charge_domain(sum(charges)) if kind == "ionic" else f"{size} molecule{'s' if size > 1 else ''}",
    )


def _composition(choices: Sequence[Monomer], size: int, rng: np.random.Generator) -> list[Monomer]:
    """Random molecules in the order of `choices`, so that the order of atoms depends on the composition alone."""
    while True:
        indices = sorted(int(index) for index in rng.integers(len(choices), size=size))
        monomers = [choices[index] for index in indices]
        if abs(sum(monomer.charge for monomer in monomers)) <= LARGEST_CHARGE:
            return monomers


def _perturbed(monomer: Monomer, rng: np.random.Generator) -> FloatArray:
    moved = monomer.positions + rng.normal(scale=_JITTER, size=monomer.positions.shape)
    return np.asarray(moved - moved.mean(axis=0))


def _excess(regime: str, cutoff: float, rng: np.random.Generator) -> float | None:
    """Distance beyond contact, A, more often small, where the energy changes fastest; None for one past the cutoff."""
    if regime == "far" or (regime == "mixed" and rng.random() < 0.5):
        return None
    return float((cutoff - _CLOSEST) * rng.random() ** 2)


def _charge_domain(charge: int) -> str:
    return f"charge {charge:+d}" if charge else "charge 0"


def arrange(
    molecules: Sequence[tuple[IntArray, FloatArray]],
    excess: Sequence[float | None],
    far: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Place molecules one after another, each approaching from a random direction.

    Parameters
    ----------
    molecules : sequence of (numbers, positions)
        Atomic numbers (n,) and positions (n, 3), A, of each about its own centroid.
    excess : sequence of float or None
        For every molecule after the first, the distance, A, added to the contact distances at which it stops; None for
        one that stops as soon as any atom is nearer than `far`.
    far : float
        A.
    rng : numpy.random.Generator

    Returns
    -------
    (N, 3) array
        Positions about the centroid of all atoms, A.
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
    positions = np.concatenate(placed)
    return np.asarray(positions - positions.mean(axis=0))


def contact_distances(first: IntArray, second: IntArray) -> FloatArray:
    """Return sums of van der Waals radii (Bondi, J. Phys. Chem. 1964, 68, 441) of atoms by their numbers, (n, m), A.

    Parameters
    ----------
    first, second : (n,) and (m,) int arrays
        Atomic numbers.
    """
    return np.asarray(vdw_radii[first][:, None] + vdw_radii[second][None, :])


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """Return a random rotation matrix, (3, 3), uniform over all rotations."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_quat(rng.normal(size=4)).as_matrix())


def random_direction(rng: np.random.Generator) -> FloatArray:
    """Return a random unit vector, (3,), uniform over the sphere."""
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def touching_shift(fixed: FloatArray, mover: FloatArray, direction: FloatArray, reach: FloatArray) -> float | None:
    """Return the shift along a direction at which a molecule from far away first touches another.

    Parameters
    ----------
    fixed, mover : (n, 3) and (m, 3) arrays
        A.
    direction : (3,) array
        Unit vector.
    reach : (n, m) array
        Distances, A, at which two atoms touch.

    Returns
    -------
    float or None
        Shift of `mover` along `direction`, A; None when it passes without touching.
    """
    apart = mover[None, :, :] - fixed[:, None, :]
    along = apart @ direction
    under_root = along**2 - np.einsum("ijk,ijk->ij", apart, apart) + reach**2
    hit = under_root >= 0
    if not hit.any():
        return None
    return float((np.sqrt(under_root[hit]) - along[hit]).max())


def generate_chain(size: int, rng: np.random.Generator, *, jitter: float, stretch: float) -> UnlabelledStructure:
    """Generate one perturbed chain of N-methylacetamide.

    Parameters
    ----------
    size : int
        Units.
    rng : numpy.random.Generator
    jitter : float
        Standard deviation of every Cartesian coordinate about the chain of rigid units, A.
    stretch : float
        In one chain of five every O..N is longer by one and the same random length up to this, A.

    Raises
    ------
    ValueError
        When no chain without clashes is found.
    """
    extra = stretch * float(rng.random()) if rng.random() < _STRETCHED else 0.0
    for _ in range(_TRIES):
        chain = _random_chain(size, rng)
        structure = structure_of(chain, crude_start(chain, hbonds=_random_joints(chain, extra, rng)))
        moved = structure.positions + rng.normal(scale=jitter, size=structure.positions.shape)
        if not _clashes(structure, moved):
            moved = (moved - moved.mean(axis=0)) @ random_rotation(rng).T
            name = f"{size} nma"
            return UnlabelledStructure(structure.numbers, moved, structure.molecules, (0,) * size, name, name)
    raise ValueError(f"chain of {size} NMA: expected one without clashes in {_TRIES} tries, found none")


def _random_chain(size: int, rng: np.random.Generator) -> Chain:
    pattern = str(rng.choice(_PATTERNS))
    if pattern == "any" or size == 1:
        names = [str(name) for name in rng.choice(CONFORMERS, size=size - 1)]
        conformers: tuple[Conformer, ...] = tuple(names)  # type: ignore[arg-type]
    else:
        conformers = conformers_of(pattern, size)  # type: ignore[arg-type]
    acetyls, amines = get_args(Acetyl), get_args(Amine)
    rotamers = tuple(Rotamer(acetyls[rng.integers(2)], amines[rng.integers(2)]) for _ in range(size))
    return Chain(conformers, rotamers)


def _random_joints(chain: Chain, extra: float, rng: np.random.Generator) -> list[FloatArray]:
    joints = [crude_joint(conformer) + _SPREAD * rng.normal(size=6) for conformer in chain.conformers]
    for joint in joints:
        joint[0] = max(joint[0], _SHORTEST) + extra
    return joints


def _clashes(structure: Structure, positions: FloatArray) -> bool:
    distances = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    apart = structure.molecules[:, None] != structure.molecules[None, :]
    return bool((apart & (distances < _CLASH * contact_distances(structure.numbers, structure.numbers))).any())
