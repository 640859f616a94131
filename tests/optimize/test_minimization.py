"""The minimiser meets its goal under every constraint, alone or in a batch, and gives reasons when it does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from starts import MONOMER, crude
from wrapped import Wrapped

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.batching import BatchSize
from hbcoop_dist.optimize.minimization import Start, body_hessian, guess_hessian, minimise, monomer_start
from hbcoop_dist.optimize.quasi_newton import Goal, State
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.geometry import broken_geometry, planarity
from hbcoop_dist.structures.monomers import crude_start, nma_body, tree_of

CHAINS = [make_chain(p, n, c) for p in ("arc", "linear") for n in (2, 3, 6) for c in ("none", "water")]


@pytest.fixture(scope="module")
def toy() -> Potential:
    return registry.load("toy")


def test_every_chain_reaches_the_tolerance_and_stays_what_it_was(toy: Potential) -> None:
    found = minimise(toy, [crude(toy, chain) for chain in CHAINS])
    for chain, one in zip(CHAINS, found, strict=True):
        assert one.path.converged, (str(chain), one.path.reason)
        forces = np.asarray(toy.evaluate([one.structure])[0].forces)
        assert np.linalg.norm(forces, axis=1).max() < 1e-5
        assert one.path.max_force < 1e-5
        assert planarity(one.structure) < 1e-9
        assert broken_geometry(one.structure, chain.conformers) == ""


def test_many_at_once_are_each_alone(toy: Potential) -> None:
    chains = [make_chain("arc", 4), make_chain("linear", 2, "water"), make_chain("arc", 2)]
    starts = [crude(toy, chain) for chain in chains]
    together = minimise(toy, starts, batch=BatchSize(100))
    for one, alone in zip(together, [minimise(toy, [s])[0] for s in starts], strict=True):
        assert one.path.force_calls == alone.path.force_calls
        assert one.path.energy == pytest.approx(alone.path.energy, abs=1e-8)
        assert one.structure.positions == pytest.approx(alone.structure.positions, abs=1e-7)


def test_torsion_constraint_started_in_the_plane_finds_the_same_minimum(toy: Potential) -> None:
    chain = make_chain("linear", 3)
    s = crude(toy, chain)
    full = guess_hessian(
        tree_of(chain), [body_hessian(toy, nma_body(MONOMER.rotamers[0]), crude_start(MONOMER), "none")] * 3
    )
    kicked = s.q + 0.02 * np.random.default_rng(0).normal(size=s.q.shape)
    for joint in (1, 2):  # phi1 and phi2 stay where the constraint holds them
        torsions = tree_of(chain).joint_slice(joint).start + np.array([2, 4])
        kicked[torsions] = s.q[torsions]
    mirror = minimise(toy, [s])[0]
    torsions_held = minimise(toy, [Start(chain, kicked, full)], constraint="torsions")[0]
    assert torsions_held.path.converged
    assert torsions_held.path.energy == pytest.approx(mirror.path.energy, abs=1e-7)


def test_the_force_left_is_projected_on_what_is_free(toy: Potential) -> None:
    """A dimer held at phi1 = 40 degrees pulls on its constraint, yet is converged."""
    chain = make_chain("arc", 2)
    tree, s = tree_of(chain), crude(toy, chain)
    q = s.q.copy()
    q[tree.joint_slice(1).start + 2] = np.radians(40.0)
    unit = body_hessian(toy, nma_body(MONOMER.rotamers[0]), crude_start(MONOMER), "none")
    full = guess_hessian(tree, [unit] * 2)
    one = minimise(toy, [Start(chain, q, full)], constraint="torsions")[0]
    forces = np.asarray(toy.evaluate([one.structure])[0].forces)
    assert one.path.converged
    assert one.path.max_force < 1e-5 < np.linalg.norm(forces, axis=1).max()
    assert one.path.q[tree.joint_slice(1).start + 2] == pytest.approx(np.radians(40.0), abs=1e-14)


def test_too_few_calls_is_unconverged_with_a_reason(toy: Potential) -> None:
    one = minimise(toy, [crude(toy, make_chain("arc", 3))], goal=Goal(max_calls=3))[0]
    assert not one.path.converged
    assert "after 3 force calls, asked for 1.00e-05" in one.path.reason


class _Spoilt(Wrapped):
    """The toy, but structures of three units have no energy."""

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        found = self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)
        nan = Evaluation(float("nan"), np.full((36, 3), np.nan))
        return [nan if len(s) == 36 else e for s, e in zip(structures, found, strict=True)]


def test_a_structure_without_energy_fails_alone(toy: Potential) -> None:
    starts = [crude(toy, make_chain("arc", n)) for n in (2, 3, 4)]
    good, bad, also_good = minimise(_Spoilt(toy), starts)
    assert good.path.converged
    assert also_good.path.converged
    assert "not finite" in bad.path.reason


class Oriented(Wrapped):
    """The inner potential and a little energy that depends on where a molecule points, as a functional's grid makes."""

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        found = []
        for structure, result in zip(structures, self.inner.evaluate(structures, forces=forces), strict=True):
            along = structure.positions[4] - structure.positions[0]
            energy = result.energy + 2e-3 * along[0] * along[1] / (along @ along)
            assert result.forces is not None
            slope = (np.array([along[1], along[0], 0.0]) - 2 * along[0] * along[1] * along / (along @ along)) / (
                along @ along
            )
            pull = np.array(result.forces)
            pull[4] -= 2e-3 * slope
            pull[0] += 2e-3 * slope
            found.append(Evaluation(energy, pull))
        return found


def test_an_energy_that_depends_on_how_the_whole_lies_does_not_keep_it_from_converging(toy: Potential) -> None:
    oriented = Oriented(toy)
    one = minimise(oriented, [monomer_start(toy, MONOMER)])[0]
    assert one.path.converged, one.path.reason
    forces = np.asarray(oriented.evaluate([one.structure])[0].forces)
    assert np.abs(forces).max() > 1e-4, "the torque stays: nothing could follow it"
    assert np.abs(forces.sum(axis=0)).max() < 1e-9


@pytest.mark.parametrize("after", [1, 4])
def test_a_resumed_minimisation_is_identical_to_an_uninterrupted_one(toy: Potential, after: int) -> None:
    start = crude(toy, make_chain("linear", 3))
    states: list[State] = []
    undisturbed = minimise(toy, [start], keep=lambda _, state: states.append(state))[0]
    resumed = minimise(toy, [start], resume={0: states[after - 1]})[0]
    assert len(states) == undisturbed.path.force_calls
    assert resumed.path.force_calls == undisturbed.path.force_calls
    assert resumed.path.energy == undisturbed.path.energy
    np.testing.assert_array_equal(resumed.path.q, undisturbed.path.q)
    np.testing.assert_array_equal(resumed.path.hessian, undisturbed.path.hessian)


def test_states_are_kept_by_the_index_of_their_start(toy: Potential) -> None:
    starts = [crude(toy, make_chain("arc", n)) for n in (2, 3)]
    kept: dict[int, State] = {}
    minimised = minimise(toy, starts, keep=kept.__setitem__)
    for index, one in enumerate(minimised):
        np.testing.assert_array_equal(kept[index].q, one.path.q)
