"""Tree coordinates: every molecule's pose relative to its parent, and its own body coordinates.

x(q) is explicit and dE/dq comes from sums of force and torque over each molecule's descendants, so there is no
iterative back-transformation, a torsion can be frozen exactly, and bending a long chain is one local number.

A joint hangs a child body on three atoms (e0, e1, e2) of its parent by six numbers, in the usual order of a
Z-matrix: distance r from e2 to the child's origin, angle theta1 = e1-e2-origin, torsion phi1 = e0-e1-e2-origin,
angle theta2 = e2-origin-(child's x axis), torsions phi2 about e2-origin and phi3 about the child's x axis.
For NMA on NMA (N, C, O of A; N, C, O of B) phi1 and phi2 are the torsions of the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Body:
    """A kind of molecule in its own frame.

    Attributes
    ----------
    name : str
    kind : str
        Molecule kind of `Structure`, ``nma`` or ``water``.
    basis : (n_dof, m, 3) array
        Orthonormal directions of the body coordinates; they leave the frame where it is.
    offset : (m, 3) array
        Body positions at all coordinates zero.
    mirror : (m,) int array
        Partner of every atom under reflection through the body's xy plane (itself when it lies in it).
    frame : callable
        Origin (3,) and rotation (3, 3) of the body frame from Cartesian positions (m, 3).
    """

    name: str
    kind: str
    basis: FloatArray
    offset: FloatArray
    mirror: NDArray[np.int64]
    frame: Callable[[FloatArray], tuple[FloatArray, FloatArray]]

    @property
    def n_dof(self) -> int:
        return len(self.basis)

    def positions(self, s: FloatArray) -> FloatArray:
        """Body positions (m, 3) of body coordinates (n_dof,)."""
        return self.offset + np.tensordot(s, self.basis, 1)

    def coordinates(self, b: FloatArray) -> FloatArray:
        """Body coordinates (n_dof,) of body positions (m, 3)."""
        return np.tensordot(self.basis, b - self.offset, 2)

    def reflection(self) -> FloatArray:
        """Matrix (n_dof, n_dof) of the reflection through the xy plane, acting on body coordinates."""
        reflected = self.basis[:, self.mirror, :] * np.array([1.0, 1.0, -1.0])
        return np.tensordot(self.basis, reflected, ([1, 2], [1, 2]))


@dataclass(frozen=True, slots=True)
class Joint:
    """Where a body hangs: `parent` body and its exit atoms (e0, e1, e2). `hbond` marks NMA on NMA.

    The exit atoms are among those that the parent's body keeps in its xy plane.
    """

    parent: int
    exit_atoms: tuple[int, int, int]
    hbond: bool = False


@dataclass(frozen=True, slots=True)
class _Pose:
    """Frames met on the way to one body, all global: pivot, origin and the axes the joint turns about."""

    origin: FloatArray
    rotation: FloatArray
    exit_frame: FloatArray
    pivot: FloatArray
    bond_frame: FloatArray
    last_frame: FloatArray


@dataclass(frozen=True, slots=True)
class Tree:
    """Bodies and joints of one structure; the coordinates themselves are a plain vector.

    Attributes
    ----------
    bodies : tuple of Body
    joints : tuple of Joint or None
        None for the root, which is the first body; every parent stands before its children.
    """

    bodies: tuple[Body, ...]
    joints: tuple[Joint | None, ...]

    def __post_init__(self) -> None:
        for index, joint in enumerate(self.joints):
            if (joint is None) != (index == 0) or (joint is not None and joint.parent >= index):
                raise ValueError(f"tree: body {index} needs a parent that stands before it, found {joint}")

    @property
    def n_q(self) -> int:
        """Length of the coordinate vector."""
        return sum(body.n_dof for body in self.bodies) + 6 * (len(self.bodies) - 1)

    def body_slice(self, index: int) -> slice:
        """Where the body coordinates of one body stand in q."""
        start = sum(body.n_dof for body in self.bodies[:index]) + 6 * max(index - 1, 0)
        return slice(start, start + self.bodies[index].n_dof)

    def joint_slice(self, index: int) -> slice:
        """Where the six joint coordinates of one body (not the root) stand in q: right after its own."""
        if index == 0:
            raise ValueError("tree: the root has no joint")
        stop = self.body_slice(index).stop
        return slice(stop, stop + 6)

    def atom_slice(self, index: int) -> slice:
        """Where the atoms of one body stand in the structure."""
        start = sum(len(body.offset) for body in self.bodies[:index])
        return slice(start, start + len(self.bodies[index].offset))

    def positions(self, q: FloatArray) -> FloatArray:
        """Cartesian positions (N, 3), A, of coordinates q (n_q,); the root's frame is the global one."""
        poses, body_positions = self._poses(q)
        return np.concatenate(
            [pose.origin + b @ pose.rotation.T for pose, b in zip(poses, body_positions, strict=True)]
        )

    def gradient(self, q: FloatArray, cartesian: FloatArray) -> FloatArray:
        """dE/dq (..., n_q) from dE/dx (..., N, 3), by sums of force and torque over descendants.

        Leading dims are independent right-hand sides: passing the identity gives the Jacobian dx/dq.
        """
        poses, body_positions = self._poses(q)
        cartesian = np.asarray(cartesian, dtype=float)
        lead = cartesian.shape[:-2]
        out = np.zeros((*lead, self.n_q))
        force = np.zeros((len(self.bodies), *lead, 3))
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
            out[..., self.body_slice(index)] = np.tensordot(local, body.basis, ([-2, -1], [1, 2]))
            parent = self.joints[index]
            if parent is not None:
                out[..., self.joint_slice(index)] = _joint_gradient(pose, force[index], torque[index])
                force[parent.parent] += force[index]
                torque[parent.parent] += torque[index]
        return out

    def jacobian(self, q: FloatArray) -> FloatArray:
        """dx/dq, (3 N, n_q)."""
        n = sum(len(body.offset) for body in self.bodies)
        return self.gradient(q, np.eye(3 * n).reshape(3 * n, n, 3))

    def coordinates(self, positions: FloatArray) -> FloatArray:
        """q of Cartesian positions (N, 3); the inverse of `positions` up to a rigid motion."""
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
    """Cross products (..., 3); for vectors this small `numpy.cross` takes 2.5 times as long."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def frame_from(along: FloatArray, beside: FloatArray) -> FloatArray:
    """Columns x, y, z: x along `along`, y towards `beside`, z normal to both."""
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
    """dE/d(r, theta1, phi1, theta2, phi2, phi3) from the gradient sums of everything that hangs below.

    `force` and `torque` are sums of dE/dx and x cross dE/dx about the global origin; each angle turns what hangs below
    about an axis through the pivot (theta1, phi1) or the child's origin (theta2, phi2, phi3).
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
    """dE/db of the parent's atoms through the exit frame, (..., m, 3), in the parent's body frame.

    Moving e1 or e2 turns the exit frame (x along e1-e2, y towards e0) within the body's xy plane, where all three lie,
    and carries all that hangs on it; e0 only says which way y points.
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
