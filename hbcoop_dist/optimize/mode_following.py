"""Down from a planar saddle: kick the structure along its lowest out-of-plane mode and minimise with torsions held.

A planar minimum under the mirror may be a saddle once methyls and pyramids may leave the plane; then optimisers that
hold phi1 and phi2 only end lower.  This is how our minimiser meets them there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.models.base import Potential
from hbcoop_dist.optimize.constraints import free_basis, odd_basis
from hbcoop_dist.optimize.hessians import positive
from hbcoop_dist.optimize.minimization import Minimised, Start, minimise
from hbcoop_dist.optimize.out_of_plane_modes import Verdict
from hbcoop_dist.optimize.quasi_newton import Goal
from hbcoop_dist.structures.construction import tree_of

FloatArray = NDArray[np.float64]

KICK = 0.1
"""Length of the kick, A, over all atoms together: enough to leave a saddle of -2e-4 eV/A^2, too little to jump off."""
SOFTEST = 0.01
"""Curvatures below this, eV/A^2, negative ones above all, are turned up to it in the first Hessian."""


def kicked(minimised: Minimised, verdict: Verdict, guess: FloatArray | None = None) -> Start:
    """The start of the way down: the structure a little along the mode, phi1 and phi2 where they were.

    Parameters
    ----------
    minimised : Minimised
        A planar stationary structure.
    verdict : Verdict
        Its lowest out-of-plane mode.
    guess : (m, m) array, optional
        Hessian in odd tree coordinates (`odd_basis`), needed where the verdict has none: the one it began with.

    Raises
    ------
    ValueError
        When neither verdict nor caller has an out-of-plane Hessian.
    """
    odd_hessian = verdict.hessian if guess is None else guess
    if odd_hessian is None:
        raise ValueError("follow_mode: expected a verdict with its Hessian, or a guess of one, found neither")
    tree, q = tree_of(minimised.system), minimised.path.q
    held = free_basis(tree, "torsions")
    moved = tree.coordinates(minimised.structure.positions + KICK * verdict.mode) - q
    moved = (moved + np.pi) % (2 * np.pi) - np.pi  # angles at 180 degrees come back as -180
    odd, even = odd_basis(tree), free_basis(tree, "mirror")
    hessian = even @ (even.T @ minimised.path.hessian @ even) @ even.T + odd @ odd_hessian @ odd.T
    return Start(minimised.system, q + held @ (held.T @ moved), positive(hessian, SOFTEST))


def follow_mode(
    potential: Potential,
    minimised: Minimised,
    verdict: Verdict,
    *,
    guess: FloatArray | None = None,
    goal: Goal | None = None,
) -> Minimised:
    """Minimise from a planar saddle down its lowest mode, phi1 and phi2 of every H-bond held.

    Parameters
    ----------
    potential : Potential
    minimised : Minimised
        A planar stationary structure.
    verdict : Verdict
        From `out_of_plane`; its eigenvalue should be negative, or the way leads back.
    guess : (m, m) array, optional
        As in `kicked`.
    goal : Goal, optional
        Convergence; 1e-5 eV/A by default.

    Returns
    -------
    Minimised
        Of the two mirror images always the same.

    Raises
    ------
    ValueError
        When neither verdict nor caller has an out-of-plane Hessian.
    """
    return minimise(potential, [kicked(minimised, verdict, guess)], constraint="torsions", goal=goal)[0]
