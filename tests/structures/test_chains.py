"""Patterns, rotamers, caps and positions of chains, and the crude structures built from them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hbcoop_dist.structures import (
    DEFAULT_ROTAMER,
    Chain,
    Rotamer,
    conformers_of,
    make_chain,
    position_of,
    rotamers_of,
)
from hbcoop_dist.structures.geometry import broken_geometry, dihedral, hbond_geometry, planarity
from hbcoop_dist.structures.monomers import build, nma, rotamer_of
from hbcoop_dist.structures.structure import NMA_ATOMS

ROTAMERS = [Rotamer(a, b) for a, b in itertools.product(("cis-N", "cis-O"), ("cis-C", "trans-C"))]


def test_arc_is_all_syn_and_linear_alternates_from_syn() -> None:
    assert conformers_of("arc", 5) == ("syn",) * 4
    assert conformers_of("linear", 5) == ("syn", "anti", "syn", "anti")


@pytest.mark.parametrize(("length", "middle"), [(2, 1), (3, 1), (4, 2), (5, 2), (12, 6)])
def test_positions(length: int, middle: int) -> None:
    assert (position_of("head", length), position_of("tail", length)) == (1, length - 1)
    assert position_of("middle", length) == middle


@pytest.mark.parametrize("pattern", ["arc", "linear"])
@pytest.mark.parametrize("capping", ["none", "water"])
@pytest.mark.parametrize("rotamer", ROTAMERS, ids=str)
@pytest.mark.parametrize("length", [2, 3, 6])
def test_crude_chains_are_planar_intact_and_in_pattern(pattern, capping, rotamer, length) -> None:
    chain = make_chain(pattern, length, capping, rotamer)
    structure = build(chain)
    assert len(structure) == 12 * length + (12 if capping == "water" else 0)
    assert structure.kinds == ("nma",) * length + (("water",) * 4 if capping == "water" else ())
    assert planarity(structure) < 1e-12
    assert broken_geometry(structure, chain.conformers) == ""
    geometry = hbond_geometry(structure)
    for conformer, phi1, phi2 in zip(chain.conformers, geometry.phi1, geometry.phi2, strict=True):
        expected = (0.0, 180.0) if conformer == "syn" else (180.0, 0.0)
        assert (abs(phi1), abs(phi2)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rotamer", ROTAMERS, ids=str)
def test_rotamers_are_what_they_are_called(rotamer: Rotamer) -> None:
    at = dict(zip(NMA_ATOMS, nma(rotamer), strict=True))
    acetyl = np.degrees(abs(dihedral(at["HA1"], at["CA"], at["C"], at["N"])))
    amine = np.degrees(abs(dihedral(at["HN1"], at["CN"], at["N"], at["C"])))
    assert acetyl == pytest.approx(0.0 if rotamer.acetyl == "cis-N" else 180.0, abs=1e-6)
    assert amine == pytest.approx(0.0 if rotamer.amine == "cis-C" else 180.0, abs=1e-6)
    assert rotamer_of(nma(rotamer)) == rotamer
    assert abs(dihedral(at["O"], at["C"], at["N"], at["H"])) == pytest.approx(np.pi)  # trans amide


def test_rotamers_by_unit_type_the_more_special_wins() -> None:
    odd, first = Rotamer("cis-N", "cis-C"), Rotamer("cis-O", "cis-C")
    assert rotamers_of({"odd": odd, "first": first}, 4) == (first, DEFAULT_ROTAMER, odd, DEFAULT_ROTAMER)
    chain = Chain(conformers_of("linear", 3), rotamers_of({"odd": odd}, 3))
    assert chain.dimer(2) == Chain(("anti",), (DEFAULT_ROTAMER, odd))


def test_caps_are_arranged_as_designed() -> None:
    """One water accepts from the free N-H; two donate to the free O, one on either side; the last donates to both."""
    structure = build(make_chain("arc", 2, "water"))
    first, last = (dict(zip(NMA_ATOMS, structure.positions[structure.atoms_of(i)], strict=True)) for i in (0, 1))
    head, one, other, bridge = (structure.positions[structure.atoms_of(i)] for i in range(2, 6))
    assert np.linalg.norm(head[0] - first["H"]) < 2.3
    assert head[1] == pytest.approx(head[2] * [1, 1, -1])
    for water in (one, other):
        assert np.linalg.norm(water[1] - last["O"]) < 2.3
        assert np.abs(water[:, 2]).max() < 1e-12
    axis = last["O"] - last["C"]
    sides = [np.cross(axis, water[0] - last["O"])[2] for water in (one, other)]
    assert sides[0] * sides[1] < 0
    for hydrogen, water in ((bridge[1], one), (bridge[2], other)):
        assert np.linalg.norm(hydrogen - water[0]) < 2.6


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: conformers_of("ring", 3), "expected one of arc, linear, found 'ring'"),
        (lambda: conformers_of("arc", 1), "expected at least 2 units, found 1"),
        (lambda: Rotamer.parse("cis-N"), "found 'cis-N'"),
        (lambda: rotamers_of({"third": DEFAULT_ROTAMER}, 3), "found third"),
        (lambda: make_chain("arc", 3).dimer(3), "expected 1..2, found 3"),
        (lambda: position_of("end", 3), "found 'end'"),
    ],
)
def test_wrong_questions_are_answered_clearly(call, words) -> None:
    with pytest.raises(ValueError, match=words):
        call()
