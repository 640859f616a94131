"""Tree coordinates: explicit, invertible, with the exact gradient, and constraints that hold exactly."""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.optimize.constraints import free_basis
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, Structure, make_chain
from hbcoop_dist.structures.construction import crude_start, structure_of, tree_of
from hbcoop_dist.structures.geometry import hbond_geometry, planarity
from hbcoop_dist.structures.tree_coordinates import Tree

CHAINS = [
    Chain((), (DEFAULT_ROTAMER,)),
    make_chain("arc", 2),
    make_chain("linear", 4),
    make_chain("arc", 3, "water"),
    make_chain("linear", 2, "water"),
]


def _displaced(chain: Chain, seed: int = 0) -> tuple[Tree, np.ndarray]:
    q = crude_start(chain)
    return tree_of(chain), q + 0.05 * np.random.default_rng(seed).normal(size=q.shape)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_coordinates_invert_positions(chain: Chain) -> None:
    tree, q = _displaced(chain)
    x = tree.positions(q)
    back = tree.coordinates(x)
    assert tree.positions(back) == pytest.approx(x, abs=1e-12)
    turned = (back - q + np.pi) % (2 * np.pi) - np.pi  # torsions may come back a full turn away
    assert turned == pytest.approx(np.zeros_like(q), abs=1e-12)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_coordinates_ignore_rigid_motion(chain: Chain) -> None:
    tree, q = _displaced(chain)
    x = tree.positions(q)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    moved = tree.coordinates(x @ rotation.T + [3.0, -50.0, 7.0])
    assert np.cos(moved) == pytest.approx(np.cos(tree.coordinates(x)), abs=1e-10)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_gradient_is_the_derivative(chain: Chain) -> None:
    tree, q = _displaced(chain)
    weights = np.random.default_rng(2).normal(size=tree.positions(q).shape)
    exact = tree.gradient(q, weights)
    step = 1e-6
    numeric = [
        np.sum(weights * (tree.positions(q + step * e) - tree.positions(q - step * e))) / (2 * step)
        for e in np.eye(len(q))
    ]
    assert exact == pytest.approx(np.array(numeric), abs=1e-6)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_gradient_takes_many_right_hand_sides(chain: Chain) -> None:
    tree, q = _displaced(chain)
    weights = np.random.default_rng(3).normal(size=(4, *tree.positions(q).shape))
    one_by_one = np.array([tree.gradient(q, row) for row in weights])
    assert tree.gradient(q, weights) == pytest.approx(one_by_one, abs=1e-12)
    assert tree.jacobian(q).T @ weights[0].ravel() == pytest.approx(one_by_one[0], abs=1e-10)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_degrees_of_freedom(length: int) -> None:
    """22 n - 3 in the mirror plane; 36 n - 6 in all, less two torsions for each H-bond (design, section 2)."""
    chain = make_chain("linear", length) if length > 1 else CHAINS[0]
    tree = tree_of(chain)
    assert tree.n_q == 36 * length - 6
    assert free_basis(tree, "mirror").shape[1] == 22 * length - 3
    assert free_basis(tree, "torsions").shape[1] == 36 * length - 6 - 2 * (length - 1)
    assert free_basis(tree, "none").shape[1] == 36 * length - 6


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("constraint", ["mirror", "torsions", "none"])
def test_constraints_hold_exactly_and_are_orthonormal(chain: Chain, constraint) -> None:
    tree, q = tree_of(chain), crude_start(chain)
    basis = free_basis(tree, constraint)
    assert basis.T @ basis == pytest.approx(np.eye(basis.shape[1]), abs=1e-12)
    moved = structure_of(chain, q + basis @ (0.1 * np.random.default_rng(4).normal(size=basis.shape[1])))
    before, after = hbond_geometry(structure_of(chain, q)), hbond_geometry(moved)
    if constraint == "mirror":
        assert planarity(moved) < 1e-12
    if constraint in ("mirror", "torsions"):
        assert np.cos(np.radians(after.phi1)) == pytest.approx(np.cos(np.radians(before.phi1)), abs=1e-12)
        assert np.cos(np.radians(after.phi2)) == pytest.approx(np.cos(np.radians(before.phi2)), abs=1e-12)
    if constraint == "none" and chain.length > 1:
        assert planarity(moved) > 1e-3


def test_a_wrong_vector_is_refused() -> None:
    tree = tree_of(CHAINS[1])
    with pytest.raises(ValueError, match=r"expected coordinates \(66,\), found \(3,\)"):
        tree.positions(np.zeros(3))
    with pytest.raises(ValueError, match="expected positions"):
        Structure(np.array([1]), np.zeros((2, 3)), np.array([0]), ("other",))
