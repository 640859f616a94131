"""Charge equilibration against closed forms, what leaks and what does not, and the laws of a scheme."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.data import covalent_radii

from hbcoop_dist.learning.datasets.labelled_structures import LabelledStructure
from hbcoop_dist.learning.networks.schemes.base import build_scheme
from hbcoop_dist.learning.networks.schemes.celli import equilibrate
from hbcoop_dist.learning.networks.schemes.electrostatics import COULOMB, born_charges
from hbcoop_dist.testing.schemes import (
    ELEMENTS,
    SHAPE,
    cluster_batch,
    edge_network,
    grid_cluster,
    separated,
    structure_energies,
)

VARIANTS = [
    {},
    {"charge_constraint": "fragment"},
    {"layer": 1, "embed_charges": False, "hidden": 3},
]


@pytest.fixture(params=VARIANTS, ids=lambda one: "-".join(map(str, one.values())) or "default")
def net(request):
    return edge_network("celli", request.param)


def values(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("total", [0, 1])
def test_two_atoms(total):
    batch = cluster_batch([grid_cluster(2, charge=total)])
    chi, hardness, widths = values(3.1, 7.4), values(1.2, 0.6), values(0.31, 0.76)
    charges, potential = equilibrate(chi, hardness, widths, batch, fragments=False)
    r = (batch.positions[0] - batch.positions[1]).norm().item()
    j = COULOMB * math.erf(r / math.sqrt(2 * (0.31**2 + 0.76**2))) / r
    j11, j22 = COULOMB / (math.sqrt(math.pi) * 0.31), COULOMB / (math.sqrt(math.pi) * 0.76)
    h11, h22 = 1.2 + j11, 0.6 + j22
    q1 = (7.4 - 3.1 + total * (h22 - j)) / (h11 + h22 - 2 * j)
    np.testing.assert_allclose(charges.numpy(), [q1, total - q1], rtol=0, atol=1e-12)
    expected = [j11 * q1 + j * (total - q1), j * q1 + j22 * (total - q1)]
    np.testing.assert_allclose(potential.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("a", [4.0, 5.64])
def test_rock_salt(a):
    """One charge decides; the energy of unit charges is Madelung's less what their widths take away, shell by shell."""
    atoms = bulk("NaCl", "rocksalt", a=a)
    one = LabelledStructure(np.array([6, 8]), atoms.positions, 0.0, None, "p", "d", cell=np.array(atoms.cell))
    chi, hardness, widths = values(3.1, 7.4), values(1.2, 0.6), values(0.76, 0.31)
    charges, potential = equilibrate(chi, hardness, widths, cluster_batch([one]), fragments=False)
    unit = -1.747564594633182 / (a / 2) + (1 / 0.76 + 1 / 0.31) / (2 * math.sqrt(math.pi))
    for step in itertools.product(range(-8, 9), repeat=3):
        r = a / 2 * math.hypot(*step)
        if sum(step) % 2:
            unit += math.erfc(r / math.sqrt(2 * (0.76**2 + 0.31**2))) / r
        elif r:
            unit -= sum(math.erfc(r / (2 * width)) / (2 * r) for width in (0.76, 0.31))
    q = (7.4 - 3.1) / (1.2 + 0.6 + 2 * COULOMB * unit)
    np.testing.assert_allclose(charges.numpy(), [q, -q], rtol=0, atol=1e-11)
    assert (0.5 * charges @ potential).item() == pytest.approx(COULOMB * unit * q**2, abs=1e-10)


def test_a_charged_cell_is_stationary_and_each_fragment_keeps_its_charge():
    one = dataclasses.replace(grid_cluster(7, charge=2, molecules=3), cell=np.diag([5.0, 6.0, 4.0]))
    batch = cluster_batch([one, grid_cluster(4), dataclasses.replace(grid_cluster(1, charge=-1), cell=4.0 * np.eye(3))])
    torch.manual_seed(0)
    chi, hardness = 5 * torch.randn(12, dtype=torch.float64), torch.rand(12, dtype=torch.float64)
    charges, potential = equilibrate(chi, hardness, torch.full_like(chi, 0.8), batch, fragments=True)
    torch.testing.assert_close(batch.sum_molecules(charges), batch.molecule_charge, rtol=0, atol=1e-13)
    slope = chi + hardness * charges + potential
    for owner in batch.molecule.unique():
        mine = slope[batch.molecule == owner]
        torch.testing.assert_close(mine, mine[:1].expand_as(mine), rtol=0, atol=1e-11)


def test_in_a_cell_widths_hardnesses_and_electronegativities_learn():
    """Charges and potential have the derivatives that differences say, beside a molecule too."""
    crystal = dataclasses.replace(grid_cluster(4, molecules=2), cell=np.diag([4.0, 5.0, 4.5]))
    batch = cluster_batch([crystal, grid_cluster(2)])
    torch.manual_seed(0)
    chi, hardness = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    widths = torch.linspace(0.4, 0.9, 6, dtype=torch.float64)
    given = [one.requires_grad_() for one in (chi, hardness, widths)]
    assert torch.autograd.gradcheck(lambda *them: equilibrate(*them, batch, fragments=True), given, atol=1e-6)


