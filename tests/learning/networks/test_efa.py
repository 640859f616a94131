"""Euclidean attention against the sum over pairs that it never writes down, and the laws of a scheme."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from hbcoop_dist.learning.networks.schemes.base import build_scheme
from hbcoop_dist.learning.networks.schemes.efa import attend, centred
from hbcoop_dist.learning.networks.schemes.sphere_quadrature import choose_degree, plane_waves
from hbcoop_dist.testing.schemes import (
    SHAPE,
    cluster_batch,
    edge_network,
    grid_cluster,
    network_forces,
    require_batch_equals_single_structures,
    separated,
    structure_energies,
)

# Energies of the small network are a few eV, and errors of averages at most these.
EXACT = {"tolerance": 1e-12}
VARIANTS = [{}, {"layers": [0], "frequencies": 3, "values": 4}, EXACT]


@pytest.fixture(params=VARIANTS, ids=lambda one: "-".join(map(str, one)) or "default")
def net(request):
    return edge_network("efa", request.param)


def waves_for(omega, width, tolerance):
    return plane_waves(tuple(omega), tuple(choose_degree(one * width, tolerance) for one in omega))


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-10])
def test_attention_is_the_sum_over_pairs(tolerance):
    torch.manual_seed(0)
    batch = cluster_batch([grid_cluster(7, spread=3.0), grid_cluster(4, spread=3.0)])
    queries, keys, values = (torch.randn(11, width, dtype=torch.float64) for width in (5, 5, 3))
    omega = torch.linspace(0.2, 1.0, 5, dtype=torch.float64)
    places = centred(batch)
    r = (places[:, :, None] - places[:, None, :]).norm(dim=-1)
    waves = torch.sinc(r[..., None] * omega / torch.pi)
    padded = [batch.padded(one) for one in (queries, keys, values)]
    expected = torch.einsum("sik,sjk,sijk,sjv->siv", padded[0], padded[1], waves, padded[2])
    found = attend(*padded, places, waves_for(omega.tolist(), r.max().item(), tolerance))
    size = torch.einsum("sik,sjk,sjv->siv", *(one.abs() for one in padded))
    assert (found - expected).abs().div(size + 1e-300)[batch.filled].max() < tolerance


def test_starts_as_the_network_without():
    torch.manual_seed(0)
    scheme = build_scheme("efa", SHAPE, {}).double()
    batch = cluster_batch([grid_cluster(7)])
    features = torch.randn(7, SHAPE.channels, dtype=torch.float64)
    assert torch.equal(scheme.after_layer(0, features, torch.zeros(0), batch, {}), features)
    assert scheme.energy([features], batch, {}) is None


def wide(extent):
    one = grid_cluster(5)
    return dataclasses.replace(one, positions=one.positions * np.array([extent, 1.0, 1.0]))


def test_a_wider_structure_gets_a_finer_rule_and_leaves_the_others_theirs():
    net = edge_network("efa", {"largest": 5.0, "tolerance": 1e-6})
    together = [grid_cluster(3), wide(10.0), grid_cluster(7), wide(30.0)]
    degrees = net.scheme.degrees(cluster_batch(together))
    assert degrees[0] == degrees[2] == net.scheme.shared_degrees
    assert max(net.scheme.shared_degrees) < max(degrees[1]) < max(degrees[3])
    require_batch_equals_single_structures(net, together)


def test_the_step_to_a_finer_rule_is_as_small_as_the_tolerance():
    one = wide(8.0)
    for tolerance in (1e-2, 1e-4, 1e-6):
        coarse, fine = (edge_network("efa", {"largest": largest, "tolerance": tolerance}) for largest in (25.0, 60.0))
        assert max(fine.scheme.shared_degrees) > max(coarse.scheme.shared_degrees)
        step = (structure_energies(coarse, [one]) - structure_energies(fine, [one])).abs().item()
        assert step < 10 * tolerance


def test_a_structure_wider_than_every_rule_is_refused():
    net = edge_network("efa")
    with pytest.raises(ValueError, match="lower the frequency"):
        structure_energies(net, [separated(grid_cluster(2), grid_cluster(2), 1000.0)])


def test_fragments_far_apart_hear_each_other_as_one_over_the_distance():
    """The asymptote: what is left of the coupling, times the distance, neither vanishes nor grows."""
    net = edge_network("efa", {"layers": [1], "frequencies": 1, "max_frequency": 0.5, "tolerance": 1e-8})
    assert not net.scheme.extensive
    first, second = grid_cluster(4, seed=1), grid_cluster(5, seed=2)
    total = structure_energies(net, [first, second]).sum()
    sizes = []
    for middle in (30.0, 60.0, 120.0):
        period = np.linspace(middle, middle + 2 * np.pi / 0.5, 9)
        left = structure_energies(net, [separated(first, second, one) for one in period]) - total
        sizes.append(left.abs().max().item() * middle)
        assert left.max() > 0 > left.min()
    assert min(sizes) > 0.1
    assert max(sizes) < 1.5 * min(sizes)


def test_cost_is_linear_in_atoms():
    """Nothing as large as the pairs is kept for the gradient."""
    torch.manual_seed(0)
    kept = []
    for n in (200, 400):
        batch = cluster_batch([grid_cluster(n, spread=3.5)], moving=True)
        scheme = build_scheme("efa", SHAPE, {"tolerance": 1e-2, "largest": 60.0}).double()
        features = torch.randn(n, SHAPE.channels, dtype=torch.float64, requires_grad=True)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one, sizes=sizes: sizes.append(one.numel()), lambda _: None
        ):
            scheme.after_layer(0, features, torch.zeros(0), batch, {})
        kept.append(sum(sizes))
    assert kept[1] < 2.05 * kept[0]


def test_structures_that_repeat_are_refused():
    scheme = build_scheme("efa", SHAPE, {})
    crystal = dataclasses.replace(grid_cluster(2), cell=5.0 * np.eye(3))
    scheme.require_supported(cluster_batch([grid_cluster(2)]).cells)
    with pytest.raises(ValueError, match="scheme efa: expected structures that are not periodic, found 1 of 2 with"):
        scheme.require_supported(cluster_batch([grid_cluster(2), crystal]).cells)


def test_a_structure_does_not_hear_the_next():
    net = edge_network("efa")
    batch = cluster_batch([grid_cluster(3), grid_cluster(4)], moving=True)
    energy = net(batch)[0][batch.structure == 0].sum()
    (gradient,) = torch.autograd.grad(energy, batch.positions)
    assert gradient[:3].abs().max() > 0
    assert torch.equal(gradient[3:], torch.zeros_like(gradient[3:]))
    torch.testing.assert_close(network_forces(net, batch).sum(0), torch.zeros(3).double(), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box": 20.0}, r"scheme efa: expected options among .*largest, .*found box"),
        ({"layers": [2]}, r"option layers: expected an integer from 0 to 1, found 2"),
        ({"layers": 1}, r"option layers: expected a valid list, found 1"),
        ({"max_frequency": 50.0}, r"lower the frequency"),
        ({"frequencies": 0}, r"option frequencies: expected greater than or equal to 1, found 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build_scheme("efa", SHAPE, options)


def test_rules_are_chosen_by_the_width_of_a_structure() -> None:
    """Two atoms 10 A apart: the width is their distance, not half of it, and decides when it exceeds `largest`."""
    pair = dataclasses.replace(grid_cluster(2), positions=np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]))
    for largest, width in ((6.0, 10.0), (9.9, 10.0), (12.0, 12.0)):
        scheme = build_scheme("efa", SHAPE, {"largest": largest, "tolerance": 1e-6})
        expected = tuple(choose_degree(frequency * width, 1e-6) for frequency in scheme.omega)
        assert scheme.degrees(cluster_batch([pair])) == [expected]
