"""Poses from quaternions, axis-angle and time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LARGEST = 1e15
"""A number beyond this is damage, not a place."""


def rotation_from_quaternion(quaternion: Array) -> Array:
    """Rotation matrices ``[..., 3, 3]`` of quaternions ``[..., 4]`` (x, y, z, w), of any length.

    A quaternion of length 0 gives NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    x, y, z, w = np.moveaxis(unit, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_axis_angle(vector: Array) -> Array:
    """Unit quaternions ``[..., 4]`` (x, y, z, w) of rotation vectors ``[..., 3]`` in radians."""
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    # sin(a / 2) / a, finite at 0
    scale = 0.5 * np.sinc(angle / (2 * np.pi))
    return np.concatenate([vector * scale, np.cos(angle / 2)], axis=-1)


def pose_matrix(rotation: Array, translation: Array) -> Array:
    """``[..., 4, 4]`` from ``[..., 3, 3]`` and ``[..., 3]``."""
    pose = np.zeros((*rotation.shape[:-2], 4, 4))
    pose[..., :3, :3], pose[..., :3, 3], pose[..., 3, 3] = rotation, translation, 1
    return pose


def inverse_rigid(pose: Array) -> Array:
    """Inverse of rigid motions ``[..., 4, 4]``."""
    rotation = np.swapaxes(pose[..., :3, :3], -1, -2)
    return pose_matrix(rotation, -(rotation @ pose[..., :3, 3, None])[..., 0])


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where a camera was, over time.

    Attributes:
        times: ``[N]`` seconds, ascending.
        quaternions: ``[N, 4]`` (x, y, z, w), camera to world.
        positions: ``[N, 3]`` metres, of the camera centre.
    """

    times: Array
    quaternions: Array
    positions: Array

    @staticmethod
    def of(times: Array, quaternions: Array, positions: Array) -> Trajectory:
        """Sort by time; entries with NaN, infinity or a quaternion of length 0 are left out."""
        numbers = np.concatenate([times[:, None], quaternions, positions], axis=1)
        sane = (abs(numbers) < _LARGEST).all(axis=1)  # False for NaN too
        times, quaternions, positions = times[sane], quaternions[sane], positions[sane]
        length = np.linalg.norm(quaternions, axis=1)
        kept = length > 1e-6
        order = np.argsort(times[kept], kind="stable")
        unit = quaternions[kept] / length[kept, None]
        return Trajectory(times[kept][order], unit[order], positions[kept][order])

    def at(self, time: float, tolerance: float) -> Array | None:
        """The pose ``[4, 4]`` at ``time``, between its two neighbours.

        Rotations are interpolated along the great circle (Shoemake, *Animating Rotation with
        Quaternion Curves*, SIGGRAPH 1985), positions along the line.

        Returns:
            None where no entry lies within ``tolerance`` seconds.
        """
        if len(self.times) == 0 or abs(self.times - time).min() > tolerance:
            return None
        after = int(np.clip(np.searchsorted(self.times, time), 1, max(1, len(self.times) - 1)))
        first, second = after - 1, min(after, len(self.times) - 1)
        gap = self.times[second] - self.times[first]
        share = float(np.clip((time - self.times[first]) / gap, 0, 1)) if gap > 0 else 0.0
        position = (1 - share) * self.positions[first] + share * self.positions[second]
        turn = _slerp(self.quaternions[first], self.quaternions[second], share)
        return pose_matrix(rotation_from_quaternion(turn), position)


def _slerp(first: Array, second: Array, share: float) -> Array:
    cosine = float(first @ second)
    if cosine < 0:  # the same rotation, by the shorter way
        second, cosine = -second, -cosine
    angle = np.arccos(min(1.0, cosine))
    if angle < 1e-6:
        return (1 - share) * first + share * second
    return (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / np.sin(angle)
