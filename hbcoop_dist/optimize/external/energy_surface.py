"""What an optimiser of another package sees of a potential: positions in, energy and forces under the constraint out.

Convergence is ours whatever the package's own criterion says: every evaluation is measured as our minimiser measures
its own, and the one that meets the goal ends the optimiser by an exception from inside, as does the last one allowed.

A surface as an ASE calculator: what the optimisers of ASE and Sella ask.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from hbcoop_dist.models.base import Potential
from hbcoop_dist.models.batching import evaluate
from hbcoop_dist.optimize.constraints import Constraint, free_basis
from hbcoop_dist.optimize.minimization import Start
from hbcoop_dist.optimize.quasi_newton import Goal, constrained_force, reflect
from hbcoop_dist.structures import Structure
from hbcoop_dist.structures.construction import structure_of, tree_of
from hbcoop_dist.structures.structure import NMA_ATOMS
from hbcoop_dist.structures.tree_coordinates import Tree

FloatArray = NDArray[np.float64]

HELD = 1.0e-5
"""How far, rad, a torsion may be off its target in a converged structure: a torque of 1 eV/rad makes 1e-5 eV of it."""
_PHI1, _PHI2 = 2, 4


class ReachedError(Exception):
    """The goal is reached: the end of an optimiser that would have gone on."""


class GaveUpError(Exception):
    """The optimiser may not go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Torsion:
    """A torsion that is held: its four atoms, its value (rad), and where it stands in q."""

    atoms: tuple[int, int, int, int]
    target: float
    place: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One evaluation, measured: coordinates q (n_q,), energy (eV), constrained forces (eV/A), largest torsion off."""

    q: FloatArray
    energy: float
    max_force: float
    rms_force: float
    off: float


@dataclass(slots=True)
class Surface:
    """The energy surface of one start under a constraint, counting its evaluations.

    ``mirror`` reflects positions and forces through z = 0 and takes the mean, so that a planar start stays planar
    whatever the optimiser does; ``torsions`` are for the optimiser to hold (`torsions` names them) and are only checked
    here.

    Attributes
    ----------
    potential : Potential
    template : Structure
        The crude structure, for its elements and first positions.
    tree : Tree
    torsions : tuple of Torsion
    held : float
        How far, rad, a torsion may be off its target at the goal.
    calls : int
        Evaluations so far.
    seen : Seen or None
        The last one.
    """

    potential: Potential
    template: Structure
    tree: Tree
    constraint: Constraint
    goal: Goal
    torsions: tuple[Torsion, ...]
    held: float = HELD
    calls: int = 0
    seen: Seen | None = None
    _basis: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self._basis = free_basis(self.tree, self.constraint)

    @classmethod
    def of(cls, potential: Potential, start: Start, constraint: Constraint, goal: Goal, held: float = HELD) -> Surface:
        """The surface a start lies on; torsions are held at the start's own values."""
        tree = tree_of(start.system)
        torsions = _torsions(tree, start.q) if constraint == "torsions" else ()
        return cls(potential, structure_of(start.system, start.q), tree, constraint, goal, torsions, held)

    def evaluate(self, positions: FloatArray) -> tuple[float, FloatArray]:
        """Energy, eV, and forces (N, 3), eV/A, at positions (N, 3), A.

        Raises
        ------
        ReachedError
            When this is a minimum by our criterion.
        GaveUpError
            When the energy is not finite, or this was the last call allowed.
        """
        x = np.array(positions, dtype=float)
        if self.constraint == "mirror":
            x = 0.5 * (x + reflect(self.tree, x))
        found = evaluate(self.potential, [self.template.with_positions(x)])[0]
        forces = np.asarray(found.forces, dtype=float)
        self.calls += 1
        if not (np.isfinite(found.energy) and np.isfinite(forces).all()):
            self.seen = Seen(self.tree.coordinates(x), float("nan"), float("nan"), float("nan"), 0.0)
            raise GaveUpError(f"energy or forces are not finite (energy {found.energy})")
        if self.constraint == "mirror":
            forces = 0.5 * (forces + reflect(self.tree, forces))
        self.seen = seen = self._measured(x, float(found.energy), forces)
        if self.reached(seen):
            raise ReachedError
        if self.calls >= self.goal.max_calls:
            raise GaveUpError(f"{self.missing(seen)} after {self.calls} force calls")
        return seen.energy, forces

    def reached(self, seen: Seen) -> bool:
        """Whether an evaluation meets the goal, with every torsion where it should be."""
        rms = self.goal.rms_force
        return seen.off < self.held and seen.max_force <= self.goal.max_force and (rms is None or seen.rms_force <= rms)

    def missing(self, seen: Seen) -> str:
        """What an evaluation lacks, in words."""
        off = f", a torsion {np.degrees(seen.off):.1e} degrees off" if seen.off >= self.held else ""
        return f"max force {seen.max_force:.2e} eV/A (asked for {self.goal.max_force:.2e}){off}"

    def _measured(self, x: FloatArray, energy: float, forces: FloatArray) -> Seen:
        # constrained forces are measured in the frame of the tree's root, which optimisers are free to turn
        _, rotation = self.tree.bodies[0].frame(x[self.tree.atom_slice(0)])
        q = self.tree.coordinates(x)
        largest, rms = constrained_force(self.tree, q, self._basis, self.constraint, forces @ rotation)
        off = [abs(np.angle(np.exp(1j * (q[torsion.place] - torsion.target)))) for torsion in self.torsions]
        return Seen(q, energy, largest, rms, max(off, default=0.0))


def _torsions(tree: Tree, q: FloatArray) -> tuple[Torsion, ...]:
    """phi1 (N, C, O of A; N of B) and phi2 (C, O of A; N, C of B) of every H-bond."""
    n, c = NMA_ATOMS.index("N"), NMA_ATOMS.index("C")
    held: list[Torsion] = []
    for index, joint in enumerate(tree.joints):
        if joint is None or not joint.hbond:
            continue
        first, second = tree.atom_slice(joint.parent).start, tree.atom_slice(index).start
        e0, e1, e2 = (first + atom for atom in joint.exit_atoms)
        start = tree.joint_slice(index).start
        held.append(Torsion((e0, e1, e2, second + n), float(q[start + _PHI1]), start + _PHI1))
        held.append(Torsion((e1, e2, second + n, second + c), float(q[start + _PHI2]), start + _PHI2))
    return tuple(held)


class SurfaceCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """Energy and forces of a `Surface`; equal positions are evaluated once."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, surface: Surface) -> None:
        super().__init__()
        self.surface = surface

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Evaluate the surface where the atoms are."""
        super().calculate(atoms, properties, system_changes)
        energy, forces = self.surface.evaluate(self.atoms.positions)
        self.results = {"energy": energy, "forces": forces}
