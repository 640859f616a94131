"""Amber is additive over molecules, flexible, and reads NMA as the two caps of the protein force field."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from ase.units import kcal, mol

from hbcoop_dist.models import ModelError, load
from hbcoop_dist.structures import Structure, chain_system, monomer
from hbcoop_dist.structures.build import build
from hbcoop_dist.structures.templates import donor_water

AMBER = load("amber14")
KCAL = kcal / mol


def energies(structure: Structure, subsets: Sequence[tuple[int, ...]]) -> list[float]:
    return [r.energy for r in AMBER.evaluate([structure.subset(s) for s in subsets], forces=False)]


def test_energy_is_a_sum_over_molecules_and_pairs_to_round_off() -> None:
    chain = build(chain_system("arc", 4, "water"))
    count = len(chain.kinds)
    ones = energies(chain, [(m,) for m in range(count)])
    pairs = list(itertools.combinations(range(count), 2))
    bonds = [e - ones[a] - ones[b] for e, (a, b) in zip(energies(chain, pairs), pairs, strict=True)]
    whole = energies(chain, [tuple(range(count))])[0]
    assert (whole - sum(ones) - sum(bonds)) / KCAL == pytest.approx(0.0, abs=1e-9)


def test_electronic_cooperativity_is_zero() -> None:
    chain = build(chain_system("arc", 4))
    sets = [(0, 1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 3), (1, 2), (1,), (2,)]
    abc, bc, ac, c, ab, a, b = energies(chain, sets)
    assert (abc - bc - ac + c - ab + a + b) / KCAL == pytest.approx(0.0, abs=1e-9)


def test_water_is_flexible() -> None:
    water = Structure.from_molecules([("water", donor_water())])
    rest = AMBER.evaluate([water])[0].energy
    stretched, bent = water.positions.copy(), water.positions.copy()
    stretched[1] *= 1.1
    bent[2] += [0.0, 0.2, 0.0]
    for moved in (stretched, bent):
        result = AMBER.evaluate([water.with_positions(moved)])[0]
        assert result.forces is not None
        assert result.energy > rest + 0.01
        assert np.abs(result.forces).max() > 0.1


def test_nma_is_neutral_with_the_charges_of_the_caps() -> None:
    charges = AMBER.evaluate([monomer()])[0].charges
    assert charges is not None
    assert charges.sum() == pytest.approx(0.0, abs=1e-9)
    # ff14SB: ACE C 0.5972, O -0.5679; NME N -0.4157, H 0.2719
    np.testing.assert_allclose(charges[1:5], [0.5972, -0.5679, -0.4157, 0.2719])


def test_unknown_molecule_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"model amber14: expected molecules nma or water, found 'other'"):
        AMBER.evaluate([Structure(np.array([8]), np.zeros((1, 3)), np.array([0]), ("other",))])
