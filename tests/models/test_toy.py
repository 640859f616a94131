"""The toy potential does what its formulas say: they are what everything above it is tested against."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase.units import kcal, mol
from numpy.typing import NDArray

from hbcoop_dist.models import ModelError, Potential, load
from hbcoop_dist.models.families.toy import STRENGTH, cooperative_energy
from hbcoop_dist.structures import Rotamer, Structure, make_chain, monomer
from hbcoop_dist.structures.monomers import build, donor_water

TOY, ADDITIVE = load("toy"), load("toy-additive")
ROTAMERS = [Rotamer(a, b) for a, b in itertools.product(("cis-N", "cis-O"), ("cis-C", "trans-C"))]  # type: ignore[arg-type]


def energy(potential: Potential, structure: Structure) -> float:
    return potential.evaluate([structure], forces=False)[0].energy


def electronic(potential: Potential, structure: Structure, a: int, b: int) -> float:
    """Eq. 1 with AB, A and B at the complex's geometry."""
    rest = [m for m in range(len(structure.kinds)) if m not in (a, b)]

    def u(*molecules: int) -> float:
        return energy(potential, structure.subset(molecules)) if molecules else 0.0

    inside = u(a, b, *rest) - u(b, *rest) - u(a, *rest) + u(*rest)
    return -(inside - u(a, b) + u(a) + u(b))


def hessian(structure: Structure) -> NDArray[np.float64]:
    x, step = structure.positions.ravel(), 1e-4
    rows = []
    for index in range(len(x)):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            forces = TOY.evaluate([structure.with_positions(moved.reshape(-1, 3))])[0].forces
            assert forces is not None
            ends.append(-forces.ravel())
        rows.append((ends[0] - ends[1]) / (2 * step))
    matrix = np.array(rows)
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("rotamer", ROTAMERS, ids=str)
def test_every_rotamer_of_the_template_is_a_minimum_of_energy_zero(rotamer: Rotamer) -> None:
    result = TOY.evaluate([monomer(rotamer)])[0]
    assert result.energy == pytest.approx(0.0, abs=1e-20)
    assert result.forces is not None
    np.testing.assert_allclose(result.forces, 0.0, atol=1e-12)
    modes = np.linalg.eigvalsh(hessian(monomer(rotamer)))
    np.testing.assert_allclose(modes[:6], 0.0, atol=1e-6)
    assert modes[6] > 0.1


@pytest.mark.parametrize("pattern", ["arc", "linear"])
@pytest.mark.parametrize("capping", ["none", "water"])
def test_electronic_cooperativity_is_the_closed_form(pattern: str, capping: str) -> None:
    chain = build(make_chain(pattern, 4, capping))  # type: ignore[arg-type]
    for first in range(3):
        numeric = electronic(TOY, chain, first, first + 1)
        assert numeric == pytest.approx(cooperative_energy(chain, first, first + 1), abs=1e-12)
        assert electronic(ADDITIVE, chain, first, first + 1) == pytest.approx(0.0, abs=1e-12)


def test_middle_of_a_chain_gains_from_both_neighbours() -> None:
    chain = build(make_chain("arc", 5))
    ends, middle = cooperative_energy(chain, 0, 1), cooperative_energy(chain, 1, 2)
    assert 0.5 * STRENGTH < ends < STRENGTH
    assert middle == pytest.approx(2 * ends, rel=0.2)


def test_molecules_far_apart_do_not_cooperate() -> None:
    nma = monomer().positions
    line = Structure.from_molecules([("nma", nma + [0.0, 10.0 * k, 0.0]) for k in range(3)])
    assert cooperative_energy(line, 0, 1) == 0.0
    assert energy(TOY, line) == energy(ADDITIVE, line)


def test_two_way_donation_is_pairwise_and_does_not_count() -> None:
    """Two waters, images of each other by inversion, donate both ways; no third molecule, nothing to cooperate with."""
    one = donor_water()
    ring = Structure.from_molecules([("water", one), ("water", 2.7 * one[1] - one)])
    assert np.linalg.norm(ring.positions[1] - ring.positions[3]) < 2.0
    assert np.linalg.norm(ring.positions[4] - ring.positions[0]) < 2.0
    assert energy(TOY, ring) == pytest.approx(energy(ADDITIVE, ring), abs=1e-12)


def relaxed(structure: Structure) -> Structure:
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    def target(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        result = TOY.evaluate([structure.with_positions(x.reshape(-1, 3))])[0]
        assert result.forces is not None
        return 100 * result.energy, -100 * result.forces.ravel()

    found = minimize(target, structure.positions.ravel(), jac=True, method="BFGS", options={"gtol": 1e-3})
    return structure.with_positions(found.x.reshape(-1, 3))


@pytest.mark.parametrize("conformer", ["syn", "anti"])
def test_free_dimer_is_a_planar_hydrogen_bond(conformer: str) -> None:
    from hbcoop_dist.structures import Chain
    from hbcoop_dist.structures.geometry import broken_geometry, hbond_geometry

    dimer = relaxed(build(Chain((conformer,), (Rotamer(), Rotamer()))))  # type: ignore[arg-type]
    assert -10 < energy(TOY, dimer) / (kcal / mol) < -5
    assert broken_geometry(dimer, (conformer,)) == ""
    bond = hbond_geometry(dimer)
    assert bond.distance_on[0] == pytest.approx(2.95, abs=0.15)
    assert abs(np.sin(np.radians([bond.phi1[0], bond.phi2[0]]))).max() < 0.01
    assert np.linalg.eigvalsh(hessian(dimer))[:6] == pytest.approx(0.0, abs=1e-3)
    assert np.linalg.eigvalsh(hessian(dimer))[6] > 0


def test_unknown_molecule_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"model toy: expected molecules nma or water, found other"):
        TOY.evaluate([Structure(np.array([8]), np.zeros((1, 3)), np.array([0]), ("other",))])
