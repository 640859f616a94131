"""Textbook geometries of NMA and water, the bodies of chains, and chains in crude planar geometries built from them.

Body frame of NMA: N at the origin, C on +x, O in the xy plane with y > 0; the amide plane is z = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.structures.chains import Chain, Conformer, Rotamer
from hbcoop_dist.structures.geometry import dihedral
from hbcoop_dist.structures.structure import NMA_ATOMS, Structure
from hbcoop_dist.structures.tree_coordinates import Body, Joint, Rotor, Tree, frame_from

_X, _Y, _Z = range(3)
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


def _direction(degrees: float) -> FloatArray:
    """Unit vector (3,) in the xy plane at an angle from +x."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0])


def _methyl(carbon: FloatArray, bonded: FloatArray, beside: FloatArray, eclipsed: bool) -> FloatArray:
    """Positions (3, 3) of the H of a methyl; the first, in the plane, eclipses `bonded`-`beside` or opposes it."""
    axis = (bonded - carbon) / np.linalg.norm(bonded - carbon)
    side = (beside - bonded) - axis * np.dot(beside - bonded, axis)
    side *= (1.0 if eclipsed else -1.0) / np.linalg.norm(side)
    up = np.array([0.0, 0.0, 1.0])
    along, across = 1.09 * np.cos(np.radians(110.0)), 1.09 * np.sin(np.radians(110.0))
    turns = np.radians([0.0, 120.0, -120.0])
    return np.array([carbon + along * axis + across * (np.cos(t) * side + np.sin(t) * up) for t in turns])


def nma(rotamer: Rotamer) -> FloatArray:
    """Textbook geometry of trans-NMA.

    Parameters
    ----------
    rotamer : Rotamer

    Returns
    -------
    (12, 3) array
        A, in the body frame, exactly planar (Cs), atoms in the order of `NMA_ATOMS`.
    """
    n = np.zeros(3)
    c = np.array([1.36, 0.0, 0.0])
    o = c + 1.23 * _direction(180.0 - 122.5)
    ca = c + 1.51 * _direction(-(180.0 - 116.0))
    h = 1.01 * _direction(-119.0)
    cn = 1.45 * _direction(122.0)
    acetyl = _methyl(ca, c, n, rotamer.acetyl == "cis-N")
    amine = _methyl(cn, n, c, rotamer.amine == "cis-C")
    return np.vstack([ca, c, o, n, h, cn, acetyl, amine])


def donor_water() -> FloatArray:
    """Textbook geometry (3, 3), A, of a donor water: O at the origin, its free H2 on +x, its donated H1 at y > 0."""
    return np.array([np.zeros(3), 0.97 * _direction(104.5), [0.97, 0.0, 0.0]])


def acceptor_water() -> FloatArray:
    """Textbook geometry (3, 3), A, of an acceptor water: O at the origin, bisector along +y, H-H along z."""
    half = np.radians(104.5 / 2)
    y, z = 0.97 * np.cos(half), 0.97 * np.sin(half)
    return np.array([[0.0, 0.0, 0.0], [0.0, y, z], [0.0, y, -z]])


def monomer(rotamer: Rotamer | None = None) -> Structure:
    """Build one NMA molecule from textbook values, in `Rotamer` defaults unless given."""
    return Structure.from_molecules([("nma", nma(rotamer or Rotamer()))])


def methyl_angles(positions: FloatArray) -> tuple[float, float]:
    """Measure how far the methyls of one NMA unit are turned.

    Parameters
    ----------
    positions : (12, 3) array
        A, atoms in the order of `NMA_ATOMS`.

    Returns
    -------
    acetyl, amine : float
        Torsions H-CA-C-N and H-CN-N-C of the H nearest to cis, degrees in [-60, 60]: 0 is cis-N or cis-C, 60 in either
        direction cis-O or trans-C.
    """
    at = dict(zip(NMA_ATOMS, np.asarray(positions), strict=True))
    angles = []
    for name, chain in (("HA", ("CA", "C", "N")), ("HN", ("CN", "N", "C"))):
        torsions = [float(dihedral(at[f"{name}{k}"], *(at[atom] for atom in chain))) for k in (1, 2, 3)]
        angles.append(float(np.degrees(min(torsions, key=abs))))
    return angles[0], angles[1]


def rotamer_of(positions: FloatArray) -> Rotamer | None:
    """Determine the rotamer of one NMA unit, whichever H of each methyl lies in the plane.

    Parameters
    ----------
    positions : (12, 3) array
        A, atoms in the order of `NMA_ATOMS` up to the order of H within a methyl.

    Returns
    -------
    Rotamer or None
        None when a methyl is more than 30 degrees away from both of its orientations.
    """
    at = dict(zip(NMA_ATOMS, np.asarray(positions), strict=True))
    names: list[str] = []
    for hydrogens, carbon, bonded, beside, cis, trans in (
        (("HA1", "HA2", "HA3"), "CA", "C", "N", "cis-N", "cis-O"),
        (("HN1", "HN2", "HN3"), "CN", "N", "C", "cis-C", "trans-C"),
    ):
        angles = [abs(dihedral(at[h], at[carbon], at[bonded], at[beside])) for h in hydrogens]
        if min(angles) < np.radians(30.0) and max(angles) < np.radians(150.0):
            names.append(cis)
        elif max(angles) >= np.radians(150.0) and min(angles) >= np.radians(30.0):
            names.append(trans)
        else:
            return None
    return Rotamer(names[0], names[1])  # type: ignore[arg-type]


