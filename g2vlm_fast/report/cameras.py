"""Where to look at a scene from, so that it is seen whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import look_at

_FIELD_OF_VIEW = math.radians(42.0)
_ELEVATIONS = (math.radians(24.0), math.radians(40.0))
_RAISED = math.radians(14.0)
"""How much steeper than the recorded views these look down, within the limits above."""


@dataclass(frozen=True)
class VirtualCamera:
    """A camera that nobody held."""

    intrinsics: Tensor  # [3, 3] pixels
    pose: Tensor  # [4, 4] camera to world
    size: tuple[int, int]  # (height, width)


def overview_cameras(
    points: Tensor,
    poses: Tensor,
    size: tuple[int, int],
    turns: tuple[float, ...],
    *,
    shown: float = 0.94,
) -> list[VirtualCamera]:
    """Cameras that see nearly all of ``points`` from above and outside.

    Args:
        points: ``[N, 3]`` metres, the surface.
        poses: ``[V, 4, 4]`` of the recorded views; the scene is looked at from their side.
        size: (height, width) in pixels.
        turns: degrees about the vertical from there, one camera each.
        shown: share of the points that must be in the image.
    """
    some = points[:: max(1, len(points) // 50_000)]
    center = some.quantile(some.new_tensor([0.05, 0.95]), dim=0).mean(dim=0)
    looks = poses[:, :3, 2].mean(dim=0)
    if looks[:2].norm() < 0.1:
        looks = looks.new_tensor([0.0, 1.0, float(looks[2])])
    azimuth = math.atan2(-float(looks[1]), -float(looks[0]))
    down = math.atan2(-float(looks[2]), float(looks[:2].norm()))
    elevation = min(max(down + _RAISED, _ELEVATIONS[0]), _ELEVATIONS[1])
    return [
        _fitted(some, center, azimuth + math.radians(turn), elevation, size, shown)
        for turn in turns
    ]


def _fitted(
    points: Tensor,
    center: Tensor,
    azimuth: float,
    elevation: float,
    size: tuple[int, int],
    shown: float,
) -> VirtualCamera:
    """The nearest camera in a direction that has a share of the points in its image."""
    height, width = size
    focal = width / 2 / math.tan(_FIELD_OF_VIEW / 2)
    direction = center.new_tensor(
        [
            math.cos(azimuth) * math.cos(elevation),
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ]
    )
    pose = look_at(center + direction, center)
    local = (points - center) @ pose[:3, :3]
    needed = torch.maximum(
        local[:, 0].abs() * focal / (0.44 * width), local[:, 1].abs() * focal / (0.44 * height)
    )
    distance = float((needed - local[:, 2]).quantile(shown))
    pose[:3, 3] = center + distance * direction
    intrinsics = torch.tensor(
        [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
    )
    return VirtualCamera(intrinsics, pose, size)
