"""Where to look at a scene from, so that it is seen whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import look_at

_FIELD_OF_VIEW = math.radians(42.0)
_ELEVATION = math.radians(38.0)


@dataclass(frozen=True)
class VirtualCamera:
    """A camera that nobody held."""

    intrinsics: Tensor  # [3, 3] pixels
    pose: Tensor  # [4, 4] camera to world
    size: tuple[int, int]  # (height, width)


def overview_cameras(
    points: Tensor, poses: Tensor, size: tuple[int, int], turns: tuple[float, ...]
) -> list[VirtualCamera]:
    """Cameras that see all of ``points`` from above and outside.

    Args:
        points: ``[N, 3]`` metres, the surface; a few per mille at the ends are ignored.
        poses: ``[V, 4, 4]`` of the recorded views; the scene is looked at from their side.
        size: (height, width) in pixels.
        turns: degrees about the vertical from there, one camera each.
    """
    some = points[:: max(1, len(points) // 50_000)]
    low, high = some.quantile(some.new_tensor([0.01, 0.99]), dim=0)
    center = (low + high) / 2
    inside = some[((some >= low) & (some <= high)).all(dim=1)]
    back = -poses[:, :2, 2].mean(dim=0)
    if back.norm() < 0.1:
        back = back.new_tensor([0.0, -1.0])
    azimuth = math.atan2(float(back[1]), float(back[0]))
    return [_fitted(inside, center, azimuth + math.radians(turn), size) for turn in turns]


def _fitted(points: Tensor, center: Tensor, azimuth: float, size: tuple[int, int]) -> VirtualCamera:
    """The nearest camera in a direction that has all points in its image."""
    height, width = size
    focal = width / 2 / math.tan(_FIELD_OF_VIEW / 2)
    direction = center.new_tensor(
        [
            math.cos(azimuth) * math.cos(_ELEVATION),
            math.sin(azimuth) * math.cos(_ELEVATION),
            math.sin(_ELEVATION),
        ]
    )
    pose = look_at(center + direction, center)
    local = (points - center) @ pose[:3, :3]
    needed = torch.maximum(
        local[:, 0].abs() * focal / (0.47 * width), local[:, 1].abs() * focal / (0.47 * height)
    )
    distance = float((needed - local[:, 2]).max())
    pose[:3, 3] = center + distance * direction
    intrinsics = torch.tensor(
        [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
    )
    return VirtualCamera(intrinsics, pose, size)
