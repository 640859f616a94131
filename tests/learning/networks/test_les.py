"""Latent Ewald summation against closed forms, and the laws of a scheme."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from ase.build import bulk

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.schemes.base import build_scheme
from hbcoop_dist.learning.networks.schemes.electrostatics import COULOMB, born_charges
from hbcoop_dist.learning.networks.schemes.les import latent_energy, shift_charges
from hbcoop_dist.testing.schemes import (
    SHAPE,
    cluster_batch,
    edge_network,
    grid_cluster,
    mixed_clusters,
    separated,
    structure_energies,
)

VARIANTS = [
    {},
    {"self_energy": True, "sigma": 0.7},
    {"charge_sum": "constrained", "hidden": 5},
    {"charge_sum": "constrained", "charge_constraint": "fragment"},
]


@pytest.fixture(params=VARIANTS, ids=lambda one: "-".join(map(str, one.values())) or "default")
def net(request):
    return edge_network("les", request.param)


def values(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_two_charges(sigma):
    batch = cluster_batch([grid_cluster(2)])
    r = (batch.positions[0] - batch.positions[1]).norm().item()
    charges = torch.tensor([0.7, -0.4], dtype=torch.float64)
    pair = COULOMB * 0.7 * -0.4 * math.erf(r / (math.sqrt(2) * sigma)) / r
    found = latent_energy(charges, batch, sigma)
    np.testing.assert_allclose(found.numpy(), [pair / 2, pair / 2], rtol=1e-13)
    own = COULOMB / (math.sqrt(2 * math.pi) * sigma)
    with_self = latent_energy(charges, batch, sigma, self_energy=True)
    np.testing.assert_allclose(with_self.numpy(), [pair / 2 + own * 0.49, pair / 2 + own * 0.16], rtol=1e-13)


@pytest.mark.parametrize("self_energy", [False, True])
def test_rock_salt(self_energy):
    """Madelung's energy, with charges far narrower than their distances; with half of it for either ion."""
    atoms = bulk("NaCl", "rocksalt", a=6.0)
    one = LabelledStructure(np.array([6, 8]), atoms.positions, 0.0, None, "p", "d", cell=np.array(atoms.cell))
    found = latent_energy(values(0.5, -0.5), cluster_batch([one]), 0.4, self_energy=self_energy)
    expected = -0.5 * COULOMB * 0.25 * 1.747564594633182 / 3.0
    if self_energy:
        expected += COULOMB * 0.25 / (math.sqrt(2 * math.pi) * 0.4)
    np.testing.assert_allclose(found.numpy(), [expected, expected], rtol=0, atol=1e-10)


def test_charges_may_all_change_sign():
    batch = cluster_batch([grid_cluster(5)])
    charges = torch.linspace(-0.5, 0.8, 5, dtype=torch.float64)
    assert torch.equal(latent_energy(charges, batch, 1.0), latent_energy(-charges, batch, 1.0))


def test_single_atom_has_its_self_energy_only():
    batch = cluster_batch([grid_cluster(1)])
    added = edge_network("les")(batch)[1]
    assert added.energy.item() == 0.0
    with_self = latent_energy(added.charges, batch, 1.0, self_energy=True)
    assert with_self.item() == pytest.approx(COULOMB * added.charges.item() ** 2 / math.sqrt(2 * math.pi), rel=1e-13)


@pytest.mark.parametrize("fragments", [False, True])
def test_shift_gives_the_charge_asked_for(fragments):
    batch = cluster_batch(mixed_clusters())
    torch.manual_seed(0)
    before = torch.randn(10, dtype=torch.float64)
    after = shift_charges(before, batch, fragments=fragments)
    torch.testing.assert_close(batch.sum_structures(after), batch.charge, rtol=0, atol=1e-14)
    if fragments:
        torch.testing.assert_close(batch.sum_molecules(after), batch.molecule_charge, rtol=0, atol=1e-14)
    owners = batch.molecule if fragments else batch.structure
    for owner in owners.unique():
        moved = (after - before)[owners == owner]
        torch.testing.assert_close(moved, moved[:1].expand_as(moved), rtol=0, atol=1e-14)