_Direction = list[tuple[int, int, float]]
"""Direction of a coordinate: atoms, axes and signs of the Cartesian components in it."""


def _basis(n_atoms: int, directions: Sequence[_Direction]) -> FloatArray:
    """Return directions as orthonormal arrays (n_dof, m, 3)."""
    basis = np.zeros((len(directions), n_atoms, 3))
    for row, components in zip(basis, directions, strict=True):
        for atom, axis, sign in components:
            row[atom, axis] = sign / np.sqrt(len(components))
    return basis


def _nma_frame(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    n, c, o = (x[NMA_ATOMS.index(name)] for name in ("N", "C", "O"))
    return n, frame_from(c - n, o - n)


def _donor_frame(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    return x[0], frame_from(x[2] - x[0], x[1] - x[0])


def _acceptor_frame(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    z = (x[1] - x[2]) / np.linalg.norm(x[1] - x[2])
    y = (x[1] - x[0]) - z * np.dot(z, x[1] - x[0])
    y /= np.linalg.norm(y)
    return x[0], np.column_stack([np.cross(y, z), y, z])


@cache
def nma_body(rotamer: Rotamer) -> Body:
    """Body of NMA in a rotamer: 30 coordinates, 19 of them symmetric under the mirror plane.

    The angles of the two methyls are coordinates, zero in the rotamer.
    """
    c, o = _C, _O
    textbook, methyls = nma(rotamer), (("CA", "C", ("HA1", "HA2", "HA3")), ("CN", "N", ("HN1", "HN2", "HN3")))
    directions: list[_Direction] = [[(c, _X, 1.0)], [(o, _X, 1.0)], [(o, _Y, 1.0)]]
    for name in ("CA", "H", "CN"):
        directions += [[(NMA_ATOMS.index(name), axis, 1.0)] for axis in (_X, _Y, _Z)]
    parts, rotors, mirror = [_basis(12, directions)], [], list(range(12))
    n_dof = len(directions)
    for carbon, bonded, hydrogens in methyls:
        bond = (NMA_ATOMS.index(bonded), NMA_ATOMS.index(carbon))
        atoms = tuple(NMA_ATOMS.index(name) for name in hydrogens)
        mirror[atoms[1]], mirror[atoms[2]] = atoms[2], atoms[1]
        even, odd = _methyl_directions(atoms)
        axis = (textbook[bond[1]] - textbook[bond[0]]) / np.linalg.norm(textbook[bond[1]] - textbook[bond[0]])
        tangent = np.zeros((12, 3))
        tangent[list(atoms)] = np.cross(axis, textbook[list(atoms)] - textbook[bond[1]])
        tangent /= np.linalg.norm(tangent)
        parts += [even, _without(odd, tangent), np.zeros((1, 12, 3))]
        n_dof += 9
        rotors.append(Rotor(n_dof - 1, bond, atoms, tangent[list(atoms)]))
    return Body("nma", "nma", np.concatenate(parts), np.array(mirror), _nma_frame, tuple(rotors))


def _methyl_directions(atoms: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Directions of the hydrogens of a methyl: five even (5, 12, 3) and four odd ones (4, 12, 3) under the mirror."""
    first, above, below = atoms
    even: list[_Direction] = [[(first, _X, 1.0)], [(first, _Y, 1.0)]]
    even += [[(above, axis, 1.0), (below, axis, sign)] for axis, sign in ((_X, 1.0), (_Y, 1.0), (_Z, -1.0))]
    odd: list[_Direction] = [[(first, _Z, 1.0)]]
    odd += [[(above, axis, 1.0), (below, axis, sign)] for axis, sign in ((_X, -1.0), (_Y, -1.0), (_Z, 1.0))]
    return _basis(12, even), _basis(12, odd)


def _without(directions: FloatArray, tangent: FloatArray) -> FloatArray:
    """Orthonormal basis (k - 1, m, 3) of the span of k orthonormal directions without one vector (m, 3) in it."""
    components = np.tensordot(directions, tangent, 2)
    kept = np.argsort(np.abs(components), kind="stable")[:-1]
    columns = np.column_stack([components, np.eye(len(directions))[:, kept]])
    return np.tensordot(np.linalg.qr(columns)[0][:, 1:].T, directions, 1)


@cache
def donor_body() -> Body:
    """Body of a donor water, which lies in the plane.

    Its x axis is the free O-H bond so that no joint angle comes near 0 or 180 degrees.
    """
    basis = _basis(3, [[(2, _X, 1.0)], [(1, _X, 1.0)], [(1, _Y, 1.0)]])
    return Body("donor water", "water", basis, np.arange(3), _donor_frame)


@cache
def acceptor_body() -> Body:
    """Body of an acceptor water, whose two H are mirror images in the plane."""
    basis = _basis(3, [[(1, _Y, 1.0), (2, _Y, 1.0)], [(1, _Z, 1.0)], [(2, _Z, 1.0)]])
    return Body("acceptor water", "water", basis, np.array([0, 2, 1]), _acceptor_frame)


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
    bodies = [nma_body(rotamer) for rotamer in chain.rotamers]
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
        units = [nma_body(rotamer).coordinates(nma(rotamer)) for rotamer in chain.rotamers]
    if hbonds is None:
        hbonds = [crude_joint(conformer) for conformer in chain.conformers]
    q = np.empty(tree.n_q)
    for index, body in enumerate(tree.bodies):
        if index < n:
            q[tree.body_slice(index)] = units[index]
        else:
            water = acceptor_water() if body is acceptor_body() else donor_water()
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
