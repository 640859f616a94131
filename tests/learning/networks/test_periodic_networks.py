"""What every network keeps for structures that repeat; and that without a scheme it is mace-torch's own there too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.atom_batches import AtomBatch
from hbcoop_dist.learning.networks.network_module import Network, Output, energy_and_forces
from hbcoop_dist.learning.networks.registry import SCHEMES
from hbcoop_dist.learning.networks.schemes.base import build_scheme
from hbcoop_dist.models.families.mace import quiet
from hbcoop_dist.testing.learning_examples import SKEWED, SMALL, random_crystal, rotated, supercell, water_chains

FITTED = replace(SMALL, atomic_energies=(-13.6, -430.0), scale=1.5, average_neighbours=8.0)
FRAGMENT = {"charge_constraint": "fragment"}
VARIANTS = {
    "none": ("none", {}),
    "charge-embedding": ("charge-embedding", {}),
    "les": ("les", {}),
    "les-fragment": ("les", {"charge_sum": "constrained", "self_energy": True, **FRAGMENT}),
    "celli": ("celli", {}),
    "celli-fragment": ("celli", FRAGMENT),
}


def network_of(scheme: str, options: dict[str, object]) -> Network:
    """With parameters that have moved a little from the first ones: some schemes start as nothing."""
    network = Network(replace(FITTED, scheme=scheme, scheme_options=options))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if scheme == "celli":
            network.scheme.electronegativity.species += torch.tensor([-1.0, 1.0])
    return network


@pytest.fixture(params=VARIANTS, scope="module")
def network(request: pytest.FixtureRequest) -> Network:
    return network_of(*VARIANTS[request.param])


def evaluated(network: Network, *structures: LabelledStructure) -> tuple[Output, torch.Tensor]:
    return energy_and_forces(network, batch_of(network, *structures))


def same(network: Network, one: LabelledStructure, other: LabelledStructure, *, within: float = 1e-9) -> np.ndarray:
    """Energy and charges are; forces of the other."""
    first, _ = evaluated(network, one)
    second, forces = evaluated(network, other)
    np.testing.assert_allclose(second.energy.item(), first.energy.item(), rtol=0, atol=within)
    if first.charges is not None:
        assert second.charges is not None
        np.testing.assert_allclose(second.charges.numpy(), first.charges.numpy(), rtol=0, atol=within)
    return forces.numpy()


def batch_of(network: Network, *structures: LabelledStructure, dtype: torch.dtype = torch.float64) -> AtomBatch:
    return AtomBatch.of(structures, network.spec.elements, network.spec.cutoff, dtype=dtype)


def test_without_a_scheme_it_is_mace_torch_s_own_network() -> None:
    """Its energy and forces from its own reading of atoms with a cell, and its own neighbours."""
    from ase import Atoms

    network = Network(FITTED)
    with quiet():
        from mace import data
        from mace.tools import AtomicNumberTable
    spec = network.spec
    for n, seed in ((5, 0), (1, 1), (12, 2)):
        one = random_crystal(n, seed=seed)
        atoms = Atoms(one.numbers, one.positions, cell=one.cell, pbc=True)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            seen = data.AtomicData.from_config(
                data.config_from_atoms(atoms), z_table=AtomicNumberTable(list(spec.elements)), cutoff=spec.cutoff
            )
        finally:
            torch.set_default_dtype(before)
        whole = {**seen.to_dict(), "batch": torch.zeros(n, dtype=torch.long), "ptr": torch.tensor([0, n])}
        theirs = network.backbone.network({**whole, "head": torch.zeros(1, dtype=torch.long)})
        ours, forces = energy_and_forces(network, batch_of(network, one))
        atomic = sum(spec.atomic_energies[spec.elements.index(z)] for z in one.numbers)
        expected = spec.scale * theirs["energy"].item() + atomic
        np.testing.assert_allclose(ours.energy.item(), expected, rtol=1e-13)
        scale = spec.scale * theirs["forces"].detach().numpy()
        np.testing.assert_allclose(forces.numpy(), scale, atol=1e-12 * max(1.0, np.abs(scale).max()))


def test_a_supercell_has_as_many_times_the_energy(network: Network) -> None:
    one = random_crystal(6, molecules=2)
    once, forces = evaluated(network, one)
    assert torch.abs(forces).max() > 0.1
    for times in ((2, 1, 1), (1, 2, 2)):
        copies = int(np.prod(times))
        found, slopes = evaluated(network, supercell(one, times))
        np.testing.assert_allclose(found.energy.item(), copies * once.energy.item(), rtol=0, atol=1e-8)
        np.testing.assert_allclose(slopes, np.tile(forces, (copies, 1)), rtol=0, atol=1e-8)
        if once.charges is not None:
            assert found.charges is not None
            np.testing.assert_allclose(found.charges, np.tile(once.charges, copies), rtol=0, atol=1e-9)


def test_which_images_are_given_where_they_are_and_which_way_they_are_turned_does_not_matter(network: Network) -> None:
    one = random_crystal(6, molecules=2, charge=1)
    _, forces = evaluated(network, one)
    steps = np.random.default_rng(1).integers(-2, 3, (6, 3))
    elsewhere = replace(one, positions=one.positions + steps @ SKEWED + [1.7, -0.6, 2.9])
    np.testing.assert_allclose(same(network, one, elsewhere), forces, rtol=0, atol=1e-8)
    # the same lattice by other vectors
    other = replace(one, cell=np.array([[1, 1, 0], [0, 1, 0], [-1, 0, -1]]) @ SKEWED)
    np.testing.assert_allclose(same(network, one, other), forces, rtol=0, atol=1e-8)
    moved, turn = rotated(one)
    along = replace(moved, cell=SKEWED @ turn.T)
    np.testing.assert_allclose(same(network, one, along), forces.numpy() @ turn.T, rtol=0, atol=1e-8)


def test_the_order_of_atoms_does_not_matter(network: Network) -> None:
    one = random_crystal(6, molecules=2, charge=1)
    order = np.random.default_rng(1).permutation(6)
    mixed = replace(
        one, numbers=one.numbers[order], positions=one.positions[order], molecules=one.molecules[order], forces=None
    )
    first, forces = evaluated(network, one)
    second, slopes = evaluated(network, mixed)
    np.testing.assert_allclose(second.energy.item(), first.energy.item(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(slopes, forces[order], rtol=0, atol=1e-10)


def test_forces_are_differences_of_the_energy(network: Network) -> None:
    """In a cell smaller than the cutoff, where an atom moves with its own images, too."""
    step = 1e-4
    for one in (random_crystal(6, molecules=2, charge=-1), random_crystal(2, cell=0.6 * SKEWED, seed=3)):
        _, forces = evaluated(network, one)
        for place in ((0, 0), (1, 1), (len(one) - 1, 2)):
            energies = []
            for sign in (1, -1):
                positions = one.positions.copy()
                positions[place] += sign * step
                energies.append(evaluated(network, replace(one, positions=positions))[0].energy.item())
            expected = -(energies[0] - energies[1]) / (2 * step)
            assert forces[place].item() == pytest.approx(expected, rel=1e-6, abs=2e-6)


def mixed() -> list[LabelledStructure]:
    """Crystals and molecules, charged and not, larger and smaller in turns."""
    (water,) = water_chains(1, 0)
    molecule = LabelledStructure(water.numbers, water.positions, 0.0, None, "w", "w", charge=1)
    return [
        molecule,
        random_crystal(7, molecules=2, charge=1),
        random_crystal(1, charge=-1),
        replace(random_crystal(1), cell=None),
    ]


def test_a_batch_of_crystals_and_molecules_is_its_structures_one_by_one(network: Network) -> None:
    together, slopes = evaluated(network, *mixed())
    alone = [evaluated(network, one) for one in mixed()]
    np.testing.assert_allclose(together.energy, [output.energy.item() for output, _ in alone], rtol=1e-13)
    np.testing.assert_allclose(slopes, np.concatenate([slope for _, slope in alone]), rtol=0, atol=1e-10)
    crystals = [one for one in mixed() if one.cell is not None]
    energies = [float(output.energy) for (output, _), one in zip(alone, mixed(), strict=True) if one.cell is not None]
    np.testing.assert_allclose(evaluated(network, *crystals)[0].energy, energies, rtol=1e-13)


def test_forces_of_a_training_network_can_be_differentiated_by_its_parameters(network: Network) -> None:
    network.zero_grad()
    _, forces = energy_and_forces(network, batch_of(network, *mixed()), training=True)
    (forces**2).sum().backward()
    slopes = {name: one.grad for name, one in network.named_parameters() if one.grad is not None}
    assert all(bool(torch.isfinite(one).all()) for one in slopes.values())
    moved = {name.partition(".")[0] for name, one in slopes.items() if bool((one != 0).any())}
    assert moved == {"backbone"} | ({"scheme"} if network.spec.scheme != "none" else set())
    network.zero_grad()


@pytest.mark.parametrize("variant", VARIANTS)
def test_float32_differs_from_float64_by_round_off(variant: str) -> None:
    network = network_of(*VARIANTS[variant])
    whole, forces = evaluated(network, *mixed())
    single, slopes = energy_and_forces(network.float(), batch_of(network, *mixed(), dtype=torch.float32))
    np.testing.assert_allclose(single.energy, whole.energy, rtol=0, atol=2e-4)
    np.testing.assert_allclose(slopes, forces, rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("variant", ["none", "les-fragment", "celli", "celli-fragment"])
def test_a_molecule_in_a_growing_cell_is_a_molecule(variant: str) -> None:
    """At once where nothing reaches beyond the cutoff; otherwise as the cube of the width, since it is neutral."""
    network = network_of(*VARIANTS[variant])
    (water,) = water_chains(1, 0)
    alone = LabelledStructure(water.numbers, water.positions, 0.0, None, "w", "w")
    expected = evaluated(network, alone)[0].energy.item()
    left = []
    for length in (15.0, 30.0):
        found = evaluated(network, replace(alone, cell=length * np.eye(3)))[0].energy.item()
        left.append(length**3 * (found - expected))
    if variant == "none":
        np.testing.assert_allclose(left, 0, atol=1e-8)
    else:
        assert abs(left[1]) > 1e-2
        assert left[0] == pytest.approx(left[1], rel=0.05)


def test_what_is_not_defined_for_cells_is_refused_before_anything_is_computed() -> None:
    defined = {name for name in SCHEMES if build_scheme(name, FITTED.shape, {}).periodic}
    assert defined == {scheme for scheme, _ in VARIANTS.values()}
    network = Network(replace(FITTED, scheme="efa"))
    evaluated(network, mixed()[0])
    with pytest.raises(ValueError, match="scheme efa: expected structures that are not periodic, found 2 of 4"):
        evaluated(network, *mixed())
