"""Kernels against their closed forms, down to distance zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import erf

from hbcoop_dist.learning.networks.schemes.electrostatics import (
    COULOMB,
    gaussian_coulomb,
    screened,
    squared_distances,
    without_diagonal,
)
from hbcoop_dist.testing.schemes import cluster_batch, grid_cluster


def test_coulomb_constant():
    assert pytest.approx(14.399645, abs=1e-6) == COULOMB


@pytest.mark.parametrize("variance", [0.3, 1.0, 2.7])
def test_kernel_is_the_closed_form(variance):
    r = np.geomspace(1e-3, 1e3, 400)
    found = screened(torch.tensor(r**2), variance).numpy()
    np.testing.assert_allclose(found, erf(r / np.sqrt(2 * variance)) / r, rtol=2e-14)


def test_kernel_at_zero_and_its_derivatives():
    at_zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    value = screened(at_zero, 1.0)
    assert value.item() == pytest.approx(math.sqrt(2 / math.pi), rel=1e-15)
    (first,) = torch.autograd.grad(value, at_zero, create_graph=True)
    (second,) = torch.autograd.grad(first, at_zero)
    # sqrt(2 / pi) (1 - r^2 / 6 + r^4 / 40 - ...)
    assert first.item() == pytest.approx(-math.sqrt(2 / math.pi) / 6, rel=1e-14)
    assert second.item() == pytest.approx(math.sqrt(2 / math.pi) / 20, rel=1e-14)


def test_series_meets_the_closed_form_in_value_and_derivatives():
    edge = 2e-3 * torch.tensor([1 - 1e-12, 1 + 1e-12], dtype=torch.float64)
    edge.requires_grad_()
    value = screened(edge, 1.0)
    (first,) = torch.autograd.grad(value.sum(), edge, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), edge)
    for found, within in ((value, 1e-14), (first, 1e-11), (second, 1e-8)):
        assert found[0].item() == pytest.approx(found[1].item(), rel=within)


def test_gaussian_charges_touch_their_own_at_the_self_energy():
    batch = cluster_batch([grid_cluster(3), grid_cluster(5)])
    widths = torch.linspace(0.4, 0.9, 10, dtype=torch.float64).reshape(2, 5)
    found = gaussian_coulomb(squared_distances(batch), widths)
    diagonal = torch.diagonal(found, dim1=1, dim2=2)
    torch.testing.assert_close(diagonal, COULOMB / (math.sqrt(math.pi) * widths), rtol=1e-14, atol=0)
    torch.testing.assert_close(found, found.transpose(1, 2), rtol=1e-14, atol=0)
    assert torch.equal(torch.diagonal(without_diagonal(found), dim1=1, dim2=2), torch.zeros_like(widths))


def test_gaussian_charges_make_a_positive_definite_matrix():
    batch = cluster_batch([grid_cluster(7, spread=0.4)])
    widths = torch.full((1, 7), 0.6, dtype=torch.float64)
    assert torch.linalg.eigvalsh(gaussian_coulomb(squared_distances(batch), widths)).min() > 0


def test_coincident_atoms_have_finite_derivatives():
    places = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    squared = (places[:, :, None] - places[:, None, :]).square().sum(-1)
    (first,) = torch.autograd.grad(screened(squared, 1.0).sum(), places, create_graph=True)
    (second,) = torch.autograd.grad(first[0, 0, 0], places)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