@pytest.mark.parametrize("fragments", [False, True])
def test_charges_are_stationary_and_sum_to_what_is_given(fragments):
    batch = cluster_batch(
        [grid_cluster(7, charge=2, molecules=3), grid_cluster(1, charge=-1), grid_cluster(5, molecules=2)]
    )
    torch.manual_seed(0)
    chi, hardness = 5 * torch.randn(13, dtype=torch.float64), torch.rand(13, dtype=torch.float64)
    charges, potential = equilibrate(chi, hardness, torch.ones_like(chi), batch, fragments=fragments)
    torch.testing.assert_close(batch.sum_structures(charges), batch.charge, rtol=0, atol=1e-13)
    slope = chi + hardness * charges + potential
    owners = batch.molecule if fragments else batch.structure
    if fragments:
        torch.testing.assert_close(batch.sum_molecules(charges), batch.molecule_charge, rtol=0, atol=1e-13)
    for owner in owners.unique():
        mine = slope[owners == owner]
        torch.testing.assert_close(mine, mine[:1].expand_as(mine), rtol=0, atol=1e-11)


@pytest.mark.parametrize("charge", [-2, 0, 3])
def test_a_network_conserves_charge(net, charge):
    batch = cluster_batch([grid_cluster(7, charge=charge, molecules=2), grid_cluster(3, charge=charge)])
    charges = net(batch)[1].charges
    torch.testing.assert_close(batch.sum_structures(charges), batch.charge, rtol=0, atol=1e-13)


def test_a_single_atom_has_all_the_charge_and_its_self_energy():
    net = edge_network("celli")
    batch = cluster_batch([grid_cluster(1, charge=1)])
    added = net(batch)[1]
    width = torch.nn.functional.softplus(net.scheme.widths)[batch.species].item()
    assert added.charges.item() == pytest.approx(1.0, abs=1e-14)
    assert added.energy.item() == pytest.approx(COULOMB / (2 * math.sqrt(math.pi) * width), rel=1e-13)


def test_charge_leaks_between_atoms_far_apart_unless_molecules_keep_theirs():
    """Two different atoms 1000 A apart: q = (chi2 - chi1) / (H11 + H22), however far, or none."""
    one = dataclasses.replace(
        grid_cluster(2),
        numbers=np.array([1, 8]),
        positions=np.array([[0.0, 0.0, 0.0], [1000.0, 0.0, 0.0]]),
        molecules=np.array([0, 1]),
        molecule_charges=(0, 0),
    )
    torch.manual_seed(0)
    leaking = build_scheme("celli", SHAPE, {}).double()
    with torch.no_grad():
        leaking.electronegativity.species.copy_(values(0.9, 1.0, 1.2, 1.4))
    batch = cluster_batch([one])
    features, radial = torch.zeros(2, SHAPE.channels).double(), torch.zeros(0, SHAPE.n_radial).double()
    memory = {}
    leaking.after_layer(0, features, radial, batch, memory)
    stiffness = 2.0 + COULOMB / math.sqrt(math.pi) * sum(1 / covalent_radii[number] for number in (1, 8))
    expected = 5.0 * (1.4 - 0.9) / (stiffness - 2 * COULOMB / 1000)
    np.testing.assert_allclose(memory["charges"].detach().numpy(), [expected, -expected], rtol=1e-6)
    assert expected > 0.05
    keeping = build_scheme("celli", SHAPE, {"charge_constraint": "fragment"}).double()
    keeping.load_state_dict(leaking.state_dict())
    keeping.after_layer(0, features, radial, batch, memory)
    np.testing.assert_allclose(memory["charges"].detach().numpy(), [0, 0], atol=1e-13)


def test_only_global_equilibration_couples_fragments_at_infinity():
    first, second = grid_cluster(4, seed=1, charge=1), grid_cluster(5, seed=2)
    for constraint, extensive in (("fragment", True), ("global", False)):
        net = edge_network("celli", {"charge_constraint": constraint})
        assert net.scheme.extensive is extensive
        total = structure_energies(net, [first, second]).sum()
        left = (structure_energies(net, [separated(first, second, 1e5)]) - total).abs().item()
        assert left < 1e-7 if extensive else left > 1e-2


def test_starts_from_the_features_as_they_were():
    torch.manual_seed(0)
    scheme = build_scheme("celli", SHAPE, {}).double()
    widths = torch.nn.functional.softplus(scheme.widths).detach().numpy()
    np.testing.assert_allclose(widths, covalent_radii[list(ELEMENTS)], rtol=1e-6)
    batch = cluster_batch([grid_cluster(7)])
    features = torch.randn(7, SHAPE.channels, dtype=torch.float64)
    radial = torch.rand(batch.edges.shape[1], SHAPE.n_radial, dtype=torch.float64)
    memory = {}
    assert torch.equal(scheme.after_layer(0, features, radial, batch, memory), features)
    assert 0 < memory["charges"].abs().max() < 1


@pytest.mark.parametrize("constraint", ["global", "fragment"])
def test_born_charges_sum_to_the_total_charge(constraint):
    net = edge_network("celli", {"charge_constraint": constraint})
    batch = cluster_batch([grid_cluster(7, charge=1, molecules=2)], moving=True)
    found = born_charges(net(batch)[1].charges, batch).sum(0)
    torch.testing.assert_close(found, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 1.0}, r"scheme celli: expected options among charge_constraint, .*hidden, found sigma"),
        ({"charge_constraint": "molecule"}, r"expected 'global' or 'fragment', found 'molecule'"),
        ({"layer": 2}, r"option layer: expected an integer from 0 to 1, found 2"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build_scheme("celli", SHAPE, options)


def test_charge_loss_can_be_done_without():
    assert build_scheme("celli", SHAPE, {}).fits_charges
    assert not build_scheme("celli", SHAPE, {"charge_loss": False}).fits_charges
