"""Energy surface of a chain under a constraint, as the optimisers of other packages evaluate it.

Every evaluation is measured as in the package's own minimiser. The evaluation that meets the goal, or exhausts the
budget, ends the optimiser by an exception, so that its own convergence criterion never applies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import evaluate
from hbcoop_dist.optimize.constraints import Constraint, free_basis
from hbcoop_dist.optimize.minimization import Start
from hbcoop_dist.optimize.quasi_newton import Goal, constrained_force, reflect
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.monomers import structure_of, tree_of
from hbcoop_dist.structures.structure import NMA_ATOMS
from hbcoop_dist.structures.tree_coordinates import Tree

TORSION_TOLERANCE = 1.0e-5
"""Deviation, rad, of a constrained torsion in a converged structure; at 1 eV/rad it changes the energy by 1e-5 eV."""
_PHI1, _PHI2 = 2, 4


class ConvergedError(Exception):
    """Ends an optimiser whose last evaluation meets the goal."""


class UnconvergedError(Exception):
    """Ends an optimiser that may not continue; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Torsion:
    """A constrained torsion.

    Attributes
    ----------
    atoms : tuple of int
        Its four atoms.
    target : float
        Value, rad.
    place : int
        Its index in q.
    """

    atoms: tuple[int, int, int, int]
    target: float
    place: int


@dataclass(frozen=True, slots=True)
class SurfacePoint:
    """One evaluation.

    Attributes
    ----------
    q : (n_q,) array
        Tree coordinates.
    energy : float
        eV.
    max_force, rms_force : float
        Constrained forces, eV/A.
    deviation : float
        Largest deviation of a constrained torsion from its target, rad.
    """

    q: FloatArray
    energy: float
    max_force: float
    rms_force: float
    deviation: float


@dataclass(slots=True)
class Surface:
    """Energy surface of one start under a constraint, with a count of its evaluations.

    Under ``mirror``, positions and forces are averaged with their reflections through z = 0, so that a planar start
    stays planar with any optimiser. Under ``torsions``, the optimiser freezes the `torsions`; the surface only checks
    them.

    Attributes
    ----------
    potential : Potential
    template : Structure
        Start structure.
    tree : Tree
    constraint : {"mirror", "torsions", "none"}
    goal : Goal
    torsions : tuple of Torsion
    tolerance : float
        Largest deviation, rad, of a constrained torsion in a converged structure.
    calls : int
        Number of evaluations.
    last : SurfacePoint or None
        The last evaluation.
    """

    potential: Potential
    template: Structure
    tree: Tree
    constraint: Constraint
    goal: Goal
    torsions: tuple[Torsion, ...]
    tolerance: float = TORSION_TOLERANCE
    calls: int = 0
    last: SurfacePoint | None = None
    _basis: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self._basis = free_basis(self.tree, self.constraint)

    @classmethod
    def of(
        cls,
        potential: Potential,
        start: Start,
        constraint: Constraint,
        goal: Goal,
        tolerance: float = TORSION_TOLERANCE,
    ) -> Surface:
        """Make the surface of a start; torsions are constrained at their values in the start.

        Parameters
        ----------
        potential : Potential
        start : Start
        constraint : {"mirror", "torsions", "none"}
        goal : Goal
        tolerance : float
            Largest deviation, rad, of a constrained torsion in a converged structure.

        Returns
        -------
        Surface
        """
        tree = tree_of(start.chain)
        torsions = _torsions(tree, start.q) if constraint == "torsions" else ()
        return cls(potential, structure_of(start.chain, start.q), tree, constraint, goal, torsions, tolerance)

    def evaluate(self, positions: FloatArray) -> tuple[float, FloatArray]:
        """Evaluate the surface.

        Parameters
        ----------
        positions : (N, 3) array
            A.

        Returns
        -------
        energy : float
            eV.
        forces : (N, 3) array
            eV/A.

        Raises
        ------
        ConvergedError
            When the point meets the goal.
        UnconvergedError
            When energy or forces are not finite, or the budget of calls is exhausted.
        """
        x = np.array(positions, dtype=float)
        if self.constraint == "mirror":
            x = 0.5 * (x + reflect(self.tree, x))
        evaluation = evaluate(self.potential, [self.template.with_positions(x)])[0]
        forces = np.asarray(evaluation.forces, dtype=float)
        self.calls += 1
        if not (np.isfinite(evaluation.energy) and np.isfinite(forces).all()):
            self.last = SurfacePoint(self.tree.coordinates(x), float("nan"), float("nan"), float("nan"), 0.0)
            raise UnconvergedError(f"energy or forces are not finite (energy {evaluation.energy})")
        if self.constraint == "mirror":
            forces = 0.5 * (forces + reflect(self.tree, forces))
        self.last = point = self._measure(x, float(evaluation.energy), forces)
        if point.deviation < self.tolerance and self.goal.is_met(point.max_force, point.rms_force):
            raise ConvergedError
        if self.calls >= self.goal.max_calls:
            raise UnconvergedError(f"{self.describe(point)} after {self.calls} force calls")
        return point.energy, forces

    def describe(self, point: SurfacePoint) -> str:
        """Describe how a point misses the goal.

        Parameters
        ----------
        point : SurfacePoint

        Returns
        -------
        str
        """
        off = point.deviation
        torsion = f", a torsion {np.degrees(off):.1e} degrees off" if off >= self.tolerance else ""
        return f"max force {point.max_force:.2e} eV/A (asked for {self.goal.max_force:.2e}){torsion}"

    def _measure(self, x: FloatArray, energy: float, forces: FloatArray) -> SurfacePoint:
        # constrained forces are defined in the frame of the tree's root, which optimisers may rotate
        _, rotation = self.tree.bodies[0].frame(x[self.tree.atom_slice(0)])
        q = self.tree.coordinates(x)
        max_force, rms_force = constrained_force(self.tree, q, self._basis, self.constraint, forces @ rotation)
        deviations = [abs(np.angle(np.exp(1j * (q[torsion.place] - torsion.target)))) for torsion in self.torsions]
        return SurfacePoint(q, energy, max_force, rms_force, max(deviations, default=0.0))


def _torsions(tree: Tree, q: FloatArray) -> tuple[Torsion, ...]:
    """List phi1 (N, C, O of A; N of B) and phi2 (C, O of A; N, C of B) of every H-bond."""
    n, c = NMA_ATOMS.index("N"), NMA_ATOMS.index("C")
    torsions: list[Torsion] = []
    for index, joint in enumerate(tree.joints):
        if joint is None or not joint.hbond:
            continue
        first, second = tree.atom_slice(joint.parent).start, tree.atom_slice(index).start
        e0, e1, e2 = (first + atom for atom in joint.exit_atoms)
        start = tree.joint_slice(index).start
        torsions.append(Torsion((e0, e1, e2, second + n), float(q[start + _PHI1]), start + _PHI1))
        torsions.append(Torsion((e1, e2, second + n, second + c), float(q[start + _PHI2]), start + _PHI2))
    return tuple(torsions)


class SurfaceCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """ASE calculator of a `Surface`, which evaluates equal positions once."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, surface: Surface) -> None:
        super().__init__()
        self.surface = surface

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Evaluate the surface at the positions of the atoms."""
        super().calculate(atoms, properties, system_changes)
        energy, forces = self.surface.evaluate(self.atoms.positions)
        self.results = {"energy": energy, "forces": forces}
