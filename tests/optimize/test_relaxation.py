"""Free minimisation of complexes."""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.models import registry
from hbcoop_dist.optimize.external.ase_optimizers import relax
from hbcoop_dist.optimize.quasi_newton import Goal
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.monomers import build, donor_water


@pytest.mark.parametrize("goal", [Goal(0.01), Goal(0.05, 0.002)])
def test_a_free_dimer_meets_both_criteria_and_lowers_its_energy(goal: Goal) -> None:
    toy, structure = registry.load("toy"), build(make_chain("arc", 2))
    relaxed = relax(toy, structure, goal)
    (evaluation,) = toy.evaluate([structure.with_positions(relaxed.positions)])
    forces = np.asarray(evaluation.forces)
    assert relaxed.converged
    assert relaxed.energy == pytest.approx(evaluation.energy, abs=1e-9)
    assert relaxed.energy < toy.evaluate([structure])[0].energy
    assert relaxed.max_force == pytest.approx(np.linalg.norm(forces, axis=1).max(), abs=1e-9)
    assert relaxed.rms_force == pytest.approx(np.sqrt((forces**2).mean()), abs=1e-9)
    assert goal.is_met(relaxed.max_force, relaxed.rms_force)


def test_too_few_calls_leave_it_unconverged() -> None:
    water = Structure.from_molecules([("water", 1.05 * donor_water())])
    relaxed = relax(registry.load("toy"), water, Goal(1e-6, max_calls=1))
    assert not relaxed.converged
    assert relaxed.force_calls <= 2
