"""World frames that mean something: gravity along -z, the floor at z = 0, centred.

Left, right, above and behind are read off world axes, so a scan in the frame of its first
camera has to be turned upright before anything is said about it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import transform_points, unproject

_MAX_TILT = math.radians(40.0)
"""How far the true vertical may be from the one that the cameras suggest."""

_PARALLEL = math.cos(math.radians(8.0))
_PERPENDICULAR = math.sin(math.radians(6.0))
_UP_FACING = math.cos(math.radians(12.0))
_MIN_SUPPORT = 0.04
"""Share of the surface that must lie flat before it may define the vertical."""

_YAW_BINS = 30
_MIN_WALL_SHARE = 0.25
"""Share of the upright surface that must run along two directions for them to be walls'."""

_MIN_FLOOR_SHARE = 0.15
"""The floor is the lowest level that holds this share of the fullest level's points."""


@dataclass(frozen=True)
class Alignment:
    """How a world was turned upright.

    Attributes:
        transform: ``[4, 4]`` float32, old world to new world, rigid.
        source: where the vertical came from: "given", "surfaces" or "cameras".
        support: share of the surface that lies flat or stands upright in the new world.
        correction: angle in radians between the prior and the vertical that was used.
        floor_found: whether z = 0 is a level surface; else it is the lowest point seen.
        walls_found: whether x and y run along walls; else y is where the first view looks.
    """

    transform: Tensor
    source: str
    support: float
    correction: float
    floor_found: bool
    walls_found: bool

    def describe(self) -> str:
        """One sentence for people."""
        vertical = {
            "given": "The vertical was given with the scan",
            "surfaces": f"The vertical was fitted to level and upright surfaces ({self.support:.0%}"
            f" of what is seen), {math.degrees(self.correction):.1f} degrees from the cameras'",
            "cameras": "No level surface was found: the vertical is the mean one of the cameras",
        }[self.source]
        floor = "a level surface" if self.floor_found else "the lowest point seen"
        return f"{vertical}; z = 0 is {floor}."


def gravity_from_cameras(poses: Tensor) -> Tensor:
    """Guess where down is from how cameras are held: the mean of their y axes.

    Args:
        poses: ``[V, 4, 4]`` camera to world, OpenCV (y points down in the image).

    Returns:
        ``[3]`` unit vector. Where the axes cancel, the first camera's.
    """
    down = poses[:, :3, 1].mean(dim=0)
    if down.norm() < 0.2:
        down = poses[0, :3, 1]
    return torch.nn.functional.normalize(down, dim=0)


def sample_surface(
    depth: Tensor, intrinsics: Tensor, poses: Tensor, *, max_views: int = 24, grid: int = 96
) -> tuple[Tensor, Tensor]:
    """Points of the seen surface with normals, evenly from views and pixels.

    Args:
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        max_views: at most this many views, evenly spread.
        grid: about this many pixels along the longer image side.

    Returns:
        Points and unit normals that face their camera, ``[N, 3]`` each, in the world.
    """
    views = torch.linspace(0, len(depth) - 1, min(max_views, len(depth))).round().long()
    depth, intrinsics, poses = depth[views], intrinsics[views], poses[views]
    step = max(1, round(max(depth.shape[1:]) / grid))
    coarse = torch.cat([intrinsics[:, :2] / step, intrinsics[:, 2:]], dim=1)
    points = unproject(depth[:, ::step, ::step], coarse)
    center, right, below = points[:, :-1, :-1], points[:, :-1, 1:], points[:, 1:, :-1]
    rows, columns = center.shape[1:3]
    normal = torch.linalg.cross(below - center, right - center)
    length = normal.norm(dim=-1)
    z = center[..., 2]
    near = (right[..., 2] - z).abs().maximum((below[..., 2] - z).abs()) < 0.05 * z
    seen = (z > 0) & (right[..., 2] > 0) & (below[..., 2] > 0) & near & (length > 0)
    normal = normal / length.clamp_min(1e-20)[..., None]
    normal = torch.where((normal * center).sum(-1, keepdim=True) > 0, -normal, normal)
    rotation = poses.clone()
    rotation[:, :3, 3] = 0
    world = transform_points(poses, center.flatten(1, 2)).unflatten(1, (rows, columns))
    turned = transform_points(rotation, normal.flatten(1, 2)).unflatten(1, (rows, columns))
    return world[seen], turned[seen]


