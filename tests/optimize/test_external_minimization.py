"""Optimisers of other packages: the same minimum, by our criterion, and every way of not getting there is a reason."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from starts import crude
from wrapped import Wrapped

from hbcoop_dist.models import registry
from hbcoop_dist.models.base import Evaluation, Potential
from hbcoop_dist.optimize.external.availability import OPTIMISERS, not_installed
from hbcoop_dist.optimize.external.energy_surface import TORSION_TOLERANCE, Surface
from hbcoop_dist.optimize.external.minimization import minimise_with
from hbcoop_dist.optimize.minimization import Start, minimise
from hbcoop_dist.optimize.quasi_newton import Goal
from hbcoop_dist.structures import Structure, make_chain
from hbcoop_dist.structures.geometry import hbond_geometry, planarity
from hbcoop_dist.structures.monomers import tree_of

OTHERS = [name for name in OPTIMISERS if name != "tree"]
PATIENT = Goal(max_calls=3000)


@pytest.fixture(scope="module")
def toy() -> Potential:
    return registry.load("toy")


@pytest.mark.parametrize("optimiser", OTHERS)
def test_mirror_is_kept_and_the_minimum_is_ours(toy: Potential, optimiser) -> None:
    start = crude(toy, make_chain("arc", 2, "water" if optimiser != "ase-fire" else "none"))
    ours, theirs = minimise(toy, [start])[0], minimise_with(optimiser, toy, [start], goal=PATIENT)[0]
    assert theirs.path.converged, theirs.path.reason
    assert theirs.path.max_force < 1e-5
    assert theirs.path.energy == pytest.approx(ours.path.energy, abs=1e-6)
    assert planarity(theirs.structure) < 1e-9
    assert toy.evaluate([theirs.structure])[0].energy == pytest.approx(theirs.path.energy, abs=1e-9)


@pytest.mark.parametrize("optimiser", ["ase-lbfgs", "sella", pytest.param("geometric", marks=pytest.mark.slow)])
def test_torsions_are_held_where_the_start_has_them(toy: Potential, optimiser) -> None:
    """A dimer held at phi1 = 30 degrees pulls on its constraint, yet is converged."""
    start = crude(toy, make_chain("arc", 2), "torsions")
    q = start.q.copy()
    q[tree_of(start.chain).joint_slice(1).start + 2] = np.radians(30.0)
    turned = Start(start.chain, q, start.hessian)
    ours = minimise(toy, [turned], constraint="torsions")[0]
    theirs = minimise_with(optimiser, toy, [turned], constraint="torsions", goal=PATIENT)[0]
    assert theirs.path.converged, theirs.path.reason
    assert theirs.path.energy == pytest.approx(ours.path.energy, abs=1e-5)
    geometry = hbond_geometry(theirs.structure)
    assert np.radians(geometry.phi1[0] - 30.0) == pytest.approx(0.0, abs=TORSION_TOLERANCE)
    assert abs(np.radians(abs(geometry.phi2[0]) - 180.0)) < TORSION_TOLERANCE
    forces = np.asarray(toy.evaluate([theirs.structure])[0].forces)
    assert theirs.path.max_force < 1e-5 < np.linalg.norm(forces, axis=1).max()


@pytest.mark.parametrize("optimiser", OTHERS)
def test_too_few_calls_are_counted_and_are_a_reason(toy: Potential, optimiser) -> None:
    start = crude(toy, make_chain("arc", 2))
    one = minimise_with(optimiser, toy, [start], goal=Goal(max_calls=4))[0]
    assert not one.path.converged
    assert one.path.force_calls == 4
    assert one.path.reason.endswith("(asked for 1.00e-05) after 4 force calls")


class _Spoilt(Wrapped):
    """The toy without an energy, or with one that raises."""

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        self.calls += 1
        if self.calls > 3:
            return [Evaluation(float("nan"), np.full(s.positions.shape, np.nan)) for s in structures]
        return self.inner.evaluate(structures, forces=forces, atom_energies=atom_energies)


@pytest.mark.parametrize("optimiser", OTHERS)
def test_an_energy_that_is_not_finite_is_a_reason(toy: Potential, optimiser) -> None:
    one = minimise_with(optimiser, _Spoilt(toy), [crude(toy, make_chain("arc", 2))])[0]
    assert "not finite" in one.path.reason
    assert not np.isfinite(one.path.energy)


def test_whatever_an_optimiser_raises_is_a_reason(toy: Potential, monkeypatch: pytest.MonkeyPatch) -> None:
    from hbcoop_dist.optimize.external import ase_optimizers as with_ase

    def stumble(surface: Surface) -> None:
        surface.evaluate(surface.template.positions)
        raise ValueError("FixInternals.adjust_positions\ndid not converge.")

    monkeypatch.setattr(with_ase, "relax_lbfgs", stumble)
    one = minimise_with("ase-lbfgs", toy, [crude(toy, make_chain("arc", 2))])[0]
    assert one.path.reason.startswith("ValueError: FixInternals.adjust_positions did not converge.; max force ")


def test_they_print_nothing_and_leave_loggers_and_warnings_as_they_were(toy: Potential, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, filters = logging.getLogger("geometric.nifty").disabled, list(warnings.filters)
    for optimiser in OTHERS:
        minimise_with(optimiser, toy, [crude(toy, make_chain("arc", 2))], goal=Goal(max_calls=5))
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert logging.getLogger("geometric.nifty").disabled == before
    assert warnings.filters == filters


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, toy: Potential) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "install the extra 'crosscheck'" in not_installed("sella")
    assert not_installed("ase-fire") == not_installed("tree") == ""
    with pytest.raises(ValueError, match="expected package geometric"):
        minimise_with("geometric", toy, [])


def test_an_unknown_optimiser_is_refused(toy: Potential) -> None:
    with pytest.raises(ValueError, match=r"expected one of tree, ase-lbfgs.*found 'bfgs'"):
        minimise_with("bfgs", toy, [])  # type: ignore[arg-type]


@pytest.mark.parametrize("optimiser", ["ase-lbfgs", "sella", "geometric"])
def test_a_campaign_runs_with_another_optimiser(compute, optimiser) -> None:
    """The staging still works: longer chains start from the shorter ones' geometry, and the numbers are the same."""
    fields = {"models": ["toy"], "lengths": [2, 3], "patterns": ["linear"]}
    _, _, ours = compute(**fields)
    drawn, results, theirs = compute(**fields, minimize={"optimiser": optimiser})
    assert [record.status for record in theirs] == ["done", "done"]
    for one, other in zip(ours, theirs, strict=True):
        assert other.values["cooperative_energy"] == pytest.approx(one.values["cooperative_energy"], abs=1e-4)
    assert all(task.key in results for task in drawn.tasks.values())
