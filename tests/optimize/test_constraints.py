"""Constraints hold exactly, and leave the right number of coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.optimize.constraints import free_basis, odd_basis
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, make_chain
from hbcoop_dist.structures.geometry import hbond_geometry, planarity
from hbcoop_dist.structures.monomers import crude_start, structure_of, tree_of

CHAINS = [
    Chain((), (DEFAULT_ROTAMER,)),
    make_chain("arc", 2),
    make_chain("linear", 4),
    make_chain("arc", 3, "water"),
    make_chain("linear", 2, "water"),
]


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


@pytest.mark.parametrize("length", [1, 2, 5])
def test_odd_directions_are_counted_and_complete_the_mirror_plane(length: int) -> None:
    """12 n - 1 for bare chains; with those of the mirror plane they span the directions of constant torsions."""
    tree = tree_of(make_chain("linear", length) if length > 1 else CHAINS[0])
    odd, even, torsions = odd_basis(tree), free_basis(tree, "mirror"), free_basis(tree, "torsions")
    assert odd.shape[1] == 12 * length - 1
    both = np.hstack([odd, even])
    assert both.T @ both == pytest.approx(np.eye(both.shape[1]), abs=1e-12)
    assert both @ both.T == pytest.approx(torsions @ torsions.T, abs=1e-12)


def test_an_unknown_constraint_is_refused() -> None:
    with pytest.raises(ValueError, match="constraint: expected one of mirror, torsions, none, found 'plane'"):
        free_basis(tree_of(CHAINS[0]), "plane")  # type: ignore[arg-type]
