"""Amber is additive over molecules, AMOEBA is not; both are flexible, and read NMA as the caps of a protein."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from ase.units import kcal, mol

from hbcoop_dist.models import ModelError, load
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.checks.contract import probes
from hbcoop_dist.models.families import openmm as family
from hbcoop_dist.structures import Structure, make_chain, monomer
from hbcoop_dist.structures.monomers import build, donor_water

AMBER = load("amber14")
AMOEBA = load("amoeba2018")
CHARMM = load("charmm36")
DRUDE = load("charmm-drude")
KCAL = kcal / mol


def energies(structure: Structure, subsets: Sequence[tuple[int, ...]], model: Potential = AMBER) -> list[float]:
    return [r.energy for r in model.evaluate([structure.subset(s) for s in subsets], forces=False)]


def three_body(model: Potential, trimer: Structure) -> float:
    sets = [(0, 1, 2), (0, 1), (1, 2), (0, 2), (0,), (1,), (2,)]
    abc, ab, bc, ac, a, b, c = energies(trimer, sets, model)
    return abc - ab - bc - ac + a + b + c


@pytest.mark.parametrize("model", [AMBER, CHARMM], ids=["amber14", "charmm36"])
def test_energy_is_a_sum_over_molecules_and_pairs_to_round_off(model: Potential) -> None:
    chain = build(make_chain("arc", 4, "water"))
    count = len(chain.kinds)
    ones = energies(chain, [(m,) for m in range(count)], model)
    pairs = list(itertools.combinations(range(count), 2))
    bonds = [e - ones[a] - ones[b] for e, (a, b) in zip(energies(chain, pairs, model), pairs, strict=True)]
    whole = energies(chain, [tuple(range(count))], model)[0]
    assert (whole - sum(ones) - sum(bonds)) / KCAL == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("model", [AMBER, CHARMM], ids=["amber14", "charmm36"])
def test_electronic_cooperativity_is_zero(model: Potential) -> None:
    chain = build(make_chain("arc", 4))
    sets = [(0, 1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 3), (1, 2), (1,), (2,)]
    abc, bc, ac, c, ab, a, b = energies(chain, sets, model)
    assert (abc - bc - ac + c - ab + a + b) / KCAL == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("pattern", ["arc", "linear"])
def test_three_bodies_in_a_row_stabilise_each_other_where_dipoles_are_induced(pattern: str) -> None:
    trimer = build(make_chain(pattern, 3))
    for additive in (AMBER, CHARMM):
        assert three_body(additive, trimer) / KCAL == pytest.approx(0.0, abs=1e-9)
    for polarisable in (AMOEBA, DRUDE):
        assert -3.0 < three_body(polarisable, trimer) / KCAL < -0.3


def test_drude_particles_are_at_rest_and_the_molecule_is_about_as_polarisable_as_measured() -> None:
    """Gas phase, 7.8 A^3 (Applequist et al. 1972); the force field scales it down, by 0.7 at the most, for liquids."""
    import openmm
    from openmm import unit

    from hbcoop_dist.models.families.openmm import Drudes

    structure = monomer()
    made = family.force_field_system(DRUDE.card, DRUDE.forcefield, ("nma",))
    system, order = made.system, made.order
    pairs = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = np.array([pairs.getParticleParameters(i)[0]._value for i in range(system.getNumParticles())])
    field = openmm.CustomExternalForce("-charge*(fx*x+fy*y+fz*z)")
    field.addPerParticleParameter("charge")
    for axis in "xyz":
        field.addGlobalParameter(f"f{axis}", 0.0)
    for index, charge in enumerate(charges):
        field.addParticle(index, [charge])
    system.addForce(field)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    drudes = Drudes.of(system)

    def dipole(axis: str, strength: float) -> float:
        context.setParameter(f"f{axis}", strength)
        drudes.relax(context, structure.positions[order] / 10)
        context.setParameter(f"f{axis}", 0.0)
        where = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        return float((charges[:, None] * where).sum(axis=0)["xyz".index(axis)])

    slopes = [(dipole(axis, 1.0) - dipole(axis, -1.0)) / 2 for axis in "xyz"]
    polarisability = 138.935456 * 1000 * np.mean(slopes)
    assert 0.7 * 7.8 < polarisability < 7.8


def test_what_is_left_of_amoeba_far_apart_are_two_dipoles() -> None:
    alone = AMOEBA.evaluate([monomer()])[0].energy

    def left(distance: float) -> float:
        pair = [("nma", monomer().positions), ("nma", monomer().positions + [distance, 0.0, 0.0])]
        return AMOEBA.evaluate([Structure.from_molecules(pair)])[0].energy - 2 * alone

    assert abs(left(100.0)) < 1e-4
    assert left(1000.0) == pytest.approx(1e-3 * left(100.0), rel=0.01)


def test_nma_has_its_dipole_in_amoeba() -> None:
    AMOEBA.evaluate([monomer()])
    _, context = AMOEBA.contexts[("nma",)]
    multipoles = next(f for f in context.getSystem().getForces() if f.getName() == "AmoebaMultipoleForce")
    dipole = np.linalg.norm(multipoles.getSystemMultipoleMoments(context)[1:4])
    # gas phase, Meighan and Cole 1964: 3.73 D
    assert dipole == pytest.approx(3.73, abs=0.15)


def test_induced_dipoles_are_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = build(make_chain("arc", 12, "water"))
    ours = AMOEBA.evaluate([chain])[0]
    settings = family._INDUCTION["amoeba2018"]
    monkeypatch.setitem(settings, "mutualInducedTargetEpsilon", settings["mutualInducedTargetEpsilon"] / 10)
    tighter = load("amoeba2018").evaluate([chain])[0]
    assert ours.energy == pytest.approx(tighter.energy, abs=1e-9)
    assert ours.forces is not None
    assert tighter.forces is not None
    np.testing.assert_allclose(ours.forces, tighter.forces, rtol=0, atol=1e-9)


def test_dipoles_that_do_not_converge_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "_ITERATIONS", 3)
    with pytest.raises(ModelError, match=r"model amoeba2018: .* did not converge"):
        load("amoeba2018").evaluate([monomer()])


def test_amoeba_keeps_a_mirror_plane_and_is_smooth_near_it() -> None:
    plane = monomer()
    normal = np.linalg.svd(plane.positions[plane.numbers > 1] - plane.positions[plane.numbers > 1].mean(axis=0))[2][2]
    nitrogen = int(np.flatnonzero(plane.numbers == 7)[0])

    def pull(height: float) -> float:
        positions = plane.positions.copy()
        positions[nitrogen] += height * normal
        forces = AMOEBA.evaluate([plane.with_positions(positions)])[0].forces
        assert forces is not None
        return float(forces[nitrogen] @ normal)

    assert pull(0.0) == pytest.approx(0.0, abs=1e-9)
    stiffness = pull(1e-3) / 1e-3
    assert stiffness < -0.1
    assert pull(1e-6) / 1e-6 == pytest.approx(stiffness, rel=1e-3)


def test_the_rewritten_terms_are_still_written_as_they_were() -> None:
    topology, _ = family._topology(AMOEBA.card, ("nma",))
    system = AMOEBA.forcefield.createSystem(topology)
    functions = {f.getName(): f.getEnergyFunction() for f in system.getForces() if "Plane" in f.getName()}
    assert len(functions) == 2
    ends = {
        "AmoebaOutOfPlaneBendForce": "pointangle(x2, y2, z2, x4, y4, z4, projx, projy, projz)",
        "AmoebaInPlaneAngleForce": "pointangle(x1, y1, z1, projx, projy, projz, x3, y3, z3)",
    }
    for name, end in ends.items():
        polynomial, _, geometry = functions[name].partition("theta =")
        assert polynomial.startswith("k*(")
        assert geometry.strip().startswith(f"57.2957795130823*{end}")
        assert "projx = x2-nx*dot; projy = y2-ny*dot; projz = z2-nz*dot" in geometry


@pytest.mark.slow
def test_the_rewritten_terms_are_openmm_s(monkeypatch: pytest.MonkeyPatch) -> None:
    distorted = probes()["monomer"]
    ours = AMOEBA.evaluate([distorted])[0]
    monkeypatch.setattr(family, "_shorten_planar_terms", lambda system: None)
    theirs = load("amoeba2018").evaluate([distorted])[0]
    assert ours.energy == pytest.approx(theirs.energy, abs=1e-12)
    assert ours.forces is not None
    assert theirs.forces is not None
    np.testing.assert_allclose(ours.forces, theirs.forces, rtol=0, atol=1e-11)


@pytest.mark.parametrize("model", [AMBER, AMOEBA], ids=["amber14", "amoeba2018"])
def test_water_is_flexible(model: Potential) -> None:
    water = Structure.from_molecules([("water", donor_water())])
    rest = model.evaluate([water])[0].energy
    stretched, bent = water.positions.copy(), water.positions.copy()
    stretched[1] *= 1.1
    bent[2] += [0.0, 0.2, 0.0]
    for moved in (stretched, bent):
        result = model.evaluate([water.with_positions(moved)])[0]
        assert result.forces is not None
        assert result.energy > rest + 0.01
        assert np.abs(result.forces).max() > 0.1


def test_nma_is_neutral_with_the_charges_of_the_caps() -> None:
    charges = AMBER.evaluate([monomer()])[0].charges
    assert charges is not None
    assert charges.sum() == pytest.approx(0.0, abs=1e-9)
    # ff14SB: ACE C 0.5972, O -0.5679; NME N -0.4157, H 0.2719
    np.testing.assert_allclose(charges[1:5], [0.5972, -0.5679, -0.4157, 0.2719])


def test_amoeba_s_charges_are_its_monopoles() -> None:
    charges = AMOEBA.evaluate([monomer()])[0].charges
    assert charges is not None
    # amoebabio18: ACE C 0.68484, O -0.7276; NME N -0.26804, H 0.11919
    np.testing.assert_allclose(charges[1:5], [0.68484, -0.7276, -0.26804, 0.11919])


def test_unknown_molecule_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"model amber14: expected molecules nma or water, found 'other'"):
        AMBER.evaluate([Structure(np.array([8]), np.zeros((1, 3)), np.array([0]), ("other",))])
