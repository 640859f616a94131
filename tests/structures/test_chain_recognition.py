"""Chains recognised in bare coordinates, and sets of reference geometries read through them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from hbcoop_dist.references import ReferenceSetError, bundled_geometry, read_reference_set
from hbcoop_dist.structures import Rotamer, make_chain
from hbcoop_dist.structures.chain_recognition import PerceptionError, perceive
from hbcoop_dist.structures.monomers import build


@pytest.mark.parametrize("capping", ["none", "water"])
@pytest.mark.parametrize("pattern", ["arc", "linear"])
def test_a_shuffled_chain_is_recognised(pattern, capping) -> None:
    chain = make_chain(pattern, 3, capping, (Rotamer("cis-N", "cis-C"), Rotamer(), Rotamer("cis-O", "cis-C")))
    structure = build(chain)
    order = np.random.default_rng(5).permutation(len(structure))
    found, read = perceive(structure.numbers[order], structure.positions[order])
    assert read == chain
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
    for name, chain in (("a", make_chain("arc", 2)), ("b", make_chain("arc", 3))):
        build(chain).to_ase().write(tmp_path / f"{name}.xyz", format="xyz")
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
