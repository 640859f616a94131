"""Chains of N-methylacetamide off their minima: bent, turned, stretched, with every methyl rotamer."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.generalization.arrange import contact_distances, random_rotation
from hbcoop_dist.generalization.bare import BareStructure
from hbcoop_dist.structures import CONFORMERS, Rotamer, Structure, System, conformers_of
from hbcoop_dist.structures.build import crude_joint, crude_start, structure_of
from hbcoop_dist.structures.system import Acetyl, Amine, Conformer

FloatArray = NDArray[np.float64]

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


def _system(size: int, rng: np.random.Generator) -> System:
    pattern = str(rng.choice(_PATTERNS))
    if pattern == "any" or size == 1:
        names = [str(name) for name in rng.choice(CONFORMERS, size=size - 1)]
        conformers: tuple[Conformer, ...] = tuple(names)  # type: ignore[arg-type]
    else:
        conformers = conformers_of(pattern, size)  # type: ignore[arg-type]
    acetyls, amines = get_args(Acetyl), get_args(Amine)
    rotamers = tuple(Rotamer(acetyls[rng.integers(2)], amines[rng.integers(2)]) for _ in range(size))
    return System(conformers, rotamers)


def _joints(system: System, extra: float, rng: np.random.Generator) -> list[FloatArray]:
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
