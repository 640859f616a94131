"""The minimiser reaches what it promises, one at a time or many, and says so when it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from wrapped import Wrapped

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.optimize.hessians import body_hessian, guess_hessian
from hbcoop_dist.optimize.minimization import Minimised, Start, minimise, monomer_start
from hbcoop_dist.optimize.out_of_plane_modes import Planar, out_of_plane
from hbcoop_dist.optimize.quasi_newton import Goal
from hbcoop_dist.optimize.step_limits import clash_limit
from hbcoop_dist.structures import DEFAULT_ROTAMER, Chain, Structure, make_chain
from hbcoop_dist.structures.construction import crude_start, tree_of
from hbcoop_dist.structures.geometry import broken, planarity
from hbcoop_dist.structures.monomers import acceptor_body, acceptor_water, donor_body, donor_water, nma_body

MONOMER = Chain((), (DEFAULT_ROTAMER,))
SYSTEMS = [make_chain(p, n, c) for p in ("arc", "linear") for n in (2, 3, 6) for c in ("none", "water")]


@pytest.fixture(scope="module")
def toy() -> Potential:
    return registry.load("toy")


def start(potential: Potential, system: Chain) -> Start:
    monomer = minimise(potential, [monomer_start(potential, MONOMER)])[0]
    nma = body_hessian(potential, nma_body(), monomer.path.q, "mirror")
    waters = [(acceptor_body(), acceptor_water()), *[(donor_body(), donor_water())] * 3]
    blocks = [nma] * system.length
    if system.capping == "water":
        blocks += [body_hessian(potential, body, body.coordinates(x), "mirror") for body, x in waters]
    q = crude_start(system, [monomer.path.q] * system.length)
    return Start(system, q, guess_hessian(tree_of(system), blocks))


def test_every_chain_reaches_the_tolerance_and_stays_what_it_was(toy: Potential) -> None:
    found = minimise(toy, [start(toy, system) for system in SYSTEMS])
    for system, one in zip(SYSTEMS, found, strict=True):
        assert one.path.converged, (str(system), one.path.reason)
        forces = np.asarray(toy.evaluate([one.structure])[0].forces)
        assert np.linalg.norm(forces, axis=1).max() < 1e-5
        assert one.path.max_force < 1e-5
        assert planarity(one.structure) < 1e-9
        assert broken(one.structure, system.conformers) == ""


def test_many_at_once_are_each_alone(toy: Potential) -> None:
    systems = [make_chain("arc", 4), make_chain("linear", 2, "water"), make_chain("arc", 2)]
    starts = [start(toy, system) for system in systems]
    together = minimise(toy, starts, batch=BatchSize(100))
    for one, alone in zip(together, [minimise(toy, [s])[0] for s in starts], strict=True):
        assert one.path.force_calls == alone.path.force_calls
        assert one.path.energy == pytest.approx(alone.path.energy, abs=1e-8)
        assert one.structure.positions == pytest.approx(alone.structure.positions, abs=1e-7)


def test_torsion_constraint_started_in_the_plane_finds_the_same_minimum(toy: Potential) -> None:
    system = make_chain("linear", 3)
    s = start(toy, system)
    full = guess_hessian(tree_of(system), [body_hessian(toy, nma_body(), crude_start(MONOMER), "none")] * 3)
    kicked = s.q + 0.02 * np.random.default_rng(0).normal(size=s.q.shape)
    for joint in (1, 2):  # phi1 and phi2 stay where the constraint holds them
        torsions = tree_of(system).joint_slice(joint).start + np.array([2, 4])
        kicked[torsions] = s.q[torsions]
    mirror = minimise(toy, [s])[0]
    torsions_held = minimise(toy, [Start(system, kicked, full)], constraint="torsions")[0]
    assert torsions_held.path.converged
    assert torsions_held.path.energy == pytest.approx(mirror.path.energy, abs=1e-7)


def test_the_force_left_is_projected_on_what_is_free(toy: Potential) -> None:
    """A dimer held at phi1 = 40 degrees pulls on its constraint, yet is converged."""
    system = make_chain("arc", 2)
    tree, s = tree_of(system), start(toy, system)
    q = s.q.copy()
    q[tree.joint_slice(1).start + 2] = np.radians(40.0)
    full = guess_hessian(tree, [body_hessian(toy, nma_body(), crude_start(MONOMER), "none")] * 2)
    one = minimise(toy, [Start(system, q, full)], constraint="torsions")[0]
    forces = np.asarray(toy.evaluate([one.structure])[0].forces)
    assert one.path.converged
    assert one.path.max_force < 1e-5 < np.linalg.norm(forces, axis=1).max()
    assert one.path.q[tree.joint_slice(1).start + 2] == pytest.approx(np.radians(40.0), abs=1e-14)


def test_out_of_plane_curvature_is_that_of_a_full_hessian(toy: Potential) -> None:
    """Against the A'' block of a brute-force Cartesian Hessian, torsions projected out."""
    system = make_chain("arc", 2)
    tree, one = tree_of(system), minimise(toy, [start(toy, system)])[0]
    x, n = one.structure.positions, len(one.structure)
    step = 1e-4
    moved = [one.structure.with_positions(x + sign * step * d.reshape(n, 3)) for d in np.eye(3 * n) for sign in (1, -1)]
    forces = np.array([np.asarray(e.forces).ravel() for e in evaluate(toy, moved)])
    hessian = -(forces[0::2] - forces[1::2]) / (2 * step)
    torsions = _torsion_gradients(one)
    rigid = np.array([np.cross(axis, x).ravel() for axis in np.eye(3)] + [np.tile(e, n) for e in np.eye(3)])
    basis, _ = np.linalg.qr(np.vstack([torsions, rigid]).T)
    free = np.eye(3 * n) - basis @ basis.T
    values, vectors = np.linalg.eigh(free @ (0.5 * (hessian + hessian.T)) @ free)
    heights = np.abs(vectors.reshape(n, 3, -1)[:8, 2, :]).max(axis=0)  # in-plane atoms of unit 1 move along z
    odd = [value for value, height in zip(values, heights, strict=True) if abs(value) > 1e-6 and height > 1e-4]
    verdict = out_of_plane(toy, [Planar(tree, one.path.q, one.structure)])[0]
    assert verdict.eigenvalue == pytest.approx(min(odd), rel=1e-3)
    assert verdict.force_calls == 23


class _Lopsided(Wrapped):
    """A model that pulls on one atom along z, wherever it is."""

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        found = self.inner.evaluate(structures, forces=True, atom_energies=atom_energies)
        pull = np.array([0.0, 0.0, 0.01])
        return [replace(one, forces=one.forces + pull * (np.arange(len(one.forces)) == 7)[:, None]) for one in found]


def test_forces_of_a_model_that_tells_mirror_images_apart_are_no_curvature(toy: Potential) -> None:
    """The same force wherever the atoms are pulls out of the plane and bends nothing."""
    lopsided = _Lopsided(toy)
    lopsided.card = toy.card.with_fields(mirror_invariant=False)
    system = make_chain("arc", 2)
    one = minimise(toy, [start(toy, system)])[0]
    planar = Planar(tree_of(system), one.path.q, one.structure)
    plain, pushed = (out_of_plane(potential, [planar])[0] for potential in (toy, lopsided))
    assert pushed.eigenvalue == pytest.approx(plain.eigenvalue, abs=1e-9)
    whole = replace(planar, guess=plain.hessian)
    assert out_of_plane(lopsided, [whole])[0].eigenvalue == pytest.approx(plain.eigenvalue, abs=1e-4)


def _torsion_gradients(one: Minimised) -> np.ndarray:
    """d phi1 / dx and d phi2 / dx by finite differences."""
    from hbcoop_dist.structures.geometry import hbond_geometry

    x, n, step = one.structure.positions, len(one.structure), 1e-5
    rows = []
    for name in ("phi1", "phi2"):
        row = []
        for d in np.eye(3 * n):
            pair = [
                getattr(hbond_geometry(one.structure.with_positions(x + s * step * d.reshape(n, 3))), name)[0]
                for s in (1, -1)
            ]
            row.append(np.sin(np.radians(pair[0] - pair[1])) / (2 * step))
        rows.append(row)
    return np.array(rows)


def test_too_few_calls_is_unconverged_with_a_reason(toy: Potential) -> None:
    one = minimise(toy, [start(toy, make_chain("arc", 3))], goal=Goal(max_calls=3))[0]
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
    starts = [start(toy, make_chain("arc", n)) for n in (2, 3, 4)]
    good, bad, also_good = minimise(_Spoilt(toy), starts)
    assert good.path.converged
    assert also_good.path.converged
    assert "not finite" in bad.path.reason


def test_no_step_runs_molecules_into_one_another() -> None:
    """An arc of twelve units all of whose joints bend a little: its ends would pass through each other."""
    system = make_chain("arc", 12)
    tree, q = tree_of(system), crude_start(system)
    change = np.zeros_like(q)
    for unit in range(1, 12):
        change[tree.joint_slice(unit).start + np.array([1, 3])] = [-0.06, 0.06]
    owner = np.repeat(np.arange(12), 12)

    def closest(fraction: float) -> float:
        x = tree.positions(q + fraction * change)
        d = np.linalg.norm(x[:, None] - x[None], axis=-1)
        return float(d[owner[:, None] < owner[None, :]].min())

    assert closest(1.0) < 0.8 < 1.8 < closest(0.0)
    fraction = clash_limit(tree, q, change)
    assert 0.0 < fraction < 1.0
    assert all(closest(part * fraction) > 1.4 for part in np.linspace(0.0, 1.0, 20))
    assert clash_limit(tree, q, 0.1 * fraction * change) == 1.0


def test_what_is_close_already_may_come_closer_slowly() -> None:
    system = make_chain("arc", 2)
    tree, q = tree_of(system), crude_start(system)
    r = tree.joint_slice(1).start
    q[r] -= 0.6  # H..O 1.3 A
    step = np.eye(len(q))[r]
    assert clash_limit(tree, q, -0.05 * step) == 1.0
    assert clash_limit(tree, q, -0.5 * step) < 0.4
    assert clash_limit(tree, q, 0.5 * step) == 1.0


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
