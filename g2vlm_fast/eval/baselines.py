"""What the input alone gives, without learning: the rows beside the reconstruction of a model."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import project, unproject


def lifted_points(depth: Tensor, intrinsics: Tensor, poses: Tensor) -> Tensor:
    """Lift the given depth ``[V, H, W]`` of all views to points ``[n, 3]`` metres, world."""
    return unproject(depth, intrinsics, poses)[depth > 0]


def fused_distance(
    points: Tensor, depth: Tensor, intrinsics: Tensor, poses: Tensor, *, truncation: float
) -> Tensor:
    """Fuse given depth into a truncated signed distance at points, positive in free space.

    Each view votes with the depth of its nearest pixel less the depth of the point, cut off at
    ``truncation``; it has no vote on what lies further behind its surface. Votes are averaged.
    This is TSDF fusion, evaluated at the points instead of on a grid.

    Args:
        points: ``[Q, 3]`` metres, world.
        depth: ``[V, H, W]`` metres, 0 = missing.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        truncation: metres.

    Returns:
        ``[Q]`` metres, NaN where no view votes.

    Source: Curless and Levoy, "A volumetric method for building complex models from range
    images", SIGGRAPH 1996.
    """
    height, width = depth.shape[-2:]
    pixel, along = project(points[None], intrinsics, poses)
    column, row = pixel.nan_to_num(-1.0).round().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    view = torch.arange(len(depth), device=depth.device)[:, None]
    surface = depth[view, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    difference = surface - along
    votes = inside & (along > 0) & (surface > 0) & (difference > -truncation)
    total = torch.where(votes, difference.clamp_max(truncation), 0).sum(0)
    return total / torch.where(votes.any(0), votes.sum(0), torch.nan)
