"""The lowest rotamers of a chain: dynamic programming finds what trying everything finds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hbcoop_dist.campaigns.hbond.rotamer_search import ROTAMERS, candidates, lowest_rotamers
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, Rotamer, conformers_of


def energy(chain: Chain, energies: dict[Chain, float]) -> float:
    """Trimers less the dimers that two of them share."""
    c, r, n = chain.conformers, chain.rotamers, chain.length
    if n == 2:
        return energies[chain]
    trimers = sum(energies[Chain(c[i : i + 2], r[i : i + 3])] for i in range(n - 2))
    return trimers - sum(energies[Chain(c[i : i + 1], r[i : i + 2])] for i in range(1, n - 2))


@pytest.mark.parametrize("pattern", ["arc", "linear"])
@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_it_is_the_lowest_of_all_sequences(pattern, length: int) -> None:
    conformers = conformers_of(pattern, length)
    random = np.random.default_rng(length)
    energies = {chain: float(random.normal()) for chain in candidates(conformers)}
    chosen = lowest_rotamers(conformers, energies)
    assert chosen is not None
    every = [Chain(conformers, rotamers) for rotamers in product(ROTAMERS, repeat=length)]
    assert energy(Chain(conformers, chosen), energies) == pytest.approx(min(energy(one, energies) for one in every))


def test_what_is_needed_is_every_rotamer_of_every_piece() -> None:
    assert len(candidates(conformers_of("arc", 2))) == 16
    assert len(candidates(conformers_of("arc", 12))) == 16 + 64
    assert len(candidates(conformers_of("linear", 12))) == 2 * 16 + 2 * 64
    lengths = [chain.length for chain in candidates(conformers_of("linear", 5))]
    assert lengths == sorted(lengths)


def test_of_equal_energies_the_default_is_taken() -> None:
    conformers = conformers_of("linear", 6)
    assert lowest_rotamers(conformers, dict.fromkeys(candidates(conformers), 0.0)) == (DEFAULT_ROTAMER,) * 6


def test_rotamers_without_a_minimum_are_avoided() -> None:
    conformers = conformers_of("arc", 5)
    energies = dict.fromkeys(candidates(conformers), 0.0)
    bad = DEFAULT_ROTAMER
    kept = {chain: e for chain, e in energies.items() if bad not in chain.rotamers}
    chosen = lowest_rotamers(conformers, kept)
    assert chosen is not None
    assert bad not in chosen
    only_dimers = {chain: e for chain, e in energies.items() if chain.length == 2}
    assert lowest_rotamers(conformers, only_dimers) is None
    assert lowest_rotamers(conformers, {}) is None


def test_a_contact_over_one_unit_counts() -> None:
    """Units 1 and 3 that may not both be trans-C: no dimer knows, the trimer does."""
    conformers = conformers_of("linear", 3)
    energies = {
        s: float(s.length == 3 and s.rotamers[0].amine == s.rotamers[2].amine == "trans-C")
        - 0.1 * sum(r.amine == "trans-C" for r in s.rotamers)
        for s in candidates(conformers)
    }
    chosen = lowest_rotamers(conformers, energies)
    assert chosen is not None
    assert sorted(r.amine for r in chosen) == ["cis-C", "trans-C", "trans-C"]
    assert chosen[1] == Rotamer("cis-N", "trans-C")