def fit_vertical(normals: Tensor, up: Tensor) -> tuple[Tensor, float, float]:
    """Find the direction to which the most surface is level or upright.

    Candidates are normals near the prior and the prior itself (as in RANSAC, one sample fixes a
    hypothesis); the best is refined in closed form: the vertical is the eigenvector of least
    eigenvalue of ``sum(upright n n^T) - sum(level n n^T)``.

    Source: Fischler and Bolles, *Random Sample Consensus*, Communications of the ACM 24(6), 1981.

    Args:
        normals: ``[N, 3]`` unit.
        up: ``[3]`` unit, the prior.

    Returns:
        The vertical ``[3]`` (unit, within 40 degrees of the prior), the share of normals that
        are level, and the share that are level or upright.
    """
    near = normals[(normals @ up).abs() > math.cos(_MAX_TILT)]
    stride = max(1, len(near) // 512)
    candidates = torch.cat([up[None], near[::stride]])
    candidates = torch.where((candidates @ up < 0)[:, None], -candidates, candidates)
    some = normals[:: max(1, len(normals) // 20000)]
    cosine = (some @ candidates.T).abs()
    level = (cosine > _PARALLEL).float().mean(dim=0)
    upright = (cosine < _PERPENDICULAR).float().mean(dim=0)
    best = candidates[(level + 0.5 * upright).argmax()]
    for _ in range(8):
        cosine = (normals @ best).abs()
        flat, standing = normals[cosine > _PARALLEL], normals[cosine < _PERPENDICULAR]
        vectors = torch.linalg.eigh((standing.T @ standing - flat.T @ flat).double())[1]
        refined = vectors[:, 0].to(best.dtype)
        best = refined if refined @ up > 0 else -refined
    cosine = (normals @ best).abs()
    level_share = float((cosine > _PARALLEL).float().mean())
    return best, level_share, level_share + float((cosine < _PERPENDICULAR).float().mean())


def align_to_gravity(
    depth: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    gravity: Tensor,
    *,
    gravity_is_exact: bool = False,
) -> Alignment:
    """Find the rigid motion that puts a scan upright, its floor at z = 0, centred in x and y.

    Args:
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        gravity: ``[3]`` unit vector that points down, exact or a prior (within 40 degrees).
        gravity_is_exact: take ``gravity`` as it is instead of fitting the vertical.

    Returns:
        The motion and how it was found. New poses are ``alignment.transform @ poses``.

    Raises:
        ValueError: fewer than 100 pixels have depth with measured neighbours.
    """
    points, normals = sample_surface(depth, intrinsics, poses)
    if len(points) < 100:
        raise ValueError(
            f"align_to_gravity: only {len(points)} sampled pixels have depth; too few for a frame"
        )
    prior = -gravity
    up, source, correction = prior, "given", 0.0
    fitted, level, support = fit_vertical(normals, prior)
    if not gravity_is_exact:
        usable = level > _MIN_SUPPORT and float(fitted @ prior) > math.cos(_MAX_TILT)
        up, source = (fitted, "surfaces") if usable else (prior, "cameras")
        correction = math.acos(min(1.0, float(up @ prior)))
    heights = points @ up
    floor, floor_found = _floor_height(heights, heights[(normals @ up) > _UP_FACING])
    forward, walls_found = _horizontal_forward(normals, up, poses[0, :3, 2], poses[0, :3, 1])
    right = torch.linalg.cross(forward, up)
    rotation = torch.stack([right, forward, up])
    turned = points @ rotation.T
    low, high = turned[:, :2].quantile(turned.new_tensor([0.02, 0.98]), dim=0)
    shift = torch.cat([-(low + high) / 2, -floor[None]])
    transform = torch.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation, shift
    return Alignment(transform, source, support, correction, floor_found, walls_found)


def _floor_height(heights: Tensor, level_heights: Tensor) -> tuple[Tensor, bool]:
    """The lowest well-filled level; without one, the lowest height of the surface."""
    lowest = heights.quantile(0.005)
    if len(level_heights) < 50:
        return lowest, False
    extent = float(heights.quantile(0.995) - lowest)
    bin_size = min(0.05, max(0.005, extent / 60))
    bins = ((level_heights - lowest) / bin_size).floor().long().clamp_min(0)
    filled = torch.bincount(bins).float()
    floor_bin = int((filled >= _MIN_FLOOR_SHARE * filled.max()).nonzero()[0])
    near = (level_heights - lowest - (floor_bin + 0.5) * bin_size).abs() <= 1.5 * bin_size
    return level_heights[near].median(), True


def _horizontal_forward(
    normals: Tensor, up: Tensor, looks: Tensor, image_down: Tensor
) -> tuple[Tensor, bool]:
    """Forward of the new world: along walls if there are any, as near as possible to ``looks``."""
    level_looks = looks - (looks @ up) * up
    if level_looks.norm() < 0.2:  # the camera looks straight down: the image's top is forward
        level_looks = -image_down + (image_down @ up) * up
    forward = torch.nn.functional.normalize(level_looks, dim=0)
    left = torch.linalg.cross(up, forward)
    standing = normals[(normals @ up).abs() < _PERPENDICULAR]
    if len(standing) < 50:
        return forward, False
    quarter = math.pi / 2
    angle = torch.atan2(standing @ left, standing @ forward) % quarter
    filled = torch.histc(angle, bins=_YAW_BINS, min=0, max=quarter)
    around = filled + filled.roll(1) + filled.roll(-1)
    peak = (float(around.argmax()) + 0.5) * quarter / _YAW_BINS
    difference = (angle - peak + quarter / 2) % quarter - quarter / 2
    near = difference[difference.abs() < 2 * quarter / _YAW_BINS]
    if len(near) < _MIN_WALL_SHARE * len(angle):
        return forward, False
    yaw = near.median() + peak
    yaw = (yaw + quarter / 2) % quarter - quarter / 2
    return yaw.cos() * forward + yaw.sin() * left, True


def move_poses(transform: Tensor, poses: Tensor) -> Tensor:
    """Express camera-to-world poses ``[V, 4, 4]`` in a world moved by ``transform [4, 4]``."""
    moved = transform.double() @ poses.double()
    left, _, right = torch.linalg.svd(moved[:, :3, :3])
    moved[:, :3, :3] = left @ right
    return moved.to(poses.dtype)
