"""What the views of a room see of it: every point is observed, occluded or unknown."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from g2vlm_fast.data.rendering.primitives import Primitives
from g2vlm_fast.data.rendering.render import cast
from g2vlm_fast.geometry.cameras import project

_BEHIND_SURFACE = 0.02  # metres below a seen surface that count as observed


class Visibility(IntEnum):
    """What the views know of a point."""

    OBSERVED = 0  # a view sees to it, or to the surface at most 2 cm before it
    OCCLUDED = 1  # it falls into a view, but each one that it falls into sees something before it
    UNKNOWN = 2  # it falls into no view


def visibility(
    primitives: Primitives,
    points: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    image_size: tuple[int, int],
) -> Tensor:
    """Tell what the views know of points.

    Args:
        primitives: the solids.
        points: ``[N, 3]`` metres, world.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world.
        image_size: (height, width) in pixels; a pixel reaches half a pixel around its centre.

    Returns:
        ``[N]`` int8, a :class:`Visibility` each. Distances behind surfaces are measured along
        the ray to the point.
    """
    pixels, depth = project(points[None], intrinsics, poses)
    limit = pixels.new_tensor([image_size[1], image_size[0]]) - 0.5
    falls_into = (depth > 0) & ((pixels >= -0.5) & (pixels <= limit)).all(-1)
    view, index = falls_into.nonzero(as_tuple=True)
    eye = poses[view, :3, 3]
    ray = points[index] - eye
    reach, _ = cast(primitives, eye, ray)
    sees = (1 - reach) * ray.norm(dim=-1) <= _BEHIND_SURFACE
    labels = torch.full((len(points),), int(Visibility.UNKNOWN), dtype=torch.int8)
    labels[index] = int(Visibility.OCCLUDED)
    labels[index[sees]] = int(Visibility.OBSERVED)
    return labels


def observed(
    primitives: Primitives,
    points: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    image_size: tuple[int, int],
) -> Tensor:
    """Whether at least one view sees to each point ``[N]``; arguments as in :func:`visibility`."""
    labels = visibility(primitives, points, intrinsics, poses, image_size)
    return labels == Visibility.OBSERVED
