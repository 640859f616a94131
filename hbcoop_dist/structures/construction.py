"""Crude planar structures of chains: the tree of bodies and joints, and start coordinates with textbook values.

Caps: one water accepts at the free N-H of the first unit, its H mirrored by the plane; two waters donate one H each to
the free carbonyl O of the last unit, in the plane, one on either side; the fourth water donates both H to those two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.structures import monomers as templates
from hbcoop_dist.structures.chains import Chain, Conformer
from hbcoop_dist.structures.monomers import acceptor_body, donor_body, nma_body
from hbcoop_dist.structures.structure import NMA_ATOMS, Structure
from hbcoop_dist.structures.tree_coordinates import Joint, Tree

_N, _C, _O = (NMA_ATOMS.index(name) for name in ("N", "C", "O"))
_PI = np.pi

_CAP_JOINTS = (
    # Exit atoms and joint coordinates of each water; its parents are the first unit, the last unit (twice) and the
    # second water. The values are rounded means of capped dimers minimised with SO3LR, GFN2-xTB and ANI-2x, which
    # differ by less than 15 degrees.
    ((_O, _C, _N), (2.97, np.radians(115.0), _PI, np.radians(67.0), _PI, _PI)),
    ((_N, _C, _O), (2.82, np.radians(143.0), 0.0, np.radians(105.0), 0.0, 0.0)),
    ((_N, _C, _O), (2.82, np.radians(134.0), _PI, np.radians(110.0), 0.0, 0.0)),
    ((2, 1, 0), (2.93, np.radians(97.0), _PI, np.radians(90.0), 0.0, 0.0)),
)


def planar_torsions(conformer: Conformer) -> tuple[float, float]:
    """Return (phi1, phi2), rad, of a planar H-bond between units of one sense: (0, pi) for syn, (pi, 0) for anti."""
    return (0.0, _PI) if conformer == "syn" else (_PI, 0.0)


def crude_joint(conformer: Conformer) -> FloatArray:
    """Return textbook joint coordinates (6,) of an H-bond: O..N 2.95 A, C-O..N 150 degrees, N-H..O straight."""
    phi1, phi2 = planar_torsions(conformer)
    return np.array([2.95, np.radians(150.0), phi1, np.radians(119.0), phi2, _PI])


def tree_of(chain: Chain) -> Tree:
    """Make the tree coordinates of a chain.

    Parameters
    ----------
    chain : Chain

    Returns
    -------
    Tree
        Bodies are the units in chain order, then the waters: acceptor at the free N-H; donor on the N side of the free
        C=O; donor on the other side; donor to both of these.
    """
    n = chain.length
    bodies = [nma_body()] * n
    joints: list[Joint | None] = [None]
    joints += [Joint(unit, (_N, _C, _O), hbond=True) for unit in range(n - 1)]
    if chain.capping == "water":
        bodies += [acceptor_body(), donor_body(), donor_body(), donor_body()]
        parents = (0, n - 1, n - 1, n + 1)
        joints += [Joint(parent, exit_atoms) for parent, (exit_atoms, _) in zip(parents, _CAP_JOINTS, strict=True)]
    return Tree(tuple(bodies), tuple(joints))


def crude_start(
    chain: Chain,
    units: Sequence[FloatArray] | None = None,
    hbonds: Sequence[FloatArray] | None = None,
) -> FloatArray:
    """Make start coordinates of a chain.

    Parameters
    ----------
    chain : Chain
    units : sequence of (30,) arrays, optional
        Body coordinates of every unit; textbook monomers in the chain's rotamers by default.
    hbonds : sequence of (6,) arrays, optional
        Joint coordinates of every H-bond; `crude_joint` by default.

    Returns
    -------
    (n_q,) array
        Tree coordinates, A and rad.
    """
    tree, n = tree_of(chain), chain.length
    if units is None:
        units = [nma_body().coordinates(templates.nma(rotamer)) for rotamer in chain.rotamers]
    if hbonds is None:
        hbonds = [crude_joint(conformer) for conformer in chain.conformers]
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


def structure_of(chain: Chain, q: FloatArray) -> Structure:
    """Return the structure of a chain at tree coordinates q, (n_q,)."""
    tree = tree_of(chain)
    x = tree.positions(q)
    return Structure.from_molecules([(body.kind, x[tree.atom_slice(i)]) for i, body in enumerate(tree.bodies)])


def build(chain: Chain) -> Structure:
    """Build a crude, exactly planar structure of a chain from textbook monomers and H-bonds."""
    return structure_of(chain, crude_start(chain))
