"""Small labelled structures and networks for the contract suites of schemes and architectures."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.hyperparameters import NetworkSpec
from hbcoop_dist.learning.networks.network_module import Network, Output, energy_and_forces
from hbcoop_dist.models import load
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.monomers import donor_water

SMALL = NetworkSpec((1, 8), cutoff=3.5, channels=4, max_ell=1, hidden_ell=1, radial_mlp=(8,), readout=4)
"""A network of H and O that trains in seconds."""

SALT = replace(SMALL, elements=(11, 17), cutoff=4.0)
"""A network of Na and Cl whose cutoff exceeds the smallest cells of rock salt."""

SKEWED = np.array([[5.2, 0.3, -0.4], [2.1, 4.7, 0.2], [-1.9, 1.6, 5.5]])
"""Lattice vectors without a right angle, A."""


def water_chains(count: int, seed: int) -> list[Structure]:
    """Return structures of one to three distorted waters in a row, 3 A or 8 A apart."""
    random = np.random.default_rng(seed)
    structures = []
    for index in range(count):
        gap = 8.0 if index % 4 == 3 else 3.0
        parts = [("water", donor_water() + [gap * k, 0.0, 0.0]) for k in range(1 + index % 3)]
        structure = Structure.from_molecules(parts)
        displacements = 0.08 * random.standard_normal((len(structure), 3))
        structures.append(structure.with_positions(structure.positions + displacements))
    return structures


@functools.cache
def labelled_waters(count: int = 24, seed: int = 0, teacher: str = "toy") -> tuple[LabelledStructure, ...]:
    """Return water chains labelled by a registered model, with the charges and dipoles that it provides."""
    model = load(teacher)
    structures = water_chains(count, seed)
    labelled = []
    for structure, evaluation in zip(structures, model.evaluate(structures), strict=True):
        n = len(structure.kinds)
        charges = evaluation.charges
        alone = model.evaluate([structure.subset([k]) for k in range(n)], forces=False)
        labelled.append(
            LabelledStructure(
                numbers=structure.numbers,
                positions=structure.positions,
                energy=evaluation.energy,
                forces=evaluation.forces,
                parent=f"{n} waters",
                domain="cluster" if n > 1 else "molecule",
                charges=charges,
                dipole=None if charges is None else charges @ structure.positions,
                molecules=structure.molecules,
                molecule_charges=(0,) * n,
                interaction_energy=evaluation.energy - sum(part.energy for part in alone) if n > 1 else None,
            )
        )
    return tuple(labelled)


def rotated(structure: LabelledStructure, seed: int = 5) -> tuple[LabelledStructure, FloatArray]:
    """Return a rotated and translated structure, and the rotation matrix."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    rotation = rotation * np.linalg.det(rotation)
    return replace(structure, positions=structure.positions @ rotation.T + [3.0, -2.0, 7.0]), rotation


def with_charge(structure: LabelledStructure, charge: int) -> LabelledStructure:
    """Return a structure of another total charge, e, on its first molecule."""
    n = len(structure.molecule_charges)
    return replace(structure, charge=charge, molecule_charges=(charge, *(0,) * (n - 1)))


def joined(first: LabelledStructure, second: LabelledStructure, shift: float | FloatArray) -> LabelledStructure:
    """Return two structures as one without labels, the second translated by a vector, or along x, A."""
    vector = np.array([shift, 0.0, 0.0]) if isinstance(shift, float | int) else shift
    return replace(
        first,
        numbers=np.concatenate([first.numbers, second.numbers]),
        positions=np.concatenate([first.positions, second.positions + vector]),
        energy=0.0,
        forces=None,
        charges=None,
        dipole=None,
        interaction_energy=None,
        charge=first.charge + second.charge,
        molecules=np.concatenate([first.molecules, second.molecules + len(first.molecule_charges)]),
        molecule_charges=(*first.molecule_charges, *second.molecule_charges),
    )


def rock_salt(*, cubic: bool = False, a: float = 5.64, rattle: float = 0.0, seed: int = 0) -> LabelledStructure:
    """Return rock salt of two or eight ions with charges +1 and -1, displaced at random by `rattle`, A."""
    from ase.build import bulk

    atoms = bulk("NaCl", "rocksalt", a=a, cubic=cubic)
    displacements = rattle * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    return LabelledStructure(
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions + displacements,
        energy=0.0,
        forces=None,
        parent="NaCl",
        domain="cubic" if cubic else "primitive",
        charges=np.where(atoms.numbers == 11, 1.0, -1.0),
        cell=np.array(atoms.cell),
    )


@functools.cache
def labelled_salt(count: int = 16, seed: int = 0) -> tuple[LabelledStructure, ...]:
    """Return rattled rock salt, primitive and cubic cells in turn, labelled by a Lennard-Jones potential."""
    from ase import Atoms
    from ase.calculators.lj import LennardJones

    labelled = []
    for index in range(count):
        a = 5.4 + 0.05 * (index % 9)
        structure = rock_salt(cubic=index % 2 == 1, a=a, rattle=0.12, seed=100 * seed + index)
        atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=True)
        atoms.calc = LennardJones(sigma=2.4, epsilon=0.1, rc=7.0, smooth=True)
        labelled.append(replace(structure, energy=atoms.get_potential_energy(), forces=atoms.get_forces()))
    return tuple(labelled)


def random_crystal(
    n: int,
    elements: tuple[int, ...] = (1, 8),
    *,
    cell: FloatArray = SKEWED,
    charge: int = 0,
    molecules: int = 1,
    seed: int = 0,
) -> LabelledStructure:
    """Return n atoms at random positions at least 1 A apart, images included, some of them outside the cell."""
    from ase import Atoms

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


def supercell(structure: LabelledStructure, times: tuple[int, int, int]) -> LabelledStructure:
    """Return a supercell without labels, whose molecules are copies of those of the cell."""
    steps = np.stack(np.meshgrid(*[np.arange(n) for n in times], indexing="ij"), axis=-1).reshape(-1, 3)
    assert structure.cell is not None
    copies, per_cell = len(steps), len(structure.molecule_charges)
    return replace(
        structure,
        numbers=np.tile(structure.numbers, copies),
        positions=np.concatenate([structure.positions + step @ structure.cell for step in steps]),
        forces=None,
        charges=None,
        dipole=None,
        interaction_energy=None,
        charge=copies * structure.charge,
        molecules=np.concatenate([structure.molecules + per_cell * k for k in range(copies)]),
        molecule_charges=structure.molecule_charges * copies,
        cell=np.array(times)[:, None] * structure.cell,
    )


def perturbed_network(spec: NetworkSpec) -> Network:
    """Return a network without zero parameters, so that schemes that start as the identity act as well."""
    network = Network(spec)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=random, dtype=value.dtype))
    return network


def batch_for(
    network: Network, structures: Sequence[LabelledStructure], *, dtype: torch.dtype = torch.float64
) -> AtomBatch:
    """Return structures as a batch of a network."""
    return AtomBatch.of(structures, network.spec.elements, network.spec.cutoff, dtype=dtype)


def evaluate_network(network: Network, *structures: LabelledStructure) -> tuple[Output, torch.Tensor]:
    """Return output and forces of a network in float64."""
    return energy_and_forces(network, batch_for(network, structures))
