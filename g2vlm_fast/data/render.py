"""Analytic rendering of primitives: one closed-form intersection per ray and solid.

The same code runs on CPU and GPU, in float32 or float64. A pixel meets only the primitives
whose image rectangle it lies in. Shading is Lambert's law under one lamp and ambient light.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.data.intersect import away_from_zero, first_hit
from g2vlm_fast.data.materials import surface_at
from g2vlm_fast.data.primitives import Primitives, Shape, to_local
from g2vlm_fast.geometry.cameras import inverse_pose, pixel_rays, transform_points

_PIXELS_AT_ONCE = 2**18  # bounds the memory of the pairs of pixels and primitives
_NEAREST_CORNER = 0.05  # metres; a primitive with a corner nearer than this fills the image


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendering:
    """What V cameras see, without sensor noise."""

    images: Tensor  # [V, 3, H, W] in [0, 1]
    depth: Tensor  # [V, H, W] metres along z, 0 where a ray meets nothing
    normal: Tensor  # [V, 3, H, W] unit, world, 0 where a ray meets nothing
    instance: Tensor  # [V, H, W] int64, object, -1 = the room or nothing
    primitive: Tensor  # [V, H, W] int64, row of the primitives, -1 = nothing


def render(
    primitives: Primitives,
    intrinsics: Tensor,
    poses: Tensor,
    height: int,
    width: int,
    *,
    lamp: Tensor | None = None,
) -> Rendering:
    """Render views of a set of primitives.

    Args:
        primitives: the solids; dtype and device of the result are theirs.
        intrinsics: ``[V, 3, 3]`` pixels.
        poses: ``[V, 4, 4]`` camera to world; cameras stand in free space.
        height: rows of the images.
        width: columns of the images.
        lamp: ``[3]`` metres, position of the lamp; None for light from straight above.
    """
    distance, index = _cast_views(primitives, intrinsics, poses, height, width)
    rays = pixel_rays(intrinsics, height, width)
    hit = index >= 0
    depth = torch.where(hit, distance, torch.zeros_like(distance))
    points = transform_points(poses, (rays * depth[..., None]).flatten(1, 2)).flatten(0, 1)
    row = index.flatten().clamp_min(0)
    normal, albedo = surface_at(primitives, row, points)
    color = albedo * _shade(normal, points, lamp)[:, None]
    size = (len(poses), height, width)

    def image(values: Tensor) -> Tensor:
        values = torch.where(hit.flatten()[:, None], values, torch.zeros_like(values))
        return values.view(*size, 3).permute(0, 3, 1, 2).contiguous()

    instance = torch.where(hit, primitives.instance[row].view(size), -1)
    return Rendering(
        images=image(color.clamp(0, 1)),
        depth=depth,
        normal=image(normal),
        instance=instance,
        primitive=index,
    )


def instances(
    primitives: Primitives, intrinsics: Tensor, poses: Tensor, height: int, width: int
) -> Tensor:
    """Render only which object is seen, ``[V, H, W]`` int64; -1 = the room or nothing."""
    _, index = _cast_views(primitives, intrinsics, poses, height, width)
    return torch.where(index >= 0, primitives.instance[index.clamp_min(0)], -1)


def cast(primitives: Primitives, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Intersect rays with primitives.

    Args:
        primitives: the solids.
        origins: ``[N, 3]`` metres, in free space.
        directions: ``[N, 3]``, of any length but zero.

    Returns:
        Distance ``[N]`` in units of the direction's length, infinite for a miss, and the row of
        the primitive ``[N]`` int64, -1 for a miss.
    """
    rows: list[int] = []
    distances = []
    for shape in Shape:
        chosen = [row for row, kind in enumerate(primitives.shapes) if kind == shape]
        if not chosen:
            continue
        pick = torch.tensor(chosen, device=origins.device)
        rotation, half_size = primitives.rotation[pick], primitives.half_size[pick].mT[..., None]
        start = to_local(rotation, origins.mT[:, None] - primitives.center[pick].mT[..., None])
        along = away_from_zero(to_local(rotation, directions.mT[:, None]))
        distances.append(first_hit(shape, start, along, half_size))
        rows += chosen
    nearest, position = torch.cat(distances).min(0)
    row = torch.tensor(rows, device=origins.device)[position]
    return nearest, row.masked_fill(nearest.isinf(), -1)


def _shade(normal: Tensor, points: Tensor, lamp: Tensor | None) -> Tensor:
    if lamp is None:
        toward = normal.new_tensor([0.0, 0.0, 1.0]).expand_as(normal)
    else:
        toward = torch.nn.functional.normalize(lamp.to(points) - points, dim=-1)
    lambert = (normal * toward).sum(-1).clamp_min(0)
    return 0.55 + 0.08 * normal[:, 2] + 0.42 * lambert


