"""Minima in three dimensions have no negative mode, and depend on no round-off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from starts import MONOMER, monomers

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Potential
from hbcoop_dist.optimize.constraints import SADDLE, Constraint
from hbcoop_dist.optimize.lowest_modes import StationaryPoint, find_lowest_modes, mode_basis
from hbcoop_dist.optimize.minimization import Minimised, Start, minimise, monomer_start
from hbcoop_dist.optimize.true_minima import Relaxed, find_minima, is_planar
from hbcoop_dist.optimize.warm_starts import Seed, alternative_starts, mirror_image, warm_start
from hbcoop_dist.structures import Chain, make_chain
from hbcoop_dist.structures.geometry import broken_geometry
from hbcoop_dist.structures.monomers import methyl_angles, structure_of, tree_of

CHAINS = [("arc", 2, "none"), ("linear", 3, "none"), ("arc", 4, "none")]


def search(potential: Potential, starts: list[list[list[Start]]], constraint: Constraint = "torsions") -> list[Relaxed]:
    def minimise_stage(_: Sequence[int], chosen: Sequence[Start], under: Constraint, __: str) -> list[Minimised]:
        return minimise(potential, chosen, constraint=under)

    def is_intact(minimised: Minimised) -> bool:
        return minimised.path.converged and not broken_geometry(minimised.structure, minimised.chain.conformers)

    return find_minima(potential, starts, constraint, minimise_stage, is_intact)


def planar_start(potential: Potential, chain: Chain) -> Start:
    units, waters = monomers(potential, "none")
    return warm_start(chain, [], [units] * chain.length, waters if chain.capping == "water" else ())


@pytest.fixture(scope="module")
def toy() -> Potential:
    return registry.load("toy")


@pytest.fixture(scope="module", params=CHAINS, ids=str)
def relaxed(request: pytest.FixtureRequest, toy: Potential) -> Relaxed:
    start = planar_start(toy, make_chain(*request.param))
    return search(toy, [[[start]]])[0]


def test_a_minimum_has_no_negative_mode(relaxed: Relaxed) -> None:
    assert relaxed.minimised.path.converged
    assert relaxed.mode is not None
    assert relaxed.mode.eigenvalue > SADDLE
    assert relaxed.minima[0] is relaxed.minimised


def test_the_energy_rises_on_both_sides_along_the_lowest_mode(toy: Potential, relaxed: Relaxed) -> None:
    assert relaxed.mode is not None
    structure, step = relaxed.minimised.structure, 0.02
    ends = [structure.with_positions(structure.positions + sign * step * relaxed.mode.mode) for sign in (1, 0, -1)]
    plus, here, minus = (evaluation.energy for evaluation in toy.evaluate(ends, forces=False))
    # straight displacements leave the torsions, so that the rise is that of the eigenvalue within its third order
    assert min(plus, minus) > here - 1e-9


def test_many_searches_share_batches_and_differ_in_nothing(toy: Potential) -> None:
    starts = [planar_start(toy, make_chain(*chain)) for chain in CHAINS[:2]]
    together = search(toy, [[[start]] for start in starts])
    for start, result in zip(starts, together, strict=True):
        alone = search(toy, [[[start]]])[0]
        assert result.minimised.path.energy == pytest.approx(alone.minimised.path.energy, abs=1e-9)
        assert result.mode_calls == alone.mode_calls


def test_of_several_groups_the_lowest_end_is_kept_and_all_are_listed(toy: Potential) -> None:
    chain = make_chain("arc", 2)
    start = planar_start(toy, chain)
    rng = np.random.default_rng(1)
    other = Start(chain, start.q + 0.05 * rng.normal(size=start.q.size) * (start.q != 0), start.hessian)
    (result,) = search(toy, [[[start], [other]]], "none")
    energies = [minimised.path.energy for minimised in result.minima]
    assert energies == sorted(energies)
    assert result.minimised is result.minima[0]
    assert len(result.minima) >= 2


def test_a_whole_hessian_and_a_few_columns_agree_in_three_dimensions(toy: Potential, relaxed: Relaxed) -> None:
    minimised = relaxed.minimised
    tree, q = tree_of(minimised.chain), minimised.path.q
    point = StationaryPoint(tree, q, minimised.structure, "torsions")
    (whole,) = find_lowest_modes(toy, [point])
    assert whole.hessian is not None
    assert whole.force_calls == 2 * len(whole.hessian) == 2 * mode_basis(tree, "torsions").shape[1]
    noise = np.diag(1.0 + np.random.default_rng(0).normal(scale=0.1, size=len(whole.hessian)))
    guess = noise @ whole.hessian @ noise
    (few,) = find_lowest_modes(toy, [StationaryPoint(tree, q, minimised.structure, "torsions", guess)])
    assert few.eigenvalue == pytest.approx(whole.eigenvalue, abs=2e-4, rel=5e-3)
    assert few.force_calls < whole.force_calls


def test_the_mirror_image_of_a_structure_is_its_mirror_image(relaxed: Relaxed) -> None:
    chain, q = relaxed.minimised.chain, relaxed.minimised.path.q
    mirrored = mirror_image(tree_of(chain), q)
    assert mirror_image(tree_of(chain), mirrored) == pytest.approx(q, abs=1e-12)
    here, there = structure_of(chain, q).positions, structure_of(chain, mirrored).positions
    distances = [np.linalg.norm(x[:, None] - x[None, :], axis=-1) for x in (here, there)]
    assert np.sort(distances[0].ravel()) == pytest.approx(np.sort(distances[1].ravel()), abs=1e-9)
    assert is_planar(chain, q) == bool(np.abs(q - mirrored).max() < 1e-6)


def test_a_seed_and_its_mirror_image_lead_to_starts_of_one_energy(toy: Potential) -> None:
    units, _ = monomers(toy, "none")
    dimer, trimer = make_chain("arc", 2), make_chain("arc", 3)
    rng = np.random.default_rng(2)
    q = planar_start(toy, dimer).q
    tree = tree_of(dimer)
    q[tree.body_slice(0)][-1], q[tree.body_slice(1)][-1] = 0.4, -0.3
    hessian = np.diag(rng.uniform(0.5, 1.0, q.size))
    energies = []
    for coordinates in (q, mirror_image(tree, q)):
        groups = alternative_starts(trimer, [Seed(dimer, coordinates, hessian)], [units] * 3, [])
        starts = [structure_of(trimer, start.q) for group in groups for start in group]
        energies.append(sorted(evaluation.energy for evaluation in toy.evaluate(starts, forces=False)))
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_a_methyl_is_turned_by_one_coordinate_at_constant_bond_lengths(toy: Potential) -> None:
    start = monomer_start(toy, MONOMER, "none")
    tree = tree_of(MONOMER)
    body = tree.bodies[0]
    before = structure_of(MONOMER, start.q).positions
    for rotor in body.rotors:
        q = start.q.copy()
        q[rotor.coordinate] = np.radians(25.0)
        after = structure_of(MONOMER, q).positions
        assert not is_planar(MONOMER, q)
        for atoms in (rotor.atoms, rotor.bond):
            for i in atoms:
                length = np.linalg.norm(before[i] - before[rotor.bond[1]])
                assert np.linalg.norm(after[i] - after[rotor.bond[1]]) == pytest.approx(length, abs=1e-12)
        changes = np.abs(np.array(methyl_angles(after)) - np.array(methyl_angles(before)))
        assert sorted(np.minimum(changes, 120.0 - changes)) == pytest.approx([0.0, 25.0], abs=0.5)
