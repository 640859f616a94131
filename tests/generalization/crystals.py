"""Structures that repeat: rock salt, ice-like and shapeless ones, and labels for them from a force field of ASE."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from labels import SMALL

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure

SALT = replace(SMALL, elements=(11, 17), cutoff=4.0)
"""A network for rock salt whose neighbours reach beyond the smallest cells."""

SKEWED = np.array([[5.2, 0.3, -0.4], [2.1, 4.7, 0.2], [-1.9, 1.6, 5.5]])
"""A cell without a right angle, A."""


def rock_salt(*, cubic: bool = False, a: float = 5.64, rattle: float = 0.0, seed: int = 0) -> LabelledStructure:
    """Two or eight ions, moved at random by `rattle`, A, in their cell; charges +1 and -1."""
    atoms = bulk("NaCl", "rocksalt", a=a, cubic=cubic)
    moved = atoms.positions + rattle * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    return LabelledStructure(
        numbers=atoms.numbers.astype(np.int64),
        positions=moved,
        energy=0.0,
        forces=None,
        parent="NaCl",
        domain="cubic" if cubic else "primitive",
        charges=np.where(atoms.numbers == 11, 1.0, -1.0),
        cell=np.array(atoms.cell),
    )


def shapeless(
    n: int,
    elements: tuple[int, ...] = (1, 8),
    *,
    cell: np.ndarray = SKEWED,
    charge: int = 0,
    molecules: int = 1,
    seed: int = 0,
) -> LabelledStructure:
    """n atoms at random places that keep 1 A apart, images included; some lie outside the cell."""
    rng = np.random.default_rng(seed)
    while True:
        atoms = Atoms(np.full(n, 1), scaled_positions=rng.uniform(-0.4, 1.4, (n, 3)), cell=cell, pbc=True)
        distances = atoms.get_all_distances(mic=True)
        if n == 1 or distances[np.triu_indices(n, 1)].min() > 1.0:
            break
    return LabelledStructure(
        numbers=rng.choice(elements, n),
        positions=rng.uniform(-0.4, 1.4, 3) @ cell + atoms.positions,
        energy=0.0,
        forces=None,
        parent="p",
        domain="d",
        charge=charge,
        molecules=np.arange(n) % molecules,
        molecule_charges=(charge, *[0] * (molecules - 1)),
        cell=cell,
    )


def repeated(one: LabelledStructure, times: tuple[int, int, int]) -> LabelledStructure:
    """A supercell, whose molecules are copies of the first one's; without its labels."""
    steps = np.stack(np.meshgrid(*[np.arange(n) for n in times], indexing="ij"), axis=-1).reshape(-1, 3)
    assert one.cell is not None
    copies, per = len(steps), len(one.molecule_charges)
    return replace(
        one,
        numbers=np.tile(one.numbers, copies),
        positions=np.concatenate([one.positions + step @ one.cell for step in steps]),
        forces=None,
        charges=None,
        dipole=None,
        interaction_energy=None,
        charge=copies * one.charge,
        molecules=np.concatenate([one.molecules + per * k for k in range(copies)]),
        molecule_charges=one.molecule_charges * copies,
        cell=np.array(times)[:, None] * one.cell,
    )


@functools.cache
def labelled_salt(count: int = 16, seed: int = 0) -> tuple[LabelledStructure, ...]:
    """Rattled rock salt, primitive and cubic cells in turns, with energies and forces of Lennard-Jones."""
    made = []
    for place in range(count):
        a = 5.4 + 0.05 * (place % 9)
        one = rock_salt(cubic=place % 2 == 1, a=a, rattle=0.12, seed=100 * seed + place)
        atoms = Atoms(one.numbers, one.positions, cell=one.cell, pbc=True)
        atoms.calc = LennardJones(sigma=2.4, epsilon=0.1, rc=7.0, smooth=True)
        made.append(replace(one, energy=atoms.get_potential_energy(), forces=atoms.get_forces()))
    return tuple(made)
