"""Hessians of isolated bodies and first Hessians of chains."""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.models import registry
from hbcoop_dist.optimize.constraints import body_basis
from hbcoop_dist.optimize.minimization import body_hessian, guess_hessian, positive
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.monomers import donor_body, donor_water, tree_of


@pytest.mark.parametrize("constraint", ["mirror", "none"])
def test_the_hessian_of_water_is_the_second_derivative_of_its_energy(constraint) -> None:
    toy, body = registry.load("toy"), donor_body()
    s = body.coordinates(donor_water()) + 0.02
    hessian = body_hessian(toy, body, s, constraint)
    basis, step = body_basis(body, constraint), 1e-3

    def energy(y: np.ndarray) -> float:
        return toy.evaluate([Structure.from_molecules([("water", body.positions(s + basis @ y))])])[0].energy

    k = basis.shape[1]
    numeric = np.empty((k, k))
    for i, a in enumerate(step * np.eye(k)):
        for j, b in enumerate(step * np.eye(k)):
            numeric[i, j] = (energy(a + b) - energy(a - b) - energy(b - a) + energy(-a - b)) / (4 * step**2)
    assert basis.T @ hessian @ basis == pytest.approx(numeric, rel=5e-3, abs=5e-3 * np.abs(numeric).max())
    frozen = np.eye(body.n_dof) - basis @ basis.T
    assert np.abs(hessian @ frozen).max() < 1e-9


def test_negative_and_small_curvatures_are_lifted_and_zeros_stay() -> None:
    vectors, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    hessian = (vectors * [-2.0, 0.01, 3.0, 0.0]) @ vectors.T
    assert np.linalg.eigvalsh(positive(hessian, 0.05)) == pytest.approx([0.0, 0.05, 2.0, 3.0], abs=1e-12)


def test_blocks_of_a_first_hessian_are_at_their_bodies() -> None:
    tree = tree_of(make_chain("arc", 2, "water"))
    blocks = [(index + 1.0) * np.eye(body.n_dof) for index, body in enumerate(tree.bodies)]
    hessian = guess_hessian(tree, blocks)
    for index, block in enumerate(blocks):
        assert hessian[tree.body_slice(index), tree.body_slice(index)] == pytest.approx(block)
    assert np.count_nonzero(hessian - np.diag(np.diag(hessian))) == 0
    assert (np.diag(hessian) > 0).all()
