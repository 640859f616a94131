"""Minimisation with optimisers of other packages, with the starts and results of the package's own minimiser.

Structures are minimised one after another. Coordinates, energy and forces of a result are those of the optimiser's last
evaluation on the `Surface`, and an exception raised by the optimiser becomes the reason of an unconverged result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hbcoop_dist.models.base import ModelError, Potential
from hbcoop_dist.optimize.constraints import Constraint, free_basis
from hbcoop_dist.optimize.external.availability import (
    OPTIMISERS,
    PAPER_TOLERANCE,
    Optimiser,
    not_installed,
    not_minimised,
)
from hbcoop_dist.optimize.external.energy_surface import (
    TORSION_TOLERANCE,
    ConvergedError,
    Surface,
    UnconvergedError,
)
from hbcoop_dist.optimize.minimization import Minimised, Start, minimise
from hbcoop_dist.optimize.quasi_newton import Goal, OptimizationPath
from hbcoop_dist.structures.monomers import structure_of

Relax = Callable[[Surface], None]


def minimise_with(
    optimiser: Optimiser,
    potential: Potential,
    starts: Sequence[Start],
    *,
    constraint: Constraint = "mirror",
    goal: Goal | None = None,
) -> list[Minimised]:
    """Minimise every start under a constraint with the named optimiser.

    Parameters
    ----------
    optimiser : {"tree", "ase-lbfgs", "ase-fire", "sella", "geometric"}
        ``tree`` is the package's own (`minimise`).
    potential : Potential
    starts : sequence of Start
        Only ``tree`` uses their Hessians; other optimisers make their own guesses.
    constraint : {"mirror", "torsions", "none"}
    goal : Goal, optional
        Convergence, 1e-5 eV/A by default, which replaces the criterion of the other package.

    Returns
    -------
    list of Minimised
        In the order of `starts`. ``path.steps`` counts evaluations after the first, and ``path.hessian`` is that of the
        start in the free directions, because these optimisers return none.

    Raises
    ------
    ModelError
        When the model cannot evaluate a structure, e.g. because of its size or elements.
    ValueError
        When the optimiser is unknown or its package is not installed.
    """
    if optimiser not in OPTIMISERS:
        raise ValueError(f"optimiser: expected one of {', '.join(OPTIMISERS)}, found {optimiser!r}")
    if reason := not_installed(optimiser):
        raise ValueError(f"optimiser: {reason}")
    if optimiser == "tree":
        return minimise(potential, starts, constraint=constraint, goal=goal)
    relax = _relax_with(optimiser)
    return [_minimise_one(relax, potential, start, constraint, goal or Goal()) for start in starts]


def minimise_in_openmm(
    potential: Potential,
    checkpoint: Path | None,
    starts: Sequence[Start],
    *,
    tolerance: float = PAPER_TOLERANCE,
    goal: Goal | None = None,
) -> list[Minimised]:
    """Minimise every start in OpenMM with phi1 and phi2 restrained, the protocol of Feng, Xu, Huang (2025).

    Parameters
    ----------
    potential : Potential
    checkpoint : Path or None
        File or folder that the potential was loaded from, for openmm-ml.
    starts : sequence of Start
    tolerance : float
        RMS force, kJ/mol/nm, of OpenMM's minimiser.
    goal : Goal, optional
        Criteria for the potential's own float64 forces at the end point.

    Returns
    -------
    list of Minimised
        As from `minimise_with`; energy and forces are those of the potential in float64.

    Raises
    ------
    ModelError
        When OpenMM cannot minimise with this model, or the model cannot evaluate a structure.
    """
    if reason := not_minimised(potential.card):
        raise ModelError(f"engine openmm: {reason}")
    # an optional package
    from hbcoop_dist.optimize.external.openmm_minimizer import RESTRAINT_TOLERANCE, relax_openmm

    relax = partial(relax_openmm, checkpoint=checkpoint, tolerance=tolerance)
    goal = goal or Goal()
    return [_minimise_one(relax, potential, start, "torsions", goal, RESTRAINT_TOLERANCE) for start in starts]


def _relax_with(optimiser: Optimiser) -> Relax:
    # geomeTRIC is an optional package, and the others take long to import
    if optimiser == "geometric":
        from hbcoop_dist.optimize.external.geometric_optimizer import relax_geometric

        return relax_geometric
    from hbcoop_dist.optimize.external import ase_optimizers

    relax: dict[Optimiser, Relax] = {
        "ase-lbfgs": ase_optimizers.relax_lbfgs,
        "ase-fire": ase_optimizers.relax_fire,
        "sella": ase_optimizers.relax_sella,
    }
    return relax[optimiser]


def _minimise_one(
    relax: Relax,
    potential: Potential,
    start: Start,
    constraint: Constraint,
    goal: Goal,
    tolerance: float = TORSION_TOLERANCE,
) -> Minimised:
    surface = Surface.of(potential, start, constraint, goal, tolerance)
    try:
        relax(surface)
        reason = _unconverged("the optimiser ended by itself", surface)
    except ConvergedError:
        reason = ""
    except UnconvergedError as error:
        reason = str(error)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  an optimiser may raise any exception, which only ends its minimisation
        reason = _unconverged(f"{type(error).__name__}: {' '.join(str(error).split())}", surface)
    path = _path(surface, start, constraint, reason)
    return Minimised(start.chain, structure_of(start.chain, path.q), path)


def _unconverged(reason: str, surface: Surface) -> str:
    return reason if surface.last is None else f"{reason}; {surface.describe(surface.last)}"


def _path(surface: Surface, start: Start, constraint: Constraint, reason: str) -> OptimizationPath:
    last, calls = surface.last, surface.calls
    basis = free_basis(surface.tree, constraint)
    hessian = basis @ (basis.T @ start.hessian @ basis) @ basis.T
    if last is None:
        nan = float("nan")
        return OptimizationPath(start.q, nan, nan, nan, 0, calls, reason, False, hessian)
    return OptimizationPath(
        last.q, last.energy, last.max_force, last.rms_force, calls - 1, calls, reason, False, hessian
    )
