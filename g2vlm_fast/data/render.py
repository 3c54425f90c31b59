"""Analytic rendering of primitives: one closed-form intersection per ray and solid.

The same code runs on CPU and GPU, in float32 or float64. Each view is cut into tiles, and a
tile meets only the primitives whose image rectangle it overlaps. Intersections are the slab
method of Kay and Kajiya (SIGGRAPH 1986), for cylinders together with the quadratic of the
infinite cylinder; shading is Lambert's law under one lamp and ambient light.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from g2vlm_fast.data.materials import surface_at
from g2vlm_fast.data.primitives import Primitives, Shape
from g2vlm_fast.geometry.cameras import inverse_pose, pixel_rays, transform_points

_TILE = {"cpu": 64, "cuda": 512}  # pixels; large where launches cost more than wasted rays
_SMALLEST_DIRECTION = 1e-9
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
        the primitive ``[N]`` int64, -1 for a miss. Equal distances go to the lower row.
    """
    return _nearest_hit(primitives, range(len(primitives)), origins.mT, directions.mT)


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
    rays = pixel_rays(intrinsics, height, width)
    directions = (rays[..., None, :] * poses[:, None, None, :3, :3]).sum(-1)  # [V, H, W, 3]
    distance = rays.new_full(rays.shape[:-1], torch.inf)
    index = torch.full(rays.shape[:-1], -1, dtype=torch.int64, device=rays.device)
    rectangles = _image_rectangles(primitives, intrinsics, poses)
    tile = _TILE.get(rays.device.type, _TILE["cuda"])
    for view in range(len(poses)):
        origin = poses[view, :3, 3, None]
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                bottom, right = min(top + tile, height), min(left + tile, width)
                rows = [
                    row
                    for row, (x0, y0, x1, y1) in enumerate(rectangles[view])
                    if x0 < right and x1 > left - 1 and y0 < bottom and y1 > top - 1
                ]
                if not rows:
                    continue
                part = directions[view, top:bottom, left:right]
                near, nearest = _nearest_hit(primitives, rows, origin, part.flatten(0, 1).mT)
                distance[view, top:bottom, left:right] = near.view(part.shape[:-1])
                index[view, top:bottom, left:right] = nearest.view(part.shape[:-1])
    return distance, index


def _image_rectangles(
    primitives: Primitives, intrinsics: Tensor, poses: Tensor
) -> list[list[tuple[float, float, float, float]]]:
    """Bounds (left, top, right, bottom) in pixels of every primitive in every view."""
    sign = torch.cartesian_prod(*(torch.tensor([-1.0, 1.0]),) * 3).to(primitives.center)
    offset = (
        primitives.rotation[:, None] * (sign * primitives.half_size[:, None])[..., None, :]
    ).sum(-1)
    corners = (primitives.center[:, None] + offset).flatten(0, 1)
    x, y, z = transform_points(inverse_pose(poses), corners[None]).unbind(-1)
    y = y / z.clamp_min(_NEAREST_CORNER)
    x = x / z.clamp_min(_NEAREST_CORNER)
    entry = intrinsics[..., None]
    column = entry[:, 0, 0] * x + entry[:, 0, 1] * y + entry[:, 0, 2]
    row = entry[:, 1, 1] * y + entry[:, 1, 2]
    shape = (len(poses), len(primitives), 8)
    z, column, row = z.view(shape), column.view(shape), row.view(shape)
    low = torch.stack([column.amin(-1), row.amin(-1)], -1)
    high = torch.stack([column.amax(-1), row.amax(-1)], -1)
    fills = (z.amin(-1) < _NEAREST_CORNER) & (z.amax(-1) > 0)
    fills = fills | (primitives.shape == Shape.ROOM)
    behind = (z.amax(-1) <= 0) & (primitives.shape != Shape.ROOM)
    low = torch.where(fills[..., None], -torch.inf, low)
    high = torch.where(fills[..., None], torch.inf, high)
    high = torch.where(behind[..., None], -torch.inf, high)
    return torch.cat([low, high], -1).tolist()


def _nearest_hit(
    primitives: Primitives, rows: range | list[int], origin: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor]:
    """Distance ``[N]`` and row ``[N]`` for rays ``origin [3, 1 or N]``, ``direction [3, N]``."""
    shapes = primitives.shapes
    ordered: list[int] = []
    distances = []
    for shape in Shape:
        chosen = [row for row in rows if shapes[row] == shape]
        if not chosen:
            continue
        pick = torch.tensor(chosen, device=direction.device)
        rotation, half_size = primitives.rotation[pick], primitives.half_size[pick].mT[..., None]
        start = _to_local(rotation, origin[:, None] - primitives.center[pick].mT[..., None])
        along = _to_local(rotation, direction[:, None])
        interval = _cylinder_interval if shape == Shape.CYLINDER else _box_interval
        near, far = interval(start, _away_from_zero(along), half_size)
        entry, blocked = (far, near > 0) if shape == Shape.ROOM else (near, near <= 0)
        missed = (near > far) | (far <= 0) | blocked
        distances.append(entry.masked_fill(missed, torch.inf))
        ordered += chosen
    nearest, position = torch.cat(distances).min(0)
    row = torch.tensor(ordered, device=direction.device)[position]
    return nearest, row.masked_fill(nearest.isinf(), -1)


def _to_local(rotation: Tensor, vectors: Tensor) -> Tensor:
    """Rotate ``vectors [3, 1 or P, 1 or N]`` into the axes of ``rotation [P, 3, 3]``."""
    by_row = rotation.permute(1, 2, 0)[..., None]  # [world axis, local axis, P, 1]
    return by_row[0] * vectors[0] + by_row[1] * vectors[1] + by_row[2] * vectors[2]


def _away_from_zero(direction: Tensor) -> Tensor:
    return torch.where(direction.abs() < _SMALLEST_DIRECTION, _SMALLEST_DIRECTION, direction)


def _slabs(start: Tensor, along: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    inverse = along.reciprocal()
    middle = start * inverse
    reach = inverse.abs() * half_size
    return -middle - reach, reach - middle


def _box_interval(start: Tensor, along: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    near, far = _slabs(start, along, half_size)
    return near.amax(0), far.amin(0)


def _cylinder_interval(start: Tensor, along: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    near, far = _slabs(start[2], along[2], half_size[2])
    squared_length = along[0].square() + along[1].square()
    moment = start[0] * along[1] - start[1] * along[0]  # keeps thin cylinders exact in float32
    discriminant = squared_length * half_size[0].square() - moment.square()
    middle = -(start[0] * along[0] + start[1] * along[1]) / squared_length
    reach = discriminant.clamp_min(0).sqrt() / squared_length
    near = torch.maximum(near, middle - reach)
    far = torch.minimum(far, middle + reach)
    return near.masked_fill(discriminant <= 0, torch.inf), far
