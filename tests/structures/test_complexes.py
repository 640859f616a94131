"""Complexes and the fragments of Eq. 1."""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.monomers import build
from hbcoop_dist.structures.structure import Complex, distinct_fragments, fragments_of


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


@pytest.mark.parametrize("hbond", [0, 3])
def test_an_hbond_outside_the_chain_is_refused(hbond: int) -> None:
    with pytest.raises(ValueError, match=rf"H-bond: expected 1\.\.2, found {hbond}"):
        fragments_of(build(make_chain("arc", 3)), hbond)


def test_fragments_of_a_complex_and_of_its_pair() -> None:
    trimer = Complex("trimer", build(make_chain("arc", 3)))
    assert trimer.fragments == fragments_of(trimer.structure, 1)
    pair = trimer.pair()
    assert pair.fragments["C"] == ()
    assert pair.fragments["ABC"] == pair.fragments["AB"] == (0, 1)
    np.testing.assert_array_equal(pair.structure.positions, trimer.structure.positions[:24])


def test_a_complex_is_identified_by_its_content_and_treatment_not_by_its_name() -> None:
    structure = build(make_chain("arc", 3))
    reference = Complex("a", structure)
    moved = structure.positions.copy()
    moved[0, 0] += 1e-9
    assert Complex("b", structure).digest == reference.digest
    others = [
        Complex("a", structure, free=True),
        Complex("a", structure.with_positions(moved)),
        Complex("a", structure.subset((0, 1))),
    ]
    assert len({reference.digest, *(other.digest for other in others)}) == 4
