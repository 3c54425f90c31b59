"""A small room whose every number is known, to be written in the layouts of recorded scans.

Rendered in float64 by intersecting rays with boxes, apart from the package's own renderer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

SIZE = (48, 64)
WALLS = (np.array([-2.0, -1.5, 0.0]), np.array([2.0, 1.5, 2.4]))
BOXES = {
    # class name: lowest corner, highest corner, metres
    "table": (np.array([-0.5, -0.4, 0.0]), np.array([0.5, 0.4, 0.7])),
    "cabinet": (np.array([1.4, 0.5, 0.0]), np.array([2.0, 1.5, 1.8])),
    "box": (np.array([-1.9, 0.9, 0.0]), np.array([-1.3, 1.4, 0.5])),
}


@dataclass(frozen=True, eq=False)
class Room:
    """Views of the room.

    Attributes:
        images: ``[V, H, W, 3]`` uint8.
        depth: ``[V, H, W]`` float64 metres along z.
        matrix: ``[3, 3]`` pixels, pixel centres at integers.
        poses: ``[V, 4, 4]`` camera to world, OpenCV; the world is upright, its floor at z = 0.
        instance: ``[V, H, W]`` index of the box seen, -1 = the room itself.
    """

    images: np.ndarray
    depth: np.ndarray
    matrix: np.ndarray
    poses: np.ndarray
    instance: np.ndarray

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def millimetres(self) -> np.ndarray:
        """Depth as sensors store it, ``[V, H, W]`` uint16."""
        return (1000 * self.depth).round().astype(np.uint16)

    @property
    def rays(self) -> np.ndarray:
        """Directions with z = 1 through the pixels, ``[H, W, 3]``."""
        return rays(self.matrix, self.depth.shape[1:])


def rays(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Directions with z = 1 through all pixels, ``[H, W, 3]``."""
    row, column = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return np.stack([column, row, np.ones_like(row)], axis=-1) @ np.linalg.inv(matrix).T


def camera_matrix(size: tuple[int, int]) -> np.ndarray:
    """A camera of 70 degrees, its principal point a little off the centre."""
    focal = size[1] / 2 / np.tan(np.radians(35))
    return np.array(
        [[focal, 0, size[1] * 0.49 - 0.5], [0, focal, size[0] * 0.51 - 0.5], [0, 0, 1.0]]
    )


def walk(views: int) -> np.ndarray:
    """Camera-to-world poses along an arc, looking at and past the table."""
    share = np.linspace(0, 1, views)
    angle = np.radians(-150 + 100 * share)
    eye = np.stack(
        [1.5 * np.cos(angle), 1.2 * np.sin(angle), 1.4 + 0.25 * np.sin(5 * share)], axis=-1
    )
    aim = np.stack([0.3 * np.sin(4 * share), 0.5 + 0 * share, 0.5 + 0.2 * share], axis=-1)
    forward = aim - eye
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    poses = np.tile(np.eye(4), (views, 1, 1))
    poses[:, :3, :3] = np.stack([right, np.cross(forward, right), forward], axis=-1)
    poses[:, :3, 3] = eye
    return poses


def render(directions: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cast rays.

    Args:
        directions: ``[..., 3]`` in the camera, of any length.
        pose: ``[4, 4]`` camera to world.

    Returns:
        Distance in lengths of the direction ``[...]``, box hit ``[...]`` (-1 = the walls), and
        colour ``[..., 3]`` uint8.
    """
    ray = directions @ pose[:3, :3].T
    eye = pose[:3, 3]
    with np.errstate(divide="ignore"):
        inverse = 1 / np.where(ray == 0, 1e-300, ray)
    low, high = WALLS
    distance = np.maximum((low - eye) * inverse, (high - eye) * inverse).min(axis=-1)
    hit = np.full(distance.shape, -1)
    for index, (low, high) in enumerate(BOXES.values()):
        first, second = (low - eye) * inverse, (high - eye) * inverse
        enters = np.minimum(first, second).max(axis=-1)
        leaves = np.maximum(first, second).min(axis=-1)
        nearer = (enters < leaves) & (enters > 0) & (enters < distance)
        distance, hit = np.where(nearer, enters, distance), np.where(nearer, index, hit)
    point = eye + ray * distance[..., None]
    waves = np.sin(point @ np.array([[5.0, 1.0, 2.0], [2.0, 6.0, 1.0], [1.0, 2.0, 7.0]]))
    tint = np.array([[200, 190, 170], [150, 90, 60], [70, 90, 160], [90, 150, 80]])[hit + 1]
    return distance, hit, (tint + 45 * waves).clip(0, 255).round().astype(np.uint8)


@cache
def small_room(views: int = 8, size: tuple[int, int] = SIZE) -> Room:
    """The room, seen from ``views`` places."""
    matrix, poses = camera_matrix(size), walk(views)
    directions = rays(matrix, size)
    seen = [render(directions, pose) for pose in poses]
    depth, instance, images = (np.stack(part) for part in zip(*seen, strict=True))
    return Room(images, depth, matrix, poses, instance)
