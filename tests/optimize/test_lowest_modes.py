"""The lowest out-of-plane mode is that of the full Hessian, by all columns and by a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from starts import crude
from wrapped import Wrapped

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.models.batching import evaluate
from hbcoop_dist.optimize.constraints import odd_basis
from hbcoop_dist.optimize.lowest_modes import StationaryPoint, find_lowest_modes
from hbcoop_dist.optimize.minimization import Minimised, minimise
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.geometry import hbond_geometry
from hbcoop_dist.structures.monomers import tree_of


@pytest.fixture(scope="module")
def toy() -> Potential:
    return registry.load("toy")


def _torsion_gradients(one: Minimised) -> np.ndarray:
    """d phi1 / dx and d phi2 / dx by finite differences."""
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


def test_out_of_plane_curvature_is_that_of_a_full_hessian(toy: Potential) -> None:
    """Against the A'' block of a brute-force Cartesian Hessian, torsions projected out."""
    chain = make_chain("arc", 2)
    tree, one = tree_of(chain), minimise(toy, [crude(toy, chain)])[0]
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
    mode = find_lowest_modes(toy, [StationaryPoint(tree, one.path.q, one.structure)])[0]
    assert mode.eigenvalue == pytest.approx(min(odd), rel=1e-3)
    assert mode.force_calls == 23


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
    chain = make_chain("arc", 2)
    one = minimise(toy, [crude(toy, chain)])[0]
    planar = StationaryPoint(tree_of(chain), one.path.q, one.structure)
    plain, pushed = (find_lowest_modes(potential, [planar])[0] for potential in (toy, lopsided))
    assert pushed.eigenvalue == pytest.approx(plain.eigenvalue, abs=1e-9)
    whole = replace(planar, guess=plain.hessian)
    assert find_lowest_modes(lopsided, [whole])[0].eigenvalue == pytest.approx(plain.eigenvalue, abs=1e-4)


@pytest.fixture(scope="module", params=[("linear", 3, "none"), ("arc", 7, "water"), ("linear", 7, "none")], ids=str)
def planar(request: pytest.FixtureRequest, toy: Potential) -> StationaryPoint:
    """A planar minimum of the toy."""
    minimised = minimise(toy, [crude(toy, make_chain(*request.param))])[0]
    assert minimised.path.converged
    return StationaryPoint(tree_of(minimised.chain), minimised.path.q, minimised.structure)


def test_a_few_columns_give_the_eigenvalue_of_the_whole_hessian(toy: Potential, planar: StationaryPoint) -> None:
    """From a guess that is off by a tenth of every curvature."""
    (whole,) = find_lowest_modes(toy, [planar])
    assert whole.hessian is not None
    assert whole.force_calls == len(whole.hessian) == odd_basis(planar.tree).shape[1]
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(whole.hessian))
    scale = np.diag(1.0 + noise)
    (few,) = find_lowest_modes(toy, [replace(planar, guess=scale @ whole.hessian @ scale)])
    assert few.hessian is None
    assert few.force_calls < whole.force_calls
    assert few.eigenvalue == pytest.approx(whole.eigenvalue, abs=2e-4, rel=5e-3)


def test_a_mode_has_unit_norm_leaves_the_plane_and_has_its_eigenvalue(toy: Potential, planar: StationaryPoint) -> None:
    """The curvature along the mode is the eigenvalue, with all columns and with a few."""
    (whole,) = find_lowest_modes(toy, [planar])
    (few,) = find_lowest_modes(toy, [replace(planar, guess=whole.hessian)])
    x, step, in_plane = planar.structure.positions, 5e-3, [0, 1, 2, 3, 4, 5, 6]
    for result in (whole, few):
        mode = result.mode
        assert np.linalg.norm(mode) == pytest.approx(1.0)
        assert np.abs(mode[in_plane, :2]).max() < 1e-9
        ends = [planar.structure.with_positions(x + sign * step * mode) for sign in (1, -1)]
        plus, minus = (np.asarray(e.forces) for e in toy.evaluate(ends))
        assert -((plus - minus) * mode).sum() / (2 * step) == pytest.approx(result.eigenvalue, abs=2e-4, rel=5e-3)
    assert (whole.mode * few.mode).sum() == pytest.approx(1.0, abs=1e-2), "the sign is fixed"


def test_many_structures_share_batches(toy: Potential) -> None:
    chains = [make_chain("arc", 2), make_chain("linear", 3)]
    minimised = minimise(toy, [crude(toy, chain) for chain in chains])
    planars = [StationaryPoint(tree_of(m.chain), m.path.q, m.structure) for m in minimised]
    alone = [find_lowest_modes(toy, [planar])[0].eigenvalue for planar in planars]
    assert [mode.eigenvalue for mode in find_lowest_modes(toy, planars)] == pytest.approx(alone, abs=1e-8)
