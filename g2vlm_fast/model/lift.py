"""The lift: from dense features of the views to points in the world."""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.geometry.cameras import unproject
from g2vlm_fast.model.config import G2VLMConfig
from g2vlm_fast.model.depth import bends
from g2vlm_fast.model.packing import offsets_of_ids
from g2vlm_fast.model.pixel_branch import DENSE_STRIDE, Views
from g2vlm_fast.records import SceneBatch, _Record, record


@record
class Points(_Record):
    """N points on the surfaces of B scenes."""

    position: Tensor  # [N, 3] float32 metres, world
    normal: Tensor  # [N, 3] float32 unit, world; 0 = unknown
    color: Tensor  # [N, 3] float32 in [0, 1]
    offsets: Tensor  # [B + 1] int32


def lift(batch: SceneBatch, views: Views, view_scene: Tensor, config: G2VLMConfig) -> Points:
    """Lift one pixel of each cell of the dense features to the world, by its depth.

    The depth is that of one pixel, never a mean, and pixels at depth discontinuities are left
    out, so that no point floats between two surfaces. A scene in which every pixel is an edge
    keeps all of them.

    Args:
        batch: the views' cameras and colours.
        views: their depth and normals.
        view_scene: ``[T]`` int64, the scene of each view.
        config: says what a discontinuity is.
    """
    half = DENSE_STRIDE // 2
    centres = (..., slice(half, None, DENSE_STRIDE), slice(half, None, DENSE_STRIDE))
    depth = views.depth.detach()
    points = unproject(depth, batch.intrinsics, batch.poses).movedim(-1, 1)[centres]
    scene = view_scene[:, None, None].expand(points[:, 0].shape).flatten()
    smooth = (bends(depth) < config.discontinuity)[centres].flatten()
    kept = torch.zeros(batch.num_scenes, dtype=torch.long, device=scene.device)
    keep = smooth | (kept.index_add(0, scene, smooth.long()) == 0)[scene]

    def select(x: Tensor) -> Tensor:
        return x.movedim(1, -1).flatten(0, -2)[keep]

    return Points(
        position=select(points),
        normal=select(views.normal[centres]).detach(),
        color=select(batch.images[centres]),
        offsets=offsets_of_ids(scene[keep], batch.num_scenes),
    )