def _cast_views(
    primitives: Primitives, intrinsics: Tensor, poses: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Depth and row ``[V, H, W]`` of the nearest primitive, infinite and -1 for a miss."""
    at_once = max(1, _PIXELS_AT_ONCE // (height * width))
    chunks = [
        _cast_pairs(primitives, few_intrinsics, few_poses, height, width)
        for few_intrinsics, few_poses in zip(
            intrinsics.split(at_once), poses.split(at_once), strict=True
        )
    ]
    depth, row = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    return depth, row


def _cast_pairs(
    primitives: Primitives, intrinsics: Tensor, poses: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Intersect every pixel with the primitives whose image rectangle it lies in."""
    corners = _image_rectangles(primitives, intrinsics, poses, height, width)
    axes = _pixel_to_local(primitives, intrinsics, poses)
    start = to_local(
        primitives.rotation, (poses[:, None, :3, 3] - primitives.center).permute(2, 1, 0)
    )
    size = primitives.half_size.mT[:, :, None].expand_as(start)
    of_pair = torch.cat([axes, start, size]).transpose(1, 2).flatten(1)  # [15, V * P]
    hits = []
    for shape in Shape:
        rows = [row for row, kind in enumerate(primitives.shapes) if kind == shape]
        if not rows:
            continue
        first = torch.arange(len(poses), device=poses.device) * len(primitives)
        chosen = (first[:, None] + torch.tensor(rows, device=poses.device)).flatten()
        pair, column, row = _pixels_of_rectangles(corners.flatten(0, 1)[chosen])
        pair = chosen[pair]
        view, primitive = pair // len(primitives), pair % len(primitives)
        values = of_pair.index_select(1, pair)
        x, y = column.to(values), row.to(values)
        along = away_from_zero(values[0:3] * x + values[3:6] * y + values[6:9])
        distance = first_hit(shape, values[9:12], along, values[12:15])
        hits.append(((view * height + row) * width + column, distance, primitive))
    pixel, distance, primitive = (torch.cat(parts) for parts in zip(*hits, strict=True))
    shape_of_views = (len(poses), height, width)
    nearest, winner = _nearest_of_pairs(pixel, distance, primitive, len(poses) * height * width)
    return nearest.view(shape_of_views), winner.view(shape_of_views)


def _nearest_of_pairs(
    pixel: Tensor, distance: Tensor, primitive: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Least distance of every pixel and its primitive; equal ones go to the lower primitive."""
    nearest = distance.new_full((count,), torch.inf)
    nearest = nearest.scatter_reduce(0, pixel, distance, "amin")
    wins = (distance == nearest.index_select(0, pixel)) & distance.isfinite()
    nobody = torch.iinfo(torch.int64).max
    winner = torch.full((count,), nobody, device=pixel.device)
    winner = winner.scatter_reduce(0, pixel, primitive.masked_fill(~wins, nobody), "amin")
    return nearest, winner.masked_fill(winner == nobody, -1)


def _pixel_to_local(primitives: Primitives, intrinsics: Tensor, poses: Tensor) -> Tensor:
    """Columns of the maps from (column, row, 1) to directions in local axes, ``[9, P, V]``."""
    inverse = torch.linalg.inv(intrinsics)
    world = (poses[:, :3, :3, None] * inverse[:, None]).sum(2)  # [V, 3, 3]
    return torch.cat([to_local(primitives.rotation, world[:, :, i].mT[:, None]) for i in range(3)])


def _pixels_of_rectangles(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index of the rectangle, column and row of every pixel of rectangles ``[n, 4]``."""
    left, top, right, bottom = corners.unbind(-1)
    width = (right - left).clamp_min(0)
    count = width * (bottom - top).clamp_min(0)
    rectangle = torch.repeat_interleave(count)
    position = torch.arange(len(rectangle), device=corners.device)
    position = position - (count.cumsum(0) - count)[rectangle]
    width = width[rectangle]
    row = torch.div(position, width, rounding_mode="floor")
    return rectangle, left[rectangle] + position - row * width, top[rectangle] + row


def _image_rectangles(
    primitives: Primitives, intrinsics: Tensor, poses: Tensor, height: int, width: int
) -> Tensor:
    """Pixels ``[V, P, 4]`` int64 (left, top, right, bottom; half open) that may see a primitive."""
    sign = torch.cartesian_prod(*(torch.tensor([-1.0, 1.0]),) * 3).to(primitives.center)
    reach = sign * primitives.half_size[:, None]
    offset = (primitives.rotation[:, None] * reach[..., None, :]).sum(-1)
    corners = (primitives.center[:, None] + offset).flatten(0, 1)
    shape = (len(poses), len(primitives), 8)
    x, y, z = (
        transform_points(inverse_pose(poses), corners[None]).unflatten(1, shape[1:]).unbind(-1)
    )
    y, x = y / z.clamp_min(_NEAREST_CORNER), x / z.clamp_min(_NEAREST_CORNER)
    entry = intrinsics[..., None, None]
    column = entry[:, 0, 0] * x + entry[:, 0, 1] * y + entry[:, 0, 2]
    row = entry[:, 1, 1] * y + entry[:, 1, 2]
    low = torch.stack([column.amin(-1), row.amin(-1)], -1).floor()
    high = torch.stack([column.amax(-1), row.amax(-1)], -1).ceil() + 1
    is_room = primitives.shape == Shape.ROOM
    fills = ((z.amin(-1) < _NEAREST_CORNER) | is_room)[..., None]
    behind = ((z.amax(-1) <= 0) & ~is_room)[..., None]
    limit = low.new_tensor([width, height])
    low = torch.minimum(low.masked_fill(fills, 0).clamp_min(0), limit)
    high = torch.minimum(torch.where(fills, limit, high).masked_fill(behind, 0).clamp_min(0), limit)
    return torch.cat([low, high], -1).long()
