"""Tree coordinates: internal coordinates of every molecule and its pose relative to a parent molecule.

Positions are an explicit function of the coordinates q, and dE/dq follows from sums of force and torque over the
descendants of each molecule. There is no iterative back-transformation, torsions can be frozen exactly, and bending a
long chain changes one coordinate.

A joint places a child body relative to three exit atoms (e0, e1, e2) of its parent by six coordinates in Z-matrix
order: distance r from e2 to the child's origin, angle theta1 = e1-e2-origin, torsion phi1 = e0-e1-e2-origin, angle
theta2 = e2-origin-(child's x axis), torsion phi2 about e2-origin and torsion phi3 about the child's x axis. Between NMA
units (N, C, O of A; N, C, O of B) phi1 and phi2 are the torsions of Feng, Xu, Huang (2025).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hbcoop_dist.core.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Rotor:
    """Atoms of a body that one of its coordinates rotates about a bond, e.g. the hydrogens of a methyl.

    As a coordinate of its own the rotation is soft and straight: in Cartesian coordinates of the hydrogens a turn of
    60 degrees follows a curve along which C-H bonds would stretch, and a minimiser needs several times as many steps.

    Attributes
    ----------
    coordinate : int
        Index of the angle, rad, among the body coordinates.
    bond : tuple of int
        Fixed atom and rotating carbon; the axis points to the carbon.
    atoms : tuple of int
        Atoms that rotate.
    tangent : (k, 3) array
        Directions of the atoms in which no other coordinate moves them: those of the rotation at zero angle.
    """

    coordinate: int
    bond: tuple[int, int]
    atoms: tuple[int, ...]
    tangent: FloatArray

    def rotate(self, y: FloatArray, angle: float) -> FloatArray:
        """Return positions (m, 3) with the atoms rotated by `angle`, rad."""
        out = y.copy()
        origin, axis, _ = self._axis(y)
        v = y[list(self.atoms)] - origin
        out[list(self.atoms)] = origin + _rotated(v, axis, angle)
        return out

    def pullback(self, y: FloatArray, angle: float, gradient: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Convert a gradient at the rotated positions.

        Parameters
        ----------
        y : (m, 3) array
            Positions before the rotation.
        angle : float
            rad.
        gradient : (..., m, 3) array
            dE/d(rotated positions).

        Returns
        -------
        (..., m, 3) array, (...) array
            dE/dy and dE/d(angle).
        """
        atoms, (fixed, carbon) = list(self.atoms), self.bond
        origin, axis, length = self._axis(y)
        v, g = y[atoms] - origin, gradient[..., atoms, :]
        back = _rotated(g, axis, -angle)
        along_v, along_g = v @ axis, g @ axis
        # derivative of Rodrigues' formula with respect to the axis
        of_axis = np.sin(angle) * _cross(v, g).sum(-2)
        of_axis += (1 - np.cos(angle)) * (along_v[:, None] * g + along_g[..., None] * v).sum(-2)
        tilt = (of_axis - (of_axis @ axis)[..., None] * axis) / length
        out = gradient.copy()
        out[..., atoms, :] = back
        out[..., carbon, :] += (g - back).sum(-2) + tilt
        out[..., fixed, :] -= tilt
        return out, (_cross(axis, _rotated(v, axis, angle)) * g).sum((-2, -1))

    def angle(self, b: FloatArray) -> float:
        """Return the angle, rad, at which the atoms stand in positions (m, 3); the inverse of `rotate`."""
        origin, axis, _ = self._axis(b)
        v = b[list(self.atoms)] - origin
        along = (v @ axis)[:, None] * axis
        constant, cosine, sine = (float(np.sum(self.tangent * x)) for x in (along, v - along, _cross(axis, v)))
        return float(np.arctan2(cosine, sine) + np.arcsin(constant / np.hypot(cosine, sine)))

    def _axis(self, y: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Position of the carbon, unit vector along the bond, and its length."""
        fixed, carbon = (y[atom] for atom in self.bond)
        length = float(np.linalg.norm(carbon - fixed))
        return carbon, (carbon - fixed) / length, length


def _rotated(v: FloatArray, axis: FloatArray, angle: float) -> FloatArray:
    """Rotate vectors (..., 3) about a unit vector (Rodrigues)."""
    along = (v @ axis)[..., None] * axis
    return np.asarray(along + np.cos(angle) * (v - along) + np.sin(angle) * _cross(axis, v), dtype=float)


@dataclass(frozen=True, slots=True)
class Body:
    """A kind of molecule in its body frame.

    Attributes
    ----------
    name : str
    kind : str
        Molecule kind of `Structure`, ``nma`` or ``water``.
    basis : (n_dof, m, 3) array
        Orthonormal directions of the body coordinates, which do not move the body frame; zero for angles of rotors.
    mirror : (m,) int array
        Image of every atom under reflection through the xy plane of the body frame.
    frame : callable
        Returns origin (3,) and rotation (3, 3) of the body frame from Cartesian positions (m, 3).
    rotors : tuple of Rotor
        Groups of different atoms.
    """

    name: str
    kind: str
    basis: FloatArray
    mirror: IntArray
    frame: Callable[[FloatArray], tuple[FloatArray, FloatArray]]
    rotors: tuple[Rotor, ...] = ()

    @property
    def n_dof(self) -> int:
        """Number of body coordinates."""
        return len(self.basis)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.basis.shape[1])

    def positions(self, s: FloatArray) -> FloatArray:
        """Convert body coordinates (n_dof,) to positions (m, 3), A, in the body frame."""
        y: FloatArray = np.tensordot(s, self.basis, 1)
        for rotor in self.rotors:
            # in the mirror plane all angles are zero
            if angle := float(s[rotor.coordinate]):
                y = rotor.rotate(y, angle)
        return y

    def gradient(self, s: FloatArray, cartesian: FloatArray) -> FloatArray:
        """Convert a gradient (..., m, 3) in the body frame to one with respect to body coordinates, (..., n_dof)."""
        y: FloatArray = np.tensordot(s, self.basis, 1)
        angles: list[FloatArray] = []
        for rotor in self.rotors:
            cartesian, of_angle = rotor.pullback(y, float(s[rotor.coordinate]), cartesian)
            angles.append(of_angle)
        out = np.tensordot(cartesian, self.basis, ([-2, -1], [1, 2]))
        for rotor, of_angle in zip(self.rotors, angles, strict=True):
            out[..., rotor.coordinate] = of_angle
        return np.asarray(out, dtype=float)

    def coordinates(self, b: FloatArray) -> FloatArray:
        """Convert positions (m, 3), A, in the body frame to body coordinates (n_dof,)."""
        angles = [rotor.angle(b) for rotor in self.rotors]
        for rotor, angle in zip(self.rotors, angles, strict=True):
            b = rotor.rotate(b, -angle)
        s = np.tensordot(self.basis, b, 2)
        for rotor, angle in zip(self.rotors, angles, strict=True):
            s[rotor.coordinate] = angle
        return np.asarray(s, dtype=float)

    def reflection(self) -> FloatArray:
        """Return the matrix (n_dof, n_dof) of the reflection through the xy plane in body coordinates."""
        reflected = self.basis[:, self.mirror, :] * np.array([1.0, 1.0, -1.0])
        matrix = np.tensordot(self.basis, reflected, ([1, 2], [1, 2]))
        for rotor in self.rotors:
            matrix[rotor.coordinate, rotor.coordinate] = -1.0
        return np.asarray(matrix, dtype=float)


@dataclass(frozen=True, slots=True)
class Joint:
    """Attachment of a body to its parent.

    Attributes
    ----------
    parent : int
        Index of the parent body.
    exit_atoms : tuple of int
        Atoms (e0, e1, e2) of the parent, all in the xy plane of its body frame.
    hbond : bool
        Whether the joint is an H-bond between two NMA units.
    """

    parent: int
    exit_atoms: tuple[int, int, int]
    hbond: bool = False


@dataclass(frozen=True, slots=True)
class _Pose:
    """Global frame of one body, with the pivot and the frames whose axes the joint coordinates rotate about."""

    origin: FloatArray
    rotation: FloatArray
    exit_frame: FloatArray
    pivot: FloatArray
    bond_frame: FloatArray
    last_frame: FloatArray


@dataclass(frozen=True, slots=True)
class Tree:
    """Bodies and joints of one structure; the coordinates themselves are a vector q.

    Attributes
    ----------
    bodies : tuple of Body
    joints : tuple of Joint or None
        None for the root, which is the first body; every parent precedes its children.

    Raises
    ------
    ValueError
        When a body other than the first has no parent before it.
    """

    bodies: tuple[Body, ...]
    joints: tuple[Joint | None, ...]

    def __post_init__(self) -> None:
        for index, joint in enumerate(self.joints):
            if (joint is None) != (index == 0) or (joint is not None and joint.parent >= index):
                raise ValueError(f"tree: expected a parent before body {index}, found {joint}")

    @property
    def n_q(self) -> int:
        """Length of the coordinate vector."""
        return sum(body.n_dof for body in self.bodies) + 6 * (len(self.bodies) - 1)

    def body_slice(self, index: int) -> slice:
        """Return the slice of q with the body coordinates of one body."""
        start = sum(body.n_dof for body in self.bodies[:index]) + 6 * max(index - 1, 0)
        return slice(start, start + self.bodies[index].n_dof)

    def joint_slice(self, index: int) -> slice:
        """Return the slice of q with the six joint coordinates of one body, right after its body coordinates.

        Raises
        ------
        ValueError
            For the root, which has no joint.
        """
        if index == 0:
            raise ValueError("tree: the root has no joint")
        stop = self.body_slice(index).stop
        return slice(stop, stop + 6)

    def atom_slice(self, index: int) -> slice:
        """Return the slice of the structure's atoms that belong to one body."""
        start = sum(body.n_atoms for body in self.bodies[:index])
        return slice(start, start + self.bodies[index].n_atoms)

    def positions(self, q: FloatArray) -> FloatArray:
        """Convert coordinates q (n_q,) to Cartesian positions (N, 3), A, in the body frame of the root."""
        poses, body_positions = self._poses(q)
        return np.concatenate(
            [pose.origin + b @ pose.rotation.T for pose, b in zip(poses, body_positions, strict=True)]
        )

    def gradient(self, q: FloatArray, cartesian: FloatArray) -> FloatArray:
        """Convert a Cartesian gradient to tree coordinates by sums of force and torque over descendants.

        Parameters
        ----------
        q : (n_q,) array
        cartesian : (..., N, 3) array
            dE/dx; leading dims are independent right-hand sides.

        Returns
        -------
        (..., n_q) array
            dE/dq.
        """
        poses, body_positions = self._poses(q)
        cartesian = np.asarray(cartesian, dtype=float)
        batch_shape = cartesian.shape[:-2]
        out = np.zeros((*batch_shape, self.n_q))
        force = np.zeros((len(self.bodies), *batch_shape, 3))
        torque = np.zeros_like(force)
        for index in range(len(self.bodies) - 1, -1, -1):
            body, pose, b = self.bodies[index], poses[index], body_positions[index]
            local = cartesian[..., self.atom_slice(index), :] @ pose.rotation
            own_force = local.sum(-2) @ pose.rotation.T
            own_torque = _cross(b, local).sum(-2) @ pose.rotation.T + _cross(pose.origin, own_force)
            force[index] += own_force
            torque[index] += own_torque
            for child in range(index + 1, len(self.bodies)):
                joint = self.joints[child]
                if joint is not None and joint.parent == index:
                    local = local + _exit_gradient(b, joint, pose, poses[child], force[child], torque[child])
            out[..., self.body_slice(index)] = body.gradient(q[self.body_slice(index)], local)
            parent = self.joints[index]
            if parent is not None:
                out[..., self.joint_slice(index)] = _joint_gradient(pose, force[index], torque[index])
                force[parent.parent] += force[index]
                torque[parent.parent] += torque[index]
        return out

    def jacobian(self, q: FloatArray) -> FloatArray:
        """Return dx/dq, (3 N, n_q)."""
        n = sum(body.n_atoms for body in self.bodies)
        return self.gradient(q, np.eye(3 * n).reshape(3 * n, n, 3))

    def coordinates(self, positions: FloatArray) -> FloatArray:
        """Convert Cartesian positions (N, 3), A, to q (n_q,); the inverse of `positions` up to a rigid motion."""
        q = np.empty(self.n_q)
        for index, body in enumerate(self.bodies):
            x = np.asarray(positions, dtype=float)[self.atom_slice(index)]
            origin, rotation = body.frame(x)
            q[self.body_slice(index)] = body.coordinates((x - origin) @ rotation)
            joint = self.joints[index]
            if joint is not None:
                parent = np.asarray(positions, dtype=float)[self.atom_slice(joint.parent)]
                q[self.joint_slice(index)] = _measure_joint(parent[list(joint.exit_atoms)], origin, rotation)
        return q

    def _poses(self, q: FloatArray) -> tuple[list[_Pose], list[FloatArray]]:
        if q.shape != (self.n_q,):
            raise ValueError(f"tree: expected coordinates ({self.n_q},), found {q.shape}")
        eye = np.eye(3)
        poses: list[_Pose] = []
        body_positions: list[FloatArray] = []
        for index, body in enumerate(self.bodies):
            body_positions.append(body.positions(q[self.body_slice(index)]))
            joint = self.joints[index]
            if joint is None:
                poses.append(_Pose(np.zeros(3), eye, eye, np.zeros(3), eye, eye))
                continue
            parent = poses[joint.parent]
            e0, e1, e2 = (body_positions[joint.parent][atom] for atom in joint.exit_atoms)
            r, theta1, phi1, theta2, phi2, phi3 = q[self.joint_slice(index)]
            exit_frame = parent.rotation @ frame_from(e2 - e1, e0 - e1)
            pivot = parent.origin + parent.rotation @ e2
            bond = exit_frame @ _turn_x(phi1) @ _turn_z(np.pi - theta1)
            last = bond @ _turn_x(phi2) @ _turn_z(np.pi - theta2)
            poses.append(_Pose(pivot + r * bond[:, 0], last @ _turn_x(phi3), exit_frame, pivot, bond, last))
        return poses, body_positions


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Cross products (..., 3); `numpy.cross` takes 2.5 times as long for such small arrays."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def frame_from(along: FloatArray, beside: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) with columns x along `along`, y towards `beside`, and z normal to both."""
    x = along / np.linalg.norm(along)
    y = beside - x * np.dot(x, beside)
    y = y / np.linalg.norm(y)
    return np.column_stack([x, y, _cross(x, y)])


def _turn_x(angle: float) -> FloatArray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _turn_z(angle: float) -> FloatArray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _joint_gradient(pose: _Pose, force: FloatArray, torque: FloatArray) -> FloatArray:
    """Gradient (..., 6) with respect to (r, theta1, phi1, theta2, phi2, phi3).

    `force` and `torque` are the sums of dE/dx and x cross dE/dx, about the global origin, over the child and its
    descendants. Each angle rotates these about an axis through the pivot (theta1, phi1) or through the child's origin
    (theta2, phi2, phi3).
    """
    about_pivot = torque - _cross(pose.pivot, force)
    about_origin = torque - _cross(pose.origin, force)
    return np.stack(
        [
            force @ pose.bond_frame[:, 0],
            -(about_pivot @ pose.bond_frame[:, 2]),
            about_pivot @ pose.exit_frame[:, 0],
            -(about_origin @ pose.last_frame[:, 2]),
            about_origin @ pose.bond_frame[:, 0],
            about_origin @ pose.last_frame[:, 0],
        ],
        axis=-1,
    )


def _exit_gradient(
    b: FloatArray, joint: Joint, parent: _Pose, child: _Pose, force: FloatArray, torque: FloatArray
) -> FloatArray:
    """Gradient (..., m, 3) with respect to the parent's body positions through the exit frame, in the body frame.

    Moving e1 or e2 rotates the exit frame (x along e1-e2, y towards e0) within the xy plane of the body, in which all
    three lie, together with the child and its descendants; e0 only fixes the direction of y.
    """
    _, i1, i2 = joint.exit_atoms
    frame = parent.rotation.T @ child.exit_frame
    moment = (torque - _cross(child.pivot, force)) @ parent.rotation
    tilt = (moment @ frame[:, 2])[..., None] * frame[:, 1] / np.linalg.norm(b[i2] - b[i1])
    out = np.zeros((*force.shape[:-1], len(b), 3))
    out[..., i2, :] += force @ parent.rotation + tilt
    out[..., i1, :] -= tilt
    return out


def _measure_joint(exits: FloatArray, origin: FloatArray, rotation: FloatArray) -> FloatArray:
    """Joint coordinates (6,) from the positions of the exit atoms (3, 3) and the frame of the child."""
    e0, e1, e2 = exits
    exit_frame = frame_from(e2 - e1, e0 - e1)
    bond = origin - e2
    r = float(np.linalg.norm(bond))
    x, y, z = exit_frame.T @ bond / r
    theta1, phi1 = np.arccos(np.clip(-x, -1.0, 1.0)), np.arctan2(z, y)
    bond_frame = exit_frame @ _turn_x(phi1) @ _turn_z(np.pi - theta1)
    x, y, z = bond_frame.T @ rotation[:, 0]
    theta2, phi2 = np.arccos(np.clip(-x, -1.0, 1.0)), np.arctan2(z, y)
    last = bond_frame @ _turn_x(phi2) @ _turn_z(np.pi - theta2)
    _, y, z = last.T @ rotation[:, 1]
    return np.array([r, theta1, phi1, theta2, phi2, np.arctan2(z, y)])
