"""Warm starts save force calls and lead to the same minima; Hessian blocks come from similar elements."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from starts import MONOMER, crude, monomers

from hbcoop_dist.models import registry
from hbcoop_dist.optimize.constraints import free_basis, odd_basis
from hbcoop_dist.optimize.lowest_modes import StationaryPoint, find_lowest_modes
from hbcoop_dist.optimize.minimization import Minimised, minimise
from hbcoop_dist.optimize.warm_starts import (
    OUT_OF_PLANE,
    SMALLEST_CURVATURE,
    Seed,
    leave_plane,
    transplant_hessian,
    warm_start,
)
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, Rotamer, make_chain
from hbcoop_dist.structures.geometry import dihedral, hbond_geometry, head_tail_contact, planarity
from hbcoop_dist.structures.monomers import crude_start, structure_of, tree_of

LADDER = range(2, 7)
LENGTHS = range(2, 10)
Key = tuple[str, str, int]
KINDS = list(itertools.product(("arc", "linear"), ("none", "water")))


def seed(minimised: Minimised) -> Seed:
    return Seed(minimised.chain, minimised.path.q, minimised.path.hessian)


@pytest.fixture(scope="module")
def toy():
    return registry.load("toy")


@pytest.fixture(scope="module")
def minima(toy) -> dict[Key, Minimised]:
    """Chains of both patterns and cappings, each from the shorter ones of the ladder, longest last."""
    units, waters = monomers(toy)
    dimers = minimise(toy, [crude(toy, Chain((conformer,), (DEFAULT_ROTAMER,) * 2)) for conformer in ("syn", "anti")])
    found: dict[Key, Minimised] = {}
    for length in LENGTHS:
        starts = []
        for pattern, capping in KINDS:
            shorter = [found[pattern, capping, n] for n in LADDER if n < length]
            chain = make_chain(pattern, length, capping)
            seeds = [seed(minimised) for minimised in (*dimers, *shorter)]
            starts.append(warm_start(chain, seeds, [units] * length, waters if capping == "water" else ()))
        for (pattern, capping), minimised in zip(KINDS, minimise(toy, starts), strict=True):
            found[pattern, capping, length] = minimised
    return found


def test_warm_starts_need_few_force_calls_and_no_more_for_longer_chains(minima) -> None:
    """At most 15 for n = 3..9, and no growth beyond the ladder, for chains whose ends do not meet."""
    calls: dict[tuple[str, str], dict[int, int]] = {}
    for (pattern, capping, length), minimised in minima.items():
        if length > 2 and head_tail_contact(minimised.structure) > 5.0:
            assert minimised.path.converged
            calls.setdefault((pattern, capping), {})[length] = minimised.path.force_calls
    assert sum(len(by_length) for by_length in calls.values()) >= 24
    for by_length in calls.values():
        assert max(by_length.values()) <= 15
        short, long = ([n for m, n in by_length.items() if (m > max(LADDER)) == far] for far in (False, True))
        assert max(long) <= max(short) + 1


@pytest.mark.parametrize("key", [("arc", "none", 6), ("linear", "water", 5)], ids=str)
def test_a_warm_start_leads_to_the_minimum_of_a_crude_start(toy, minima, key: Key) -> None:
    warm = minima[key]
    (cold,) = minimise(toy, [crude(toy, warm.chain)])
    assert cold.path.converged
    assert warm.path.energy == pytest.approx(cold.path.energy, abs=1e-7)
    assert warm.path.force_calls < cold.path.force_calls


def test_a_missing_seed_costs_steps_only(toy, minima) -> None:
    """The hexamer without the pentamer."""
    units, _ = monomers(toy)
    seeds = [seed(minima["arc", "none", n]) for n in (2, 3, 4)]
    (again,) = minimise(toy, [warm_start(make_chain("arc", 6), seeds, [units] * 6, ())])
    assert again.path.converged
    assert again.path.energy == pytest.approx(minima["arc", "none", 6].path.energy, abs=1e-8)


@pytest.mark.parametrize(("pattern", "capping"), KINDS)
def test_the_lowest_mode_from_a_transplanted_hessian_is_that_of_the_whole(toy, minima, pattern, capping) -> None:
    def planar(length: int) -> StationaryPoint:
        one = minima[pattern, capping, length]
        return StationaryPoint(tree_of(one.chain), one.path.q, one.structure)

    seeds = []
    for short, mode in zip((4, 5, 6), find_lowest_modes(toy, [planar(n) for n in (4, 5, 6)]), strict=True):
        basis = odd_basis(planar(short).tree)
        seeds.append(Seed(minima[pattern, capping, short].chain, planar(short).q, basis @ mode.hessian @ basis.T))
    target = planar(8)
    basis = odd_basis(target.tree)
    guess = basis.T @ transplant_hessian(make_chain(pattern, 8, capping), seeds, basis @ basis.T) @ basis
    few, whole = find_lowest_modes(toy, [replace(target, guess=guess), target])
    assert few.eigenvalue == pytest.approx(whole.eigenvalue, abs=2e-4, rel=5e-3)
    assert few.force_calls < whole.force_calls / 2


def test_without_seeds_a_warm_start_is_the_crude_one(toy) -> None:
    units, waters = monomers(toy)
    chain = make_chain("linear", 3, "water")
    start = warm_start(chain, [], [units] * 3, waters)
    assert start.q == pytest.approx(crude(toy, chain).q)
    basis = free_basis(tree_of(chain), "mirror")
    assert np.linalg.eigvalsh(basis.T @ start.hessian @ basis).min() >= SMALLEST_CURVATURE * (1 - 1e-9)


def test_elements_come_from_a_seed_in_the_same_rotamer_and_conformer(toy) -> None:
    """Two seeds that differ in conformer and rotamer: each gives the elements that are alike."""
    other = Rotamer("cis-O", "cis-C")
    syn, anti = Chain(("syn",), (DEFAULT_ROTAMER,) * 2), Chain(("anti",), (other,) * 2)
    units, _ = monomers(toy)
    seeds = [Seed(chain, crude_start(chain) + shift, np.eye(66)) for chain, shift in ((syn, 0.01), (anti, 0.02))]
    mixed = Chain(("syn", "anti"), (DEFAULT_ROTAMER, other, other))
    q = warm_start(mixed, seeds, [units] * 3, ()).q
    tree, dimer = tree_of(mixed), tree_of(syn)
    for joint, source in ((1, seeds[0]), (2, seeds[1])):
        assert q[tree.joint_slice(joint)] == pytest.approx(source.q[dimer.joint_slice(1)])
    assert q[tree.body_slice(0)] == pytest.approx(seeds[0].q[dimer.body_slice(0)])
    assert q[tree.body_slice(2)] == pytest.approx(seeds[1].q[dimer.body_slice(1)])


def test_a_chain_transplanted_from_itself_has_its_own_hessian() -> None:
    chain = make_chain("linear", 4, "water")
    size = tree_of(chain).n_q
    random = np.random.default_rng(0).normal(size=(size, size))
    own = random + random.T
    moved = transplant_hessian(chain, [Seed(chain, crude_start(chain), own)], np.zeros_like(own))
    filled = moved != 0
    assert moved[filled] == pytest.approx(own[filled])
    assert moved == pytest.approx(moved.T)
    assert filled.mean() > 0.5


def test_a_start_leaves_the_plane_reproducibly_and_keeps_its_torsions() -> None:
    chain = make_chain("arc", 3, "water")
    q = crude_start(chain)
    assert leave_plane(chain, q, "mirror") is q
    moved = leave_plane(chain, q, "torsions")
    np.testing.assert_array_equal(moved, leave_plane(chain, q, "none"))
    structure = structure_of(chain, moved)
    assert planarity(structure) > 0.005
    assert 0 < np.abs(moved - q).max() < 2 * OUT_OF_PLANE
    before, after = (hbond_geometry(structure_of(chain, x)) for x in (q, moved))
    for name in ("phi1", "phi2"):
        turned = np.radians(getattr(after, name) - getattr(before, name))
        assert np.cos(turned) == pytest.approx(1.0, abs=1e-12)
    improper = dihedral(*structure.positions[[4, 1, 3, 5]])  # H off the amide plane
    assert abs(np.sin(improper)) > 1e-4
    assert len(leave_plane(MONOMER, crude_start(MONOMER), "torsions")) == 30
