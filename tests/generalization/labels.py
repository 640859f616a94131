"""Labelled sets small enough to train on in seconds, and networks small enough to train."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.network_spec import NetworkSpec
from hbcoop_dist.models import load
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.monomers import donor_water

SMALL = NetworkSpec((1, 8), cutoff=3.5, channels=4, max_ell=1, hidden_ell=1, radial_mlp=(8,), readout=4)


def waters(count: int, seed: int) -> list[Structure]:
    """One to three distorted waters in a row, 3 A or 8 A apart."""
    random = np.random.default_rng(seed)
    made = []
    for place in range(count):
        gap = 8.0 if place % 4 == 3 else 3.0
        parts = [("water", donor_water() + [gap * k, 0.0, 0.0]) for k in range(1 + place % 3)]
        structure = Structure.from_molecules(parts)
        made.append(structure.with_positions(structure.positions + 0.08 * random.standard_normal((len(structure), 3))))
    return made


@functools.cache
def labelled(count: int = 24, seed: int = 0, teacher: str = "gfn2-xtb") -> tuple[LabelledStructure, ...]:
    """Waters with a model's energies and forces, its charges where it has some, and all that follows from them."""
    model = load(teacher)
    made = []
    for structure, found in zip(waters(count, seed), model.evaluate(waters(count, seed)), strict=True):
        n = len(structure.kinds)
        alone = model.evaluate([structure.subset([k]) for k in range(n)], forces=False)
        made.append(
            LabelledStructure(
                numbers=structure.numbers,
                positions=structure.positions,
                energy=found.energy,
                forces=found.forces,
                parent=f"{n} waters",
                domain="cluster" if n > 1 else "molecule",
                charges=found.charges,
                dipole=None if found.charges is None else found.charges @ structure.positions,
                molecules=structure.molecules,
                molecule_charges=(0,) * n,
                interaction_energy=found.energy - sum(one.energy for one in alone) if n > 1 else None,
            )
        )
    return tuple(made)


def turned(structure: LabelledStructure, seed: int = 5) -> tuple[LabelledStructure, np.ndarray]:
    """A structure turned and moved, and the rotation."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    turn = turn * np.linalg.det(turn)
    moved = structure.positions @ turn.T + [3.0, -2.0, 7.0]
    return replace(structure, positions=moved), turn


def charged(structure: LabelledStructure, charge: int) -> LabelledStructure:
    n = len(structure.molecule_charges)
    return replace(structure, charge=charge, molecule_charges=(charge, *(0,) * (n - 1)))


def together(one: LabelledStructure, other: LabelledStructure, distance: float) -> LabelledStructure:
    """Two structures as one, the second moved by a distance, A."""
    return replace(
        one,
        numbers=np.concatenate([one.numbers, other.numbers]),
        positions=np.concatenate([one.positions, other.positions + [distance, 0, 0]]),
        energy=0.0,
        forces=None,
        charges=None,
        dipole=None,
        interaction_energy=None,
        charge=one.charge + other.charge,
        molecules=np.concatenate([one.molecules, other.molecules + len(one.molecule_charges)]),
        molecule_charges=(*one.molecule_charges, *other.molecule_charges),
    )
