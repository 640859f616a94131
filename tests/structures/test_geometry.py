"""H-bond geometry, planarity, contacts, and checks for broken chains."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.geometry import (
    HBOND_DISTANCE_LIMIT,
    broken_geometry,
    dihedral,
    hbond_geometry,
    hbonds,
    head_tail_contact,
    planarity,
    stacking,
)
from hbcoop_dist.structures.monomers import build


@pytest.mark.parametrize("seed", range(5))
def test_geometry_agrees_with_ase(seed: int) -> None:
    structure = build(make_chain("linear", 3))
    x = structure.positions + 0.1 * np.random.default_rng(seed).normal(size=structure.positions.shape)
    geometry, atoms = hbond_geometry(structure.with_positions(x)), Atoms(structure.numbers, x)
    ca, c, o, n, h = range(5)
    for bond in range(2):
        a, b = 12 * bond, 12 * (bond + 1)
        assert geometry.distance_on[bond] == pytest.approx(atoms.get_distance(a + o, b + n))
        assert geometry.distance_oh[bond] == pytest.approx(atoms.get_distance(a + o, b + h))
        assert geometry.angle[bond] == pytest.approx(atoms.get_angle(b + n, b + h, a + o))
        assert geometry.phi1[bond] % 360 == pytest.approx(atoms.get_dihedral(a + n, a + c, a + o, b + n))
        assert geometry.phi2[bond] % 360 == pytest.approx(atoms.get_dihedral(a + c, a + o, b + n, b + c))
        assert np.degrees(dihedral(*x[[a + ca, a + c, a + n, a + h]])) % 360 == pytest.approx(
            atoms.get_dihedral(a + ca, a + c, a + n, a + h)
        )


def test_planarity_is_the_largest_height_over_the_fitted_plane() -> None:
    structure = build(make_chain("arc", 3))
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    assert planarity(structure.with_positions(structure.positions @ rotation + 7.0)) < 1e-12
    lifted = structure.positions.copy()
    lifted[2, 2] += 0.3
    assert 0.2 < planarity(structure.with_positions(lifted)) < 0.3
    methyl = structure.positions.copy()
    methyl[7, 2] += 0.3  # one H of a methyl is not in the plane anyway
    assert planarity(structure.with_positions(methyl)) < 1e-12


def test_the_contact_of_the_ends_needs_three_units_and_includes_the_caps() -> None:
    assert head_tail_contact(build(make_chain("arc", 2, "water"))) == np.inf
    for capping in ("none", "water"):
        structure = build(make_chain("arc", 5, capping))
        x = structure.positions
        ends = [np.concatenate([x[:12], x[60:63]]), np.concatenate([x[48:60], x[63:]])]
        expected = min(np.linalg.norm(a - b) for a in ends[0] for b in ends[1])
        assert head_tail_contact(structure) == pytest.approx(expected)


@pytest.mark.parametrize(("change", "intact"), [(-0.01, True), (0.01, False)])
def test_an_hbond_breaks_at_its_distance_limit(change: float, intact: bool) -> None:
    chain = make_chain("arc", 2)
    structure = build(chain)
    donor, acceptor = structure.positions[16], structure.positions[2]
    vector = donor - acceptor
    length = HBOND_DISTANCE_LIMIT + change
    x = structure.positions.copy()
    x[12:] += vector * (length / np.linalg.norm(vector) - 1.0)
    moved = structure.with_positions(x)
    assert [bond.intact for bond in hbonds(moved, chain.conformers)] == [intact]
    assert ("H-bond 1 is lost" in broken_geometry(moved, chain.conformers)) != intact


def test_broken_chains_say_how() -> None:
    chain = make_chain("arc", 3)
    structure = build(chain)
    lost = structure.positions.copy()
    lost[24:] += [0.0, 0.0, 2.5]
    assert "H-bond 2 is lost" in broken_geometry(structure.with_positions(lost), chain.conformers)
    reacted = structure.positions.copy()
    reacted[4] += [0.0, -1.0, 0.0]
    assert "N-H is" in broken_geometry(structure.with_positions(reacted), chain.conformers)
    assert "turned over: expected anti, found syn" in broken_geometry(structure, ("syn", "anti"))
    sandwich = structure.positions.copy()
    sandwich[24:] = structure.positions[:12] + [0.0, 0.0, 3.0]
    assert stacking(structure) == ""
    assert stacking(structure.with_positions(sandwich)) == "units 1 and 3 are stacked: 3.00 A apart, limit 3.4"


@pytest.mark.parametrize("capping", ["none", "water"])
@pytest.mark.parametrize("pattern", ["arc", "linear"])
def test_hbonds_are_intact_where_a_chain_is_and_lost_where_it_broke(pattern, capping) -> None:
    chain = make_chain(pattern, 4, capping)
    structure = build(chain)
    whole = hbonds(structure, chain.conformers)
    assert len(whole) == 3 + (5 if capping == "water" else 0)
    assert all(bridge.intact for bridge in whole)
    assert all(structure.molecules[bridge.h] != structure.molecules[bridge.o] for bridge in whole)
    assert {tuple(structure.numbers[[bridge.h, bridge.o]]) for bridge in whole} == {(1, 8)}
    away = structure.positions + [0.0, 0.0, 2.0] * (structure.molecules == 1)[:, None]
    torn = structure.with_positions(away)
    assert [bridge.intact for bridge in hbonds(torn, chain.conformers)][:3] == [False, False, True]
    assert broken_geometry(torn, chain.conformers).startswith("H-bond 1 is lost")
    other = tuple("anti" if conformer == "syn" else "syn" for conformer in chain.conformers)
    assert not any(bridge.intact for bridge in hbonds(structure, other)[:3])


@pytest.mark.parametrize("water", [1, 2, 3, 4])
def test_an_hbond_of_a_cap_is_lost_with_its_water(water) -> None:
    chain = make_chain("arc", 2, "water")
    structure = build(chain)
    away = structure.positions + [0.0, 0.0, 3.0] * (structure.molecules == 1 + water)[:, None]
    moved = structure.with_positions(away)
    lost = [bridge for bridge in hbonds(moved, chain.conformers) if not bridge.intact]
    assert len(lost) == {1: 1, 2: 2, 3: 2, 4: 2}[water]
    assert all(1 + water in structure.molecules[[bridge.h, bridge.o]] for bridge in lost)
    assert broken_geometry(moved, chain.conformers).startswith("cap is lost: water")
