"""How much of a step may be taken: no H-bond turns over on the way, and no two molecules run into one another.

Both are looked at before the model is asked, so that a step too long costs nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.structures.tree_coordinates import Tree

FloatArray = NDArray[np.float64]

# theta1 beyond 180 degrees turns a syn H-bond into an anti one; the mirror plane alone does not forbid it.
STRAIGHT = np.radians(179.0)

# A long chain whose joints all bend a little moves its ends by many A. Letting them run into one another cost several
# force calls each time and spoilt the Hessian (SO3LR, capped arc of 11 units: 67 force calls, 36 with this limit).
CLOSEST = 1.5
"""Distance, A, between atoms of different molecules from which on they approach slowly only."""
APPROACH, CLOSE_APPROACH = 0.75, 0.9
"""What is left at least of any such distance after one step, before and after it is that short."""
_SHORTEN, _SMALLEST = 0.6, 1e-3


def straight_limit(tree: Tree, q: FloatArray, change: FloatArray) -> tuple[float, int]:
    """How much of a step keeps every C-O..N angle below straight, and which H-bond limits it."""
    fraction, guarded = 1.0, 0
    for index, joint in enumerate(tree.joints):
        if joint is None or not joint.hbond:
            continue
        theta1 = tree.joint_slice(index).start + 1
        if q[theta1] + change[theta1] > STRAIGHT:
            allowed = 0.9 * max(STRAIGHT - q[theta1], 0.0) / change[theta1]
            if allowed < fraction:
                fraction, guarded = allowed, index
    return fraction, guarded


def clash_limit(tree: Tree, q: FloatArray, change: FloatArray) -> float:
    """How much of a step keeps the molecules apart."""
    if len(tree.bodies) < 2:
        return 1.0
    before = _distances(tree, q)
    least = np.minimum(CLOSE_APPROACH * before, np.maximum(APPROACH * before, CLOSEST))
    fraction = 1.0
    while fraction > _SMALLEST and (_distances(tree, q + fraction * change) < least).any():
        fraction *= _SHORTEN
    return fraction


def _distances(tree: Tree, q: FloatArray) -> FloatArray:
    """Distances (P,), A, of all pairs of atoms in different molecules."""
    x = tree.positions(q)
    owner = np.repeat(np.arange(len(tree.bodies)), [len(body.offset) for body in tree.bodies])
    one, other = np.nonzero(owner[:, None] < owner[None, :])
    return np.asarray(np.linalg.norm(x[one] - x[other], axis=1), dtype=float)