def test_fragments_far_apart_are_two_point_charges_and_then_nothing():
    net = edge_network("les")
    first, second = grid_cluster(4, seed=1), grid_cluster(5, seed=2)
    alone = [net(cluster_batch([one]))[1].charges.sum().item() for one in (first, second)]
    total = structure_energies(net, [first, second]).sum()
    for distance, within in ((1e3, 0.02), (1e5, 2e-4)):
        joined = structure_energies(net, [separated(first, second, distance)])
        assert (joined - total).item() * distance == pytest.approx(COULOMB * alone[0] * alone[1], rel=within)


def test_only_a_global_shift_couples_fragments_at_infinity():
    first, second = grid_cluster(4, seed=1, charge=1), grid_cluster(5, seed=2)
    for constraint, extensive in (("fragment", True), ("global", False)):
        net = edge_network("les", {"charge_sum": "constrained", "charge_constraint": constraint})
        assert net.scheme.extensive is extensive
        total = structure_energies(net, [first, second]).sum()
        left = (structure_energies(net, [separated(first, second, 1e5)]) - total).abs().item()
        assert left < 1e-7 if extensive else left > 1e-2


def test_starts_near_the_short_range_model():
    torch.manual_seed(0)
    scheme = build_scheme("les", SHAPE, {}).double()
    batch = cluster_batch([grid_cluster(7)])
    features = [torch.randn(7, SHAPE.channels, dtype=torch.float64) for _ in range(2)]
    added = scheme.energy(features, batch, {})
    assert 0 < added.charges.abs().max() < 0.2
    assert sum(one.numel() for one in scheme.parameters()) == 2 * SHAPE.channels


def test_born_charges_of_fixed_charges():
    batch = cluster_batch([grid_cluster(5)], moving=True)
    charges = torch.linspace(-0.5, 0.8, 5, dtype=torch.float64)
    expected = charges[:, None, None] * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(born_charges(charges, batch), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("charge", [0, 1])
def test_born_charges_sum_to_the_total_charge(charge):
    net = edge_network("les", {"charge_sum": "constrained"})
    batch = cluster_batch([grid_cluster(7, charge=charge), grid_cluster(3, charge=charge)], moving=True)
    found = born_charges(net(batch)[1].charges, batch)
    off_diagonal = found - torch.diag_embed(torch.diagonal(found, dim1=1, dim2=2))
    assert off_diagonal.abs().max() > 1e-3
    expected = charge * torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    torch.testing.assert_close(batch.sum_structures(found), expected, rtol=0, atol=1e-10)


def test_born_charges_need_moving_positions():
    with pytest.raises(ValueError, match="require a gradient"):
        born_charges(torch.zeros(2), cluster_batch([grid_cluster(2)]))


def test_born_charges_of_a_crystal_are_refused():
    crystal = dataclasses.replace(grid_cluster(2), cell=5.0 * np.eye(3))
    with pytest.raises(ValueError, match="expected structures that are not periodic"):
        born_charges(torch.zeros(2), cluster_batch([crystal], moving=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 1.0}, r"scheme les: expected options among sigma, .*hidden, found width"),
        ({"sigma": 0.0}, r"scheme les: option sigma: expected greater than 0, found 0.0"),
        ({"charge_sum": "zero"}, r"option charge_sum: expected 'free' or 'constrained', found 'zero'"),
        ({"charge_constraint": "molecule"}, r"expected 'global' or 'fragment', found 'molecule'"),
        ({"hidden": -1}, r"option hidden: expected greater than or equal to 0, found -1"),
        ({"self_energy": "yes"}, r"option self_energy: expected a valid boolean, found 'yes'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build_scheme("les", SHAPE, options)
