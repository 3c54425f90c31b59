"""Image features of points: z-tested projection into the views of their scene."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.geometry.cameras import inverse_pose
from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.packing import lengths, segment_ids
from g2vlm_fast.model.pixel_branch import DENSE_STRIDE, Views
from g2vlm_fast.records import SceneBatch


def image_features(
    position: Tensor, offsets: Tensor, batch: SceneBatch, views: Views, config: G2VLMConfig
) -> tuple[Tensor, Tensor]:
    """Average the dense features that the views of its scene have of each point.

    A view sees a point that projects into its image at a depth within the configured tolerance
    of the view's own; views count by their confidence.

    Args:
        position: ``[N, 3]`` float32 metres, world.
        offsets: ``[B + 1]`` int32, the scenes of the points.
        batch: the cameras.
        views: dense features, depth and confidence.
        config: ``visibility_tolerance``.

    Returns:
        ``feature [N, C]`` (0 where no view sees the point) and ``seen [N]`` float32, the sum of
        the confidences of the views that see it.
    """
    scene = segment_ids(offsets)
    first = batch.view_offsets[:-1].long()[scene]
    count = lengths(batch.view_offsets)
    to_camera = inverse_pose(batch.poses)
    confidence = torch.sigmoid(views.confidence_logit).detach()
    maps = views.feature.movedim(1, -1)
    total = maps.new_zeros(len(position), maps.shape[-1])
    seen = position.new_zeros(len(position))
    for slot in range(int(count.max())):
        has_view = slot < count[scene]
        view = first + torch.where(has_view, slot, 0)
        column, row, depth = _project(position, to_camera[view], batch.intrinsics[view])
        weight = _visibility(column, row, depth, views.depth.detach(), view, confidence, config)
        weight = weight * has_view
        sampled = _bilinear(maps, view, column / DENSE_STRIDE, row / DENSE_STRIDE)
        total = total + weight[:, None].to(total.dtype) * sampled
        seen = seen + weight
    return total / seen.clamp_min(1e-3)[:, None].to(total.dtype), seen


def _project(
    position: Tensor, to_camera: Tensor, intrinsics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Project each point into its own camera: column, row, depth ``[N]``."""
    camera = (to_camera[:, :3, :3] * position[:, None, :]).sum(-1) + to_camera[:, :3, 3]
    x, y, depth = camera.unbind(-1)
    safe = torch.where(depth > 0, depth, 1)
    column = (intrinsics[:, 0, 0] * x + intrinsics[:, 0, 1] * y) / safe + intrinsics[:, 0, 2]
    return column, intrinsics[:, 1, 1] * y / safe + intrinsics[:, 1, 2], depth


def _visibility(
    column: Tensor,
    row: Tensor,
    depth: Tensor,
    view_depth: Tensor,
    view: Tensor,
    confidence: Tensor,
    config: G2VLMConfig,
) -> Tensor:
    height, width = view_depth.shape[-2:]
    inside = (depth > 0) & (column > -0.5) & (column < width - 0.5)
    inside = inside & (row > -0.5) & (row < height - 0.5)
    x = torch.where(inside, column, 0).round().long().clamp(0, width - 1)
    y = torch.where(inside, row, 0).round().long().clamp(0, height - 1)
    surface = view_depth[view, y, x]
    visible = inside & ((depth - surface).abs() <= config.visibility_tolerance * surface)
    return visible * confidence[view, y, x]


def _bilinear(maps: Tensor, view: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Sample maps ``[T, h, w, C]`` at fractional places of given views ``[N]``: ``[N, C]``."""
    _, height, width, channels = maps.shape
    table = maps.reshape(-1, channels)
    # a cell's feature stands at the middle of its pixels, half a cell less half a pixel in
    shift = 0.5 - 0.5 / DENSE_STRIDE
    column = (column - shift).nan_to_num(0).clamp(0, width - 1)
    row = (row - shift).nan_to_num(0).clamp(0, height - 1)
    left, top = column.floor().long(), row.floor().long()
    across, down = (column - left)[:, None], (row - top)[:, None]
    right, bottom = (left + 1).clamp_max(width - 1), (top + 1).clamp_max(height - 1)

    def at(y: Tensor, x: Tensor) -> Tensor:
        return F.embedding((view * height + y) * width + x, table)

    across, down = across.to(table.dtype), down.to(table.dtype)
    upper = torch.lerp(at(top, left), at(top, right), across)
    return torch.lerp(upper, torch.lerp(at(bottom, left), at(bottom, right), across), down)
