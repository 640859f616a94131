"""Minimise with another package's optimiser: the same starts in, the same results out as from our own minimiser.

A cross-check, one structure after another.  Nothing of the package's opinion is taken over: coordinates, energy and
forces are ours, measured at its last evaluation, and whatever it raises is the reason of a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path as FilePath

from hbcoop_dist.models.base import ModelError, Potential
from hbcoop_dist.optimize.constraints import Constraint, free_basis
from hbcoop_dist.optimize.external.availability import (
    OPTIMISERS,
    PAPER_TOLERANCE,
    Optimiser,
    not_installed,
    not_minimised,
)
from hbcoop_dist.optimize.external.energy_surface import HELD, GaveUpError, ReachedError, Surface
from hbcoop_dist.optimize.minimization import Minimised, Start, minimise
from hbcoop_dist.optimize.quasi_newton import Goal, Path
from hbcoop_dist.structures.construction import structure_of

Relax = Callable[[Surface], None]


def minimise_with(
    optimiser: Optimiser,
    potential: Potential,
    starts: Sequence[Start],
    *,
    constraint: Constraint = "mirror",
    goal: Goal | None = None,
) -> list[Minimised]:
    """Minimise every start under the constraint with the named optimiser.

    Parameters
    ----------
    optimiser : {"tree", "ase-lbfgs", "ase-fire", "sella", "geometric"}
        ``tree`` is our own (`minimise`).
    potential : Potential
    starts : sequence of Start
        Only ``tree`` uses their Hessians: the others have guesses of their own.
    constraint : {"mirror", "torsions", "none"}
    goal : Goal, optional
        Convergence, 1e-5 eV/A by default.  It is checked at every evaluation, whatever the package's own criterion.

    Returns
    -------
    list of Minimised
        In the order of `starts`.  ``path.steps`` counts evaluations after the first, and ``path.hessian`` is the
        start's, where the constraint leaves it: these optimisers hand none back.

    Raises
    ------
    ModelError
        When the model cannot evaluate a structure (too large for the memory, an element it does not know).
    ValueError
        When there is no such optimiser, or its package is not installed; the message says what to install.
    """
    if optimiser not in OPTIMISERS:
        raise ValueError(f"optimiser: expected one of {', '.join(OPTIMISERS)}, found {optimiser!r}")
    if reason := not_installed(optimiser):
        raise ValueError(f"optimiser: {reason}")
    if optimiser == "tree":
        return minimise(potential, starts, constraint=constraint, goal=goal)
    relax = _relax(optimiser)
    return [_single(relax, potential, start, constraint, goal or Goal()) for start in starts]


def minimise_in_openmm(
    potential: Potential,
    checkpoint: FilePath | None,
    starts: Sequence[Start],
    *,
    tolerance: float = PAPER_TOLERANCE,
    goal: Goal | None = None,
) -> list[Minimised]:
    """Minimise every start in OpenMM, phi1 and phi2 restrained, as Feng, Xu, Huang (2025) did.

    Parameters
    ----------
    potential : Potential
    checkpoint : Path or None
        What the potential was loaded from; openmm-ml reads it again.
    starts : sequence of Start
    tolerance : float
        Of OpenMM's minimiser: RMS force, kJ/mol/nm.
    goal : Goal, optional
        What our own float64 forces have to meet where it ended.

    Returns
    -------
    list of Minimised
        As from `minimise_with`; energy and forces are ours, in float64, where OpenMM's minimiser ended.

    Raises
    ------
    ModelError
        When OpenMM cannot minimise with this model, or the model cannot evaluate a structure.
    """
    if reason := not_minimised(potential.card):
        raise ModelError(f"engine openmm: {reason}")
    from hbcoop_dist.optimize.external import openmm_minimizer as with_openmm

    relax = partial(with_openmm.relax, checkpoint=checkpoint, tolerance=tolerance)
    chosen = goal or Goal()
    return [_single(relax, potential, start, "torsions", chosen, with_openmm.RESTRAINED) for start in starts]


def _relax(optimiser: Optimiser) -> Relax:
    # each package is imported with its own file, when it is asked for
    if optimiser == "sella":
        from hbcoop_dist.optimize.external import ase_optimizers as with_sella

        return with_sella.relax
    if optimiser == "geometric":
        from hbcoop_dist.optimize.external import geometric_optimizer as with_geometric

        return with_geometric.relax
    from hbcoop_dist.optimize.external import ase_optimizers as with_ase

    return with_ase.relax_lbfgs if optimiser == "ase-lbfgs" else with_ase.relax_fire


def _single(
    relax: Relax, potential: Potential, start: Start, constraint: Constraint, goal: Goal, held: float = HELD
) -> Minimised:
    surface = Surface.of(potential, start, constraint, goal, held)
    try:
        relax(surface)
        reason = _unfinished("the optimiser ended by itself", surface)
    except ReachedError:
        reason = ""
    except GaveUpError as error:
        reason = str(error)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  an optimiser may raise anything: that is how it ended, not a crash
        reason = _unfinished(f"{type(error).__name__}: {' '.join(str(error).split())}", surface)
    path = _path(surface, start, constraint, reason)
    return Minimised(start.system, structure_of(start.system, path.q), path)


def _unfinished(reason: str, surface: Surface) -> str:
    return reason if surface.seen is None else f"{reason}; {surface.missing(surface.seen)}"


def _path(surface: Surface, start: Start, constraint: Constraint, reason: str) -> Path:
    seen, calls = surface.seen, surface.calls
    basis = free_basis(surface.tree, constraint)
    hessian = basis @ (basis.T @ start.hessian @ basis) @ basis.T
    if seen is None:
        nan = float("nan")
        return Path(start.q, nan, nan, nan, 0, calls, reason, False, hessian)
    return Path(seen.q, seen.energy, seen.max_force, seen.rms_force, calls - 1, calls, reason, False, hessian)
