"""Fragments of every H-bond, the count of distinct points, and chains recognised in bare coordinates."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from hbcoop_dist.references import ReferenceSetError, bundled_geometry, read_reference_set
from hbcoop_dist.structures import Rotamer, make_chain, monomer
from hbcoop_dist.structures.bonds import kind_in_order
from hbcoop_dist.structures.complexes import distinct_fragments, fragments_of
from hbcoop_dist.structures.construction import build
from hbcoop_dist.structures.geometry import broken_geometry, stacking
from hbcoop_dist.structures.monomers import donor_water
from hbcoop_dist.structures.perception import PerceptionError, perceive


def test_waters_always_belong_to_c() -> None:
    structure = build(make_chain("arc", 3, "water"))
    parts = fragments_of(structure, 2)
    assert parts["AB"] == (1, 2)
    assert parts["C"] == (0, 3, 4, 5, 6)
    assert parts["BC"] == (0, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(("length", "points"), [(2, 3), (3, 7), (4, 13), (5, 19), (8, 31)])
def test_distinct_points_of_bare_chains(length: int, points: int) -> None:
    """3, 7, 13, then 4 n - 1 (design, section 2)."""
    assert len(distinct_fragments(build(make_chain("arc", length)))) == points


@pytest.mark.parametrize("length", [2, 3, 6])
def test_distinct_points_of_equation_one_and_of_capped_chains(length: int) -> None:
    bare, capped = (build(make_chain("linear", length, capping)) for capping in ("none", "water"))
    assert len(distinct_fragments(bare, electronic=False)) == (3 if length == 2 else 2 * length)
    assert len(distinct_fragments(capped, electronic=False)) == 2 * length
    assert len(distinct_fragments(capped)) == 4 * length - 1


@pytest.mark.parametrize("capping", ["none", "water"])
@pytest.mark.parametrize("pattern", ["arc", "linear"])
def test_a_shuffled_chain_is_recognised(pattern, capping) -> None:
    system = make_chain(pattern, 3, capping, (Rotamer("cis-N", "cis-C"), Rotamer(), Rotamer("cis-O", "cis-C")))
    structure = build(system)
    order = np.random.default_rng(5).permutation(len(structure))
    found, read = perceive(structure.numbers[order], structure.positions[order])
    assert read == system
    units = 36
    assert found.positions[:units] == pytest.approx(structure.positions[:units])


def test_hydrogens_that_bonds_do_not_tell_apart_stay_as_in_the_file() -> None:
    chain = build(make_chain("arc", 2, "water"))
    order = np.arange(len(chain))
    for water in (2, 3, 4, 5):
        _, first, second = chain.atoms_of(water)
        order[[first, second]] = second, first
    for numbers, positions in (
        (chain.numbers, chain.positions),
        (chain.numbers[order], chain.positions[order]),
    ):
        np.testing.assert_array_equal(perceive(numbers, positions)[0].positions, positions)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_task_of_a_given_geometry_has_one_key_in_every_process(seed: int) -> None:
    """Python salts the hashes of text anew in every process, and the water's H must not go by them."""
    code = (
        "from hbcoop_dist.references import bundled_geometry, read_reference_set;"
        "from hbcoop_dist.structures import make_chain;"
        "known = read_reference_set(bundled_geometry('nma-so3lr'));"
        "print(known.structure(make_chain('arc', 2, 'water')).positions.tobytes().hex())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    folder = bundled_geometry("nma-so3lr")
    assert folder is not None
    expected = read_reference_set(folder).structure(make_chain("arc", 2, "water"))
    assert found.stdout.strip() == expected.positions.tobytes().hex()


def test_what_is_no_chain_is_refused_by_what_it_is() -> None:
    structure = build(make_chain("arc", 2))
    apart = structure.positions.copy()
    apart[12:] += 30.0
    with pytest.raises(PerceptionError, match=r"found 1 gap"):
        perceive(structure.numbers, apart)
    with pytest.raises(PerceptionError, match="found CO2"):
        perceive(np.array([6, 8, 8]), np.array([[0.0, 0, 0], [1.16, 0, 0], [-1.16, 0, 0]]))


def test_reference_set_is_read_from_xyz_files(tmp_path) -> None:
    for name, system in (("a", make_chain("arc", 2)), ("b", make_chain("arc", 3))):
        build(system).to_ase().write(tmp_path / f"{name}.xyz", format="xyz")
    found = read_reference_set(tmp_path)
    assert found.missing(make_chain("arc", 3)) == ""
    assert found.missing(make_chain("linear", 3)) == "syn-anti chain, anti chain"
    assert found.structure(make_chain("arc", 2)).positions == pytest.approx(
        build(make_chain("arc", 2)).positions, abs=1e-6
    )
    build(make_chain("arc", 3)).to_ase().write(tmp_path / "c.xyz", format="xyz")
    with pytest.raises(ReferenceSetError, match=r"c\.xyz: expected every chain once.*b\.xyz"):
        read_reference_set(tmp_path)
    with pytest.raises(ReferenceSetError, match=r"expected a folder with \.xyz files, found none"):
        read_reference_set(tmp_path / "nowhere")


def test_broken_chains_say_how() -> None:
    system = make_chain("arc", 3)
    structure = build(system)
    lost = structure.positions.copy()
    lost[24:] += [0.0, 0.0, 2.5]
    assert "H-bond 2 is lost" in broken_geometry(structure.with_positions(lost), system.conformers)
    reacted = structure.positions.copy()
    reacted[4] += [0.0, -1.0, 0.0]
    assert "N-H is" in broken_geometry(structure.with_positions(reacted), system.conformers)
    assert "turned over: expected anti, found syn" in broken_geometry(structure, ("syn", "anti"))
    sandwich = structure.positions.copy()
    sandwich[24:] = structure.positions[:12] + [0.0, 0.0, 3.0]
    assert stacking(structure) == ""
    assert stacking(structure.with_positions(sandwich)) == "units 1 and 3 are stacked: 3.00 A apart, limit 3.4"


@pytest.mark.parametrize("seed", range(20))
def test_a_molecule_in_our_order_is_known_however_its_atoms_are_moved_a_little(seed: int) -> None:
    draw, nma, water = np.random.default_rng(seed), monomer(), donor_water()
    assert kind_in_order(nma.numbers, nma.positions + draw.normal(0.0, 0.1, (12, 3))) == "nma"
    assert kind_in_order(np.array([8, 1, 1]), water + draw.normal(0.0, 0.1, (3, 3))) == "water"


def test_another_order_another_molecule_or_a_torn_one_has_no_kind() -> None:
    nma = monomer()
    swapped = nma.positions.copy()
    # an H of one methyl and one of the other: the numbers alone do not tell
    swapped[[6, 9]] = swapped[[9, 6]]
    torn = nma.positions.copy()
    torn[10] += 3.0
    for numbers, positions in (
        (nma.numbers, swapped),
        (nma.numbers, torn),
        (nma.numbers[::-1], nma.positions[::-1]),
        (np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], [0.97, 0.0, 0.0], [1.94, 0.0, 0.0]])),
        (np.array([79]), np.zeros((1, 3))),
    ):
        assert kind_in_order(numbers, positions) == "other"
