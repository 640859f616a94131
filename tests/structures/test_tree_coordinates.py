"""Tree coordinates are invertible and have the exact gradient."""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, Structure, make_chain
from hbcoop_dist.structures.monomers import crude_start, tree_of
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


def test_a_wrong_vector_is_refused() -> None:
    tree = tree_of(CHAINS[1])
    with pytest.raises(ValueError, match=r"expected coordinates \(66,\), found \(3,\)"):
        tree.positions(np.zeros(3))
    with pytest.raises(ValueError, match="expected positions"):
        Structure(np.array([1]), np.zeros((2, 3)), np.array([0]), ("other",))
