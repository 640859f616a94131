"""Typed results of the tasks of campaigns of complexes."""

from __future__ import annotations

from dataclasses import dataclass

from hbcoop_dist.core.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class RelaxedResult:
    """Complex after a free minimisation.

    Attributes
    ----------
    positions : (N, 3) array
        A.
    energy : float
        eV.
    max_force, rms_force : float
        Largest force on an atom and RMS over force components, eV/A.
    force_calls : int
    """

    positions: FloatArray
    energy: float
    max_force: float
    rms_force: float
    force_calls: int
