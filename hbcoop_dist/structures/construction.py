"""From a system to its tree and a crude start; and parts of a minimised structure moved onto a new one.

The arrangement of the caps (design, section 2): one water accepts at the free N-H of the first unit, its H
mirrored by the plane; two waters donate one H each to the free carbonyl O of the last unit, in the plane, one
on either side; the fourth donates both its H to those two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.structures import monomers as templates
from hbcoop_dist.structures.chains import Chain, Conformer
from hbcoop_dist.structures.monomers import acceptor_body, donor_body, nma_body
from hbcoop_dist.structures.structure import NMA_ATOMS, Structure
from hbcoop_dist.structures.tree_coordinates import Joint, Tree

FloatArray = NDArray[np.float64]

_N, _C, _O = (NMA_ATOMS.index(name) for name in ("N", "C", "O"))
_FLAT = np.pi


def planar_torsions(conformer: Conformer) -> tuple[float, float]:
    """(phi1, phi2), rad, of a planar H-bond between units of one sense: syn (0, pi), anti (pi, 0)."""
    return (0.0, _FLAT) if conformer == "syn" else (_FLAT, 0.0)


def crude_joint(conformer: Conformer) -> FloatArray:
    """Textbook joint between two units: O..N 2.95 A, C-O..N 150 degrees, N-H..O straight."""
    phi1, phi2 = planar_torsions(conformer)
    return np.array([2.95, np.radians(150.0), phi1, np.radians(119.0), phi2, _FLAT])


_CAP_JOINTS = (
    # (exit atoms, crude joint); the parent is the first unit, the last unit twice, and the second water. Values are
    # rounded means of capped dimers minimised with SO3LR, GFN2-xTB and ANI-2x, which agree within 15 degrees.
    ((_O, _C, _N), (2.97, np.radians(115.0), _FLAT, np.radians(67.0), _FLAT, _FLAT)),
    ((_N, _C, _O), (2.82, np.radians(143.0), 0.0, np.radians(105.0), 0.0, 0.0)),
    ((_N, _C, _O), (2.82, np.radians(134.0), _FLAT, np.radians(110.0), 0.0, 0.0)),
    ((2, 1, 0), (2.93, np.radians(97.0), _FLAT, np.radians(90.0), 0.0, 0.0)),
)


def tree_of(system: Chain) -> Tree:
    """Bodies and joints of a system: units in chain order, then the four waters of the caps.

    Water order: acceptor at the free N-H; donor on the N side of the free C=O; donor on the other side; the one that
    donates to both.
    """
    n = system.length
    bodies = [nma_body()] * n
    joints: list[Joint | None] = [None]
    joints += [Joint(unit, (_N, _C, _O), hbond=True) for unit in range(n - 1)]
    if system.capping == "water":
        bodies += [acceptor_body(), donor_body(), donor_body(), donor_body()]
        parents = (0, n - 1, n - 1, n + 1)
        joints += [Joint(parent, cap[0]) for parent, cap in zip(parents, _CAP_JOINTS, strict=True)]
    return Tree(tuple(bodies), tuple(joints))


def crude_start(
    system: Chain,
    units: Sequence[FloatArray] | None = None,
    hbonds: Sequence[FloatArray] | None = None,
) -> FloatArray:
    """Start coordinates q of a system.

    Parameters
    ----------
    system : Chain
    units : sequence of (30,) arrays, optional
        Body coordinates of every unit; textbook monomers in the system's rotamers when left out.
    hbonds : sequence of (6,) arrays, optional
        Joint coordinates of every H-bond; `crude_joint` when left out.

    Returns
    -------
    (n_q,) array
    """
    tree = tree_of(system)
    if units is None:
        units = [nma_body().coordinates(templates.nma(rotamer)) for rotamer in system.rotamers]
    if hbonds is None:
        hbonds = [crude_joint(conformer) for conformer in system.conformers]
    n = system.length
    q = np.empty(tree.n_q)
    for index, body in enumerate(tree.bodies):
        if index < n:
            q[tree.body_slice(index)] = units[index]
        else:
            water = templates.acceptor_water() if body is acceptor_body() else templates.donor_water()
            q[tree.body_slice(index)] = body.coordinates(water)
            q[tree.joint_slice(index)] = _CAP_JOINTS[index - n][1]
        if 0 < index < n:
            q[tree.joint_slice(index)] = hbonds[index - 1]
    return q


def structure_of(system: Chain, q: FloatArray) -> Structure:
    """The structure of a system at coordinates q (n_q,)."""
    tree = tree_of(system)
    x = tree.positions(q)
    return Structure.from_molecules([(body.kind, x[tree.atom_slice(i)]) for i, body in enumerate(tree.bodies)])


def build(system: Chain) -> Structure:
    """A crude structure of a system: textbook monomers and H-bonds, exactly planar."""
    return structure_of(system, crude_start(system))
