"""Typed results of the tasks of hydrogen-bond campaigns: what a worker returns and the journal keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hbcoop_dist.core.arrays import AnyArray, FloatArray


@dataclass(frozen=True, slots=True)
class BodyStart:
    """Coordinates and Hessian from which a molecule starts in a chain.

    Attributes
    ----------
    q : (k,) array
        Coordinates of the molecule, A and rad.
    hessian : (k, k) array
        eV/A^2, eV/(A rad) and eV/rad^2.
    """

    q: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True)
class MonomerResult:
    """Minimised NMA unit, and the Hessians that chains start from.

    Attributes
    ----------
    q : (n_q,) array
        Tree coordinates, A and rad.
    energy : float
        eV.
    force_calls : int
    unit : (n_q, n_q) array or None
        Hessian of the unit in tree coordinates; None when the minimisation failed.
    waters : mapping of str to BodyStart
        Cap waters by name of the body.
    """

    q: FloatArray
    energy: float
    force_calls: int
    unit: FloatArray | None
    waters: Mapping[str, BodyStart]


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """Minimised dimer or trimer whose energy decides which rotamers are lowest.

    Attributes
    ----------
    q : (n_q,) array
        Tree coordinates, A and rad.
    energy : float
        eV.
    force_calls : int
    hessian : (m, m) float32 array or None
        Hessian on the free coordinates; of dimers only.
    """

    q: FloatArray
    energy: float
    force_calls: int
    hessian: AnyArray | None


@dataclass(frozen=True, slots=True)
class MinimumResult:
    """Minimised chain.

    Attributes
    ----------
    positions : (N, 3) array
        A.
    q : (n_q,) array
        Tree coordinates, A and rad.
    energy : float
        eV.
    max_force, rms_force : float
        Largest force on an atom and RMS over force components, eV/A.
    steps, force_calls : int
    hessian : (m, m) float32 array or None
        Hessian on the free coordinates, of chains that longer ones start from and of those that did not converge.
    lowest_out_of_plane : float or None
        Lowest eigenvalue of the out-of-plane Hessian, eV/A^2; None for chains that left the plane.
    out_of_plane_hessian : (k, k) float32 array or None
        That Hessian in odd tree coordinates, of short chains.
    """

    positions: FloatArray
    q: FloatArray
    energy: float
    max_force: float
    rms_force: float
    steps: int
    force_calls: int
    hessian: AnyArray | None = None
    lowest_out_of_plane: float | None = None
    out_of_plane_hessian: AnyArray | None = None
